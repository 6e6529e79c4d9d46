"""The audit log of a test server: who asked for what, as OpenBao itself saw it.

No value stands in it: OpenBao writes an HMAC in the place of each string, keys and paths excepted. HTTP
statuses do not stand in it either; a refusal has an error, and a question for what is not there has none.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WRITES = frozenset({"create", "update", "patch", "delete"})

_TRIAL = "sys/audit/test"  # the device tries itself; nobody asked for it
_WITHOUT_END = "sys/seal"  # nothing is written down once it is sealed
_PATIENCE = 5  # seconds for the server to end a request that it has begun


@dataclass(frozen=True, slots=True, kw_only=True)
class BaoRequest:
    """One request."""

    operation: str
    """create, update, patch, read, list, scan, delete or help; an upsert is told apart by the engine."""

    path: str
    """Within its namespace, after /v1/ and unquoted."""

    namespace: str
    """Empty for the root, else its path without a slash at the end."""

    accessor: str
    """Of the token: the same for all it did. Empty at logins, and where the server knows no such token."""

    display_name: str
    error: str | None
    """The server's words for a refusal, None while it goes on and where all went well."""

    raw: dict[str, Any] = field(repr=False)

    @property
    def is_write(self) -> bool:
        """Whether it asked for a change, granted or not."""
        return self.operation in WRITES


@dataclass(frozen=True, slots=True)
class BaoAudit:
    """Reads the log file of one server."""

    path: Path

    def position(self) -> int:
        """Where the log ends now: give it to `requests` to see only what comes later."""
        return self.path.stat().st_size if self.path.exists() else 0

    def requests(
        self,
        *,
        since: int = 0,
        prefix: str = "",
        accessor: str | None = None,
        operations: Collection[str] | None = None,
    ) -> tuple[BaoRequest, ...]:
        """All requests since a position whose paths begin so, in the order they came in."""
        deadline = time.monotonic() + _PATIENCE
        found = self._matching(since, prefix, accessor, operations)
        while any(_goes_on(each) for each in found) and time.monotonic() < deadline:
            time.sleep(0.01)
            found = self._matching(since, prefix, accessor, operations)
        return found

    def writes(
        self, *, since: int = 0, prefix: str = "", accessor: str | None = None
    ) -> tuple[BaoRequest, ...]:
        """The requests among `requests` that asked for a change."""
        return self.requests(since=since, prefix=prefix, accessor=accessor, operations=WRITES)

    def counts(self, *, since: int = 0, prefix: str = "", accessor: str | None = None) -> Counter[str]:
        """How often each operation was asked for."""
        return Counter(
            each.operation for each in self.requests(since=since, prefix=prefix, accessor=accessor)
        )

    def _matching(
        self, since: int, prefix: str, accessor: str | None, operations: Collection[str] | None
    ) -> tuple[BaoRequest, ...]:
        return tuple(
            each
            for each in map(_request, self._latest(since))
            if each.path.startswith(prefix)
            and accessor in (None, each.accessor)
            and (operations is None or each.operation in operations)
        )

    def _latest(self, since: int) -> list[dict[str, Any]]:
        """The last entry of each request; there is one when it comes in, and one when it is answered."""
        latest: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            with self.path.open("rb") as log:
                log.seek(since)
                for line in log:
                    if line.endswith(b"\n"):
                        entry = json.loads(line)
                        latest[entry["request"]["id"]] = entry
        return [entry for entry in latest.values() if entry["request"]["path"] != _TRIAL]


def _goes_on(request: BaoRequest) -> bool:
    return request.raw["type"] == "request" and request.path != _WITHOUT_END


def _request(entry: dict[str, Any]) -> BaoRequest:
    asked = entry["request"]
    who = entry.get("auth", {})
    return BaoRequest(
        operation=asked["operation"],
        path=asked["path"],
        namespace=asked.get("namespace", {}).get("path", "").rstrip("/"),
        accessor=asked.get("client_token_accessor", ""),
        display_name=who.get("display_name", ""),
        error=entry.get("error") or None,
        raw=entry,
    )
