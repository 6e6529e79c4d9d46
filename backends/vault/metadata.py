"""What the metadata of a KV v2 secret say: its versions, and whose it is. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from backends.contract import ObservedSecret, Owner, Version
from backends.errors import SinkUnavailable
from backends.marking import parse_mark
from backends.secret_value import SecretValue
from backends.vault.marks import found_fields, own_versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """A secret without its values."""

    current: int
    """Number of the newest version; 0 where there never was one."""
    live: frozenset[int]
    """Versions that can be read."""
    kept: frozenset[int]
    """Versions that are not destroyed: the live ones, and deleted ones that can be had back."""
    custom: Mapping[str, str] = field(default_factory=dict)
    revision: int | None = None
    """Number of the metadata themselves, where they can be written with a check-and-set (OpenBao)."""

    @property
    def own(self) -> frozenset[int]:
        """Versions that we wrote and that are not destroyed."""
        return own_versions(self.custom) & self.kept

    @property
    def is_live(self) -> bool:
        return self.current in self.live

    @property
    def is_proven(self) -> bool:
        """The newest version can be read, and was written by whoever wrote the mark."""
        return self.is_live and self.current in self.own


def parse_metadata(data: Mapping[str, Any], *, now: float) -> Metadata:
    """The `data` of an answer; `now` in seconds since 1970. Raises `SinkUnavailable` for anything else."""
    try:
        versions = {int(number): state for number, state in (data["versions"] or {}).items()}
        kept = frozenset(number for number, state in versions.items() if not state["destroyed"])
        gone = {number for number in kept if _is_past(versions[number]["deletion_time"], now)}
        custom = data.get("custom_metadata") or {}
        return Metadata(
            current=int(data["current_version"]),
            live=kept - gone,
            kept=kept,
            custom={str(name): str(text) for name, text in custom.items()},
            revision=_number(data.get("current_metadata_version")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise SinkUnavailable("the answer is not that of a KV v2 engine") from None


def observed(
    address: str, there: Metadata, owner: Owner, data: Mapping[str, SecretValue] | None
) -> ObservedSecret:
    """The secret, judged; `data` only of what is ours."""
    mark, foreign = parse_mark(found_fields(there.custom), address, owner)
    return ObservedSecret(
        address=address,
        version=version_of(there),
        mark=mark,
        foreign=foreign,
        data=data if foreign is None else None,
        intact=foreign is None and there.is_proven,
    )


def version_of(there: Metadata) -> Version:
    """Changes with the newest version, with its deletion, and with custom metadata."""
    state = [there.is_live, there.current in there.kept, sorted(there.custom.items())]
    digest = hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16]
    return Version(f"{there.current}/{digest}")


def _number(found: object) -> int | None:
    return found if isinstance(found, int) else None


def _is_past(time: str, now: float) -> bool:
    return bool(time) and datetime.fromisoformat(time).timestamp() <= now
