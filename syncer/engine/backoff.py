"""How long what failed waits until it is tried again: twice as long after each failure, with chance in it.

Left out: who waits, and what counts as a failure.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from typing import Final

LONGEST_ASKED: Final = 600.0
"""Seconds a server may ask to be left alone for; one that names a day is asked again before."""


class Backoff:
    """Pauses for each key on its own; remembers only keys that failed and were not forgotten since."""

    def __init__(self, first: float, longest: float, jitter: Callable[[], float] = random.random) -> None:
        """`first` and `longest` in seconds; `jitter` draws from 0 to 1."""
        self._first = first
        self._longest = longest
        self._jitter = jitter
        self._next: dict[Hashable, float] = {}

    def failed(self, key: Hashable, *, at_least: float = 0.0) -> float:
        """Seconds to wait after one more failure, and not less than a server asked for.

        Half of the pause is left to chance, so that keys that failed together do not return together.
        """
        pause = min(self._next.get(key, self._first), self._longest)
        self._next[key] = 2 * pause
        return max(pause * (1 + self._jitter()) / 2, min(at_least, LONGEST_ASKED))

    def forget(self, key: Hashable) -> None:
        """It went well, or is not wanted any more: the next failure is the first."""
        self._next.pop(key, None)
