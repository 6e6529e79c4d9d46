"""What observers read of an `engine.report.Entry`, and what follows from it once it is done.

Telemetry does not import the engine, so what it needs of an entry is named here. No value is in it.
"""

from __future__ import annotations

from typing import Final, Protocol, cast

from syncer.core.changes import KeyChange, State, Subject

WRITES: Final = ("create", "update", "delete")
"""The actions that change a sink."""


class Told(Protocol):
    """One change of a controller: written already, unless `error` says otherwise."""

    @property
    def action(self) -> str: ...

    @property
    def subject(self) -> Subject: ...

    @property
    def reason(self) -> str: ...

    @property
    def state(self) -> State: ...

    @property
    def keys(self) -> tuple[KeyChange, ...]: ...

    @property
    def error(self) -> str | None: ...


def told(entry: object) -> Told:
    """NB: a cast: to look for every field would take longer than what is done with them."""
    return cast("Told", entry)


def is_written(entry: Told) -> bool:
    return entry.action in WRITES and entry.error is None


def state_after(entry: Told) -> State | None:
    """How the target stands now; None: it is no more."""
    if not is_written(entry):
        return entry.state
    return None if entry.action == "delete" else State.IN_SYNC
