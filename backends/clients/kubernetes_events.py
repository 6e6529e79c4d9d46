"""Writes Kubernetes Events about Secrets: what `kubectl events --for secret/NAME` shows.

Which events there are to tell, how many and how often, is the caller's business.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from backends.clients.kubernetes import Json, KubernetesClient
from backends.clients.kubernetes_options import KubernetesOptions
from backends.errors import Refused

CONTROLLER: Final = "porter-outputs-syncer"

_API: Final = "events.k8s.io/v1"
_ACTION: Final = "Sync"
# What the API server takes.
_MAX_NOTE: Final = 1024
"""Bytes."""
_MAX_INSTANCE: Final = 128
_MAX_NAME: Final = 253


class EventRecorder:
    """An async context manager; logs in when the first event is to be written, not before.

    `instance` says which process reports, such as its pod's name.
    """

    def __init__(self, options: KubernetesOptions, *, instance: str) -> None:
        self._options = options
        self._instance = instance[:_MAX_INSTANCE]
        self._login = asyncio.Lock()
        self._client: KubernetesClient | None = None
        self._opened = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._opened.aclose()

    async def record(self, *, address: str, reason: str, warning: bool, note: str, at: float) -> None:
        """Write an event about the Secret at `namespace/name` into its namespace. Raises `SinkError`.

        `reason` is one word, `at` seconds since 1970; a long `note` is cut.
        """
        namespace, _, name = address.partition("/")
        if not (namespace and name):
            raise Refused(f"{address!r} is not the namespace/name of a Secret")
        event = {
            "apiVersion": _API,
            "kind": "Event",
            "metadata": {"namespace": namespace, "name": _event_name(name)},
            "eventTime": datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "action": _ACTION,
            "note": _printable(note),
            "regarding": {"apiVersion": "v1", "kind": "Secret", "namespace": namespace, "name": name},
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
        }
        await self._create(namespace, event)

    async def _create(self, namespace: str, event: Json) -> None:
        async with self._login:
            if self._client is None:
                self._client = await self._opened.enter_async_context(KubernetesClient(self._options))
        await self._client.post(f"/apis/{_API}/namespaces/{quote(namespace, safe='')}/events", event)


def _event_name(name: str) -> str:
    """A new one for each event, as `kubectl` knows them: the object's name and something behind it."""
    suffix = secrets.token_hex(8)
    return f"{name[: _MAX_NAME - len(suffix) - 1].rstrip('-.')}.{suffix}"


def _printable(note: str) -> str:
    """What a terminal can be shown, as long as the API server takes it."""
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in note)
    content = text.encode()
    if len(content) <= _MAX_NOTE:
        return text
    end = "…"
    return content[: _MAX_NOTE - len(end.encode())].decode(errors="ignore") + end
