"""The last complete list of installations, and since when which of them is missing from it.

An absence counts from the first complete list that lacks it. What follows from an absence is
`core.disposal`'s business, and the evidence for a deletion is `collector`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from syncer.core.model import InstallationKey, InstallationRef

_MEMORY: Final = 3600.0
"""Seconds for which it is remembered since when an installation is missing."""


class Known:
    """Empty, and nothing is missing, until the first list is learnt. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._refs: Mapping[InstallationKey, InstallationRef] = {}
        self._missing: dict[InstallationKey, float] = {}
        self._first: float | None = None

    @property
    def ids(self) -> Mapping[InstallationKey, str]:
        """Every installation there is, as of the last list."""
        return {key: ref.id for key, ref in self._refs.items()}

    def learn(self, refs: Iterable[InstallationRef]) -> frozenset[InstallationKey]:
        """A complete list. Answers which installations changed, came or went since the one before."""
        now, before = self._clock(), self._refs
        # NB: who is the same stays the same object: thousands of new ones every few seconds scatter memory.
        self._refs = {ref.key: ref for ref in (_kept(before.get(ref.key), ref) for ref in refs)}
        gone = before.keys() - self._refs.keys()
        # NB: one that is forgotten counts as missing since the first list, which is longer still.
        missing = self._missing.items()
        still = {key: since for key, since in missing if key not in self._refs and now - since < _MEMORY}
        self._missing = still | dict.fromkeys(gone, now)
        if self._refs and not before and self._first is not None:
            # An empty list proves nothing: whoever is missing counts as missing from this one on.
            self._missing, self._first = dict.fromkeys(self._missing, now), now
        changed = {key for key, ref in self._refs.items() if _differs(before.get(key), ref)}
        if self._first is None:
            self._first = now
            return frozenset()
        return frozenset(changed | gone)

    def missing_since(self, key: InstallationKey) -> float | None:
        """The time of the first list that lacked it; None: it exists, or nothing is known yet."""
        if key in self._refs or self._first is None:
            return None
        return self._missing.get(key, self._first)


def _kept(before: InstallationRef | None, now: InstallationRef) -> InstallationRef:
    return now if before is None or _differs(before, now) else before


def _differs(before: InstallationRef | None, now: InstallationRef) -> bool:
    return before is None or (before.id, before.stamp) != (now.id, now.stamp)
