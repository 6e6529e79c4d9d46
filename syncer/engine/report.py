"""What a pass found and did, without a single value: the stuff of `plan`, `once` and `status`.

Values only; how it looks on paper is `cli.rendering`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from backends.errors import Forbidden, PreconditionFailed, Retry, SinkError
from syncer.core.changes import (
    Change,
    Conflict,
    Create,
    Delete,
    Hold,
    Keep,
    KeyChange,
    State,
    Subject,
    Update,
)
from syncer.core.ports import Observer

Action = Literal["create", "update", "keep", "delete", "conflict", "hold"]

_ACTIONS: dict[type[Change], Action] = {
    Create: "create",
    Update: "update",
    Keep: "keep",
    Delete: "delete",
    Conflict: "conflict",
    Hold: "hold",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One change: planned, or done unless `error` says otherwise."""

    action: Action
    subject: Subject
    reason: str
    state: State
    keys: tuple[KeyChange, ...] = ()
    error: str | None = None
    retry: Retry = Retry.BACKOFF
    """How what failed is tried again."""
    retry_after: float | None = None
    """Seconds the server asked to be left alone for, where it did."""
    undone: bool = False
    """It failed in a way that leaves no doubt: nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkReport:
    """What happened at one sink. With `failure` the list of entries is not complete."""

    sink: str
    entries: tuple[Entry, ...] = field(repr=False)
    """NB: not in the `repr`: `asyncio.run` makes one of what it returns, however long it is."""
    failure: str | None = None
    held_hash: str = ""
    """Names the held set of deletions; "" where none is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one pass came to."""

    instance: str
    source: str
    sinks: tuple[SinkReport, ...]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Of all sinks, in a stable order."""
        found = (entry for sink in self.sinks for entry in sink.entries)
        return tuple(sorted(found, key=lambda entry: (entry.subject.address, str(entry.subject.key))))

    @property
    def failed(self) -> bool:
        return any(sink.failure for sink in self.sinks) or any(entry.error for entry in self.entries)

    def has(self, *actions: Action) -> bool:
        return any(entry.action in actions for entry in self.entries)


def entry_of(change: Change, *, failure: SinkError | None = None) -> Entry:
    """The change without what it carries."""
    return Entry(
        action=_ACTIONS[type(change)],
        subject=change.subject,
        reason=change.reason,
        state=State.FAILED if failure else _state(change),
        keys=change.keys if isinstance(change, Create | Update) else (),
        error=failure.reason if failure else None,
        retry=failure.retry if failure else Retry.BACKOFF,
        retry_after=failure.retry_after if failure else None,
        undone=isinstance(failure, Forbidden | PreconditionFailed),
    )


def _state(change: Change) -> State:
    match change:
        case Update() | Keep() | Hold():
            return change.state
        case Conflict():
            return State.CONFLICT
        case Create() | Delete():
            return State.PENDING


class KeepsOnly:
    """An observer that hears of what is in sync only: the rest is looked at again, and told then."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def progress(self, what: str, done: int, total: int) -> None:
        self._observer.progress(what, done, total)

    def entry(self, entry: object) -> None:
        if isinstance(entry, Entry) and entry.action == "keep":
            self._observer.entry(entry)

    def failed(self, sink: str, reason: str) -> None:
        self._observer.failed(sink, reason)


def applied(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The entries something was written for."""
    return tuple(one for one in entries if one.action in ("create", "update", "delete") and not one.error)
