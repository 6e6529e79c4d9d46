"""Restarts the workloads that read a Secret, by writing the content id of its mark on their pod template.

A workload notes, in its own annotations, which content its pods were started with: that note decides,
so nothing is remembered here and a crash loses nothing. Of workloads only the metadata is read; what a
rollout then does is Kubernetes' business (`updateStrategy`, a paused Deployment).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, Final

from backends.clients.kubernetes import KubernetesClient, resource_path
from backends.contract import RestartWish, Workloads
from backends.errors import Forbidden, PreconditionFailed, Refused, SinkError
from backends.kubernetes_secret.marks import PREFIX
from backends.kubernetes_secret.names import split_address

Json = dict[str, Any]

_GROUP: Final = "apps/v1"
_RESOURCES: Final = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}
_LOOKS: Final = 4
"""How often a workload somebody else keeps changing is looked at before it is left for now."""
_DIGITS: Final = 10


def note(address: str) -> str:
    """The annotation that says which content of this Secret a workload's pods were started with."""
    return f"{PREFIX}content.{hashlib.sha256(address.encode()).hexdigest()[:_DIGITS]}"


async def restarted(client: KubernetesClient, wishes: Collection[RestartWish]) -> AsyncIterator[str]:
    """Bring all workloads to the wished content; each one restarted, as `Deployment shop/web`.

    What is wrong with one workload, or one kind, holds up no other: its `SinkError` comes at the end.
    """
    failures: list[SinkError] = []
    for (namespace, kind), wanted in _scopes(wishes).items():
        scope = _Scope(client, namespace, kind, wanted)
        try:
            found = await scope.read(_query(kind, wanted))
        except (Forbidden, Refused) as error:
            failures.append(error)
            continue
        for workload in found:
            try:
                if await scope.bring(workload):
                    yield f"{kind} {namespace}/{workload['name']}"
            except (Forbidden, Refused, PreconditionFailed) as error:
                failures.append(error)
    if failures:
        raise failures[0]


class _Scope:
    """One kind of workload in one namespace, and what is wished of it."""

    def __init__(
        self, client: KubernetesClient, namespace: str, kind: str, wishes: Collection[RestartWish]
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._kind = kind
        self._wishes = wishes

    async def read(self, query: Mapping[str, str]) -> list[Json]:
        """Metadata of the workloads that a list with this query has."""
        pages = self._client.list_pages(self._path(), query, metadata_only=True)
        return [workload["metadata"] async for page in pages for workload in page]

    async def bring(self, metadata: Json) -> bool:
        """Patch the workload where its notes are not as wished; whether that restarts it."""
        name = metadata["name"]
        for _ in range(_LOOKS):
            patch = patched(self._kind, metadata, self._wishes)
            if patch is None:
                return False
            try:
                await self._client.patch(self._path(name), patch)
            except PreconditionFailed:
                found = await self.read(_named(name))
                if not found:
                    return False
                (metadata,) = found
            else:
                return "spec" in patch
        raise PreconditionFailed(f"{self._kind} {self._namespace}/{name} keeps changing while it is written")

    def _path(self, name: str | None = None) -> str:
        return resource_path(_RESOURCES[self._kind], group=_GROUP, namespace=self._namespace, name=name)


def patched(kind: str, metadata: Json, wishes: Collection[RestartWish]) -> Json | None:
    """The merge patch that brings a workload to the wished content; None where it is there, or going."""
    notes: Mapping[str, str] = metadata.get("annotations") or {}
    noted, started = {}, {}
    for wish in wishes:
        key = note(wish.address)
        if _selected(kind, metadata, wish) and notes.get(key) != wish.content_id:
            noted[key] = wish.content_id
            if key in notes or wish.before:
                started[key] = wish.content_id
    if not noted or "deletionTimestamp" in metadata:
        return None
    patch: Json = {"metadata": {"resourceVersion": metadata["resourceVersion"], "annotations": noted}}
    if started:
        patch["spec"] = {"template": {"metadata": {"annotations": started}}}
    return patch


def _selected(kind: str, metadata: Json, wish: RestartWish) -> bool:
    return any(one.kind == kind and _fits(one, metadata) for one in wish.workloads)


def _fits(workloads: Workloads, metadata: Json) -> bool:
    if workloads.name is not None:
        return bool(workloads.name == metadata["name"])
    return workloads.selector.items() <= (metadata.get("labels") or {}).items()


def _scopes(wishes: Collection[RestartWish]) -> Mapping[tuple[str, str], list[RestartWish]]:
    """The wishes by the lists their workloads are found in: a namespace's, of one kind."""
    scopes: defaultdict[tuple[str, str], list[RestartWish]] = defaultdict(list)
    for wish in wishes:
        namespace, _ = split_address(wish.address)
        for kind in dict.fromkeys(one.kind for one in wish.workloads):
            scopes[namespace, kind].append(wish)
    return scopes


def _query(kind: str, wishes: Collection[RestartWish]) -> Mapping[str, str]:
    """Only what is asked for where one query can say it, else everything."""
    first, *others = (one for wish in wishes for one in wish.workloads if one.kind == kind)
    if any(one != first for one in others):
        return {}
    if first.name is not None:
        return _named(first.name)
    return {"labelSelector": ",".join(f"{name}={value}" for name, value in first.selector.items())}


def _named(name: str) -> Mapping[str, str]:
    return {"fieldSelector": f"metadata.name={name}"}
