"""The audit log of a test cluster: who asked for what, as the API server itself saw it.

Metadata only (no request or response bodies), so no secret value stands in it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}
WRITE_VERBS = frozenset({"create", "update", "patch", "delete", "deletecollection"})

_ENDED = frozenset({"ResponseComplete", "Panic"})
_PATIENCE = 5  # seconds for the server to write down the end of an answer its client has already


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One request. `code` is the HTTP status, None while the answer goes on (a watch)."""

    user: str
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int | None
    raw: dict[str, Any]

    @property
    def is_write(self) -> bool:
        """Whether it asked for a change, granted or not."""
        return self.verb in WRITE_VERBS


@dataclass(frozen=True, slots=True)
class AuditLog:
    """Reads the log file of one API server."""

    path: Path

    def position(self) -> int:
        """Where the log ends now: give it to `events` to see only what comes later."""
        return self.path.stat().st_size if self.path.exists() else 0

    def events(
        self, *, since: int = 0, user: str | None = None, verbs: Collection[str] | None = None
    ) -> tuple[AuditEvent, ...]:
        """All requests since a position whose client has its answer, in the order they came in."""
        deadline = time.monotonic() + _PATIENCE
        raw = self._latest(since)
        while _unfinished(raw) and time.monotonic() < deadline:
            time.sleep(0.01)
            raw = self._latest(since)
        events = (_event(entry) for entry in raw)
        return tuple(e for e in events if user in (None, e.user) and (verbs is None or e.verb in verbs))

    def writes(self, *, since: int = 0, user: str | None = None) -> tuple[AuditEvent, ...]:
        """The requests among `events` that asked for a change."""
        return self.events(since=since, user=user, verbs=WRITE_VERBS)

    def _latest(self, since: int) -> list[dict[str, Any]]:
        """The last entry of each request; there is one when it comes in, and one when it is answered."""
        latest: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            with self.path.open("rb") as log:
                log.seek(since)
                for line in log:
                    if line.endswith(b"\n"):
                        entry = json.loads(line)
                        latest[entry["auditID"]] = entry
        return list(latest.values())


def _unfinished(entries: Iterable[dict[str, Any]]) -> bool:
    return any(entry["stage"] not in _ENDED and entry["verb"] != "watch" for entry in entries)


def _event(entry: dict[str, Any]) -> AuditEvent:
    target = entry.get("objectRef", {})
    ended = entry["stage"] in _ENDED
    return AuditEvent(
        user=entry["user"]["username"],
        verb=entry["verb"],
        resource=target.get("resource", ""),
        subresource=target.get("subresource", ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=entry["responseStatus"]["code"] if ended else None,
        raw=entry,
    )
