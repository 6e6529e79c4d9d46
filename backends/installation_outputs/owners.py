"""The Porter operator's own resource of an installation, as the owner of ours.

Only in the namespace of ours. Whoever may create an Installation somewhere names in it whatever Porter
installation they like: followed across namespaces, that would carry its outputs to them.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from backends.clients.kubernetes import KubernetesClient, NotServed, resource_path
from backends.errors import Forbidden
from backends.installation_outputs.objects import OPERATOR_GROUP, OPERATOR_KIND, Json, Owners

PLURAL: Final = "installations"
_FRESH: Final = 60.0
"""Seconds for which a namespace's Installations count as known."""

_Installation = tuple[str, str]
"""Porter's namespace and name."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """What a namespace had; None where it cannot be told."""

    references: Mapping[_Installation, Sequence[Json]] | None
    until: float


class InstallationOwners:
    """`clock` gives seconds that only go on."""

    def __init__(self, client: KubernetesClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._listed: dict[str, _Listed] = {}
        self._listing = asyncio.Lock()

    async def of(self, namespace: str, installation: _Installation) -> Owners:
        """The reference to the one Installation in this namespace that is about it; none for several."""
        async with self._listing:
            listed = self._listed.get(namespace)
            if listed is None or self._clock() >= listed.until:
                listed = _Listed(await self._list(namespace), self._clock() + _FRESH)
                kept = {name: one for name, one in self._listed.items() if self._clock() < one.until}
                self._listed = kept | {namespace: listed}
        if listed.references is None:
            return None
        found = listed.references.get(installation, ())
        return found if len(found) == 1 else ()

    async def _list(self, namespace: str) -> Mapping[_Installation, Sequence[Json]] | None:
        path = resource_path(PLURAL, group=OPERATOR_GROUP, namespace=namespace)
        found: defaultdict[_Installation, list[Json]] = defaultdict(list)
        try:
            async for page in self._client.list_pages(path, {}):
                for resource in page:
                    found[_about(resource.get("spec") or {})].append(_reference(resource["metadata"]))
        except (NotServed, Forbidden):
            return None
        return dict(found)


def _about(spec: Mapping[str, Any]) -> _Installation:
    return spec.get("namespace") or "", spec.get("name") or ""


def _reference(metadata: Mapping[str, Any]) -> Json:
    return {
        "apiVersion": OPERATOR_GROUP,
        "kind": OPERATOR_KIND,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": False,
        "blockOwnerDeletion": False,
    }
