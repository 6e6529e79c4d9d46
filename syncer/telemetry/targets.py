"""How many targets of a sink stand how, counted from what is told of them one by one.

Knows a target by a hash of its names, so that tens of thousands cost little memory; says numbers only.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from syncer.core.changes import State
from syncer.telemetry.entries import Told, state_after

DELETION_HELD: Final = "deletion held: "
"""How the reason of a deletion begins that the guard holds (docs/operations.md)."""
MOST: Final = 200_000
"""Targets counted for one sink. Of more than that, the ones told of last."""


class Targets:
    """Those of one sink. What two sweeps in a row did not mention is no more."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[State, bool, int]] = {}
        self._sweeps = 0

    def note(self, entry: Told) -> None:
        """An entry of this sink: the target stands like that now."""
        subject = entry.subject
        # Two rules may want one address, and what is held may have none.
        target = hash((subject.path, subject.rule, subject.key))
        self._known.pop(target, None)
        state = state_after(entry)
        if state is None:
            return
        held = entry.action == "hold" and entry.reason.startswith(DELETION_HELD)
        self._known[target] = (state, held, self._sweeps)
        if len(self._known) > MOST:
            del self._known[next(iter(self._known))]

    def swept(self) -> None:
        """A sweep is complete. One that it has not mentioned may still be told of, until the next one is."""
        self._known = {
            target: (state, held, sweep)
            for target, (state, held, sweep) in self._known.items()
            if sweep >= self._sweeps
        }
        self._sweeps += 1

    def clear(self) -> None:
        """Somebody else looks after them now."""
        self._known.clear()

    def by_state(self) -> Counter[State]:
        return Counter(state for state, _, _ in self._known.values())

    def held_deletions(self) -> int:
        return sum(held for _, held, _ in self._known.values())
