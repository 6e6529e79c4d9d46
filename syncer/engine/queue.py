"""The queue of one sink: which keys want work, how soon, and which are in work.

It carries keys, never state: whoever takes a key reads the world. Left out: what the work is, and
how long a key that failed has to wait (`backoff`). Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

_STALE: Final = 64
"""Times that no longer count are cleared away once they are so many more than those that do."""

Key = TypeVar("Key", bound=Hashable)


class Priority(IntEnum):
    """Why a key wants work; lower goes first, so that a change never waits behind a sweep."""

    FRESH = 0
    RETRY = 1
    SWEEP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was asked for one key, all the asking put together."""

    priority: Priority
    since: float
    """When the first who asked wanted it, by the queue's clock."""


_Entry = tuple[float, int, Key, Wish]
"""A key that waits for its time: that, its place among those of the same time, and for what."""


class WorkQueue(Generic[Key]):
    """Each key waits in it at most once, and is in at most one worker's hands.

    Within a priority keys are taken in the order in which they became ready.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: dict[Key, Wish] = {}
        self._ready: Mapping[Priority, OrderedDict[Key, None]] = {line: OrderedDict() for line in Priority}
        self._later: list[_Entry[Key]] = []
        self._order = itertools.count()
        self._in_work: dict[Key, Wish | None] = {}
        self._news = asyncio.Event()

    def add(self, key: Key, priority: Priority, *, delay: float = 0.0, since: float | None = None) -> None:
        """Ask for work on a key, now or in `delay` seconds; `since` when, of a wish that is put back.

        Asked for again it keeps the better priority and the earlier time. A key in work waits
        until that is done, because the work may have read the world before this change.
        """
        wish = Wish(priority=priority, since=(self._clock() if since is None else since) + delay)
        if key in self._in_work:
            self._in_work[key] = _merged(self._in_work[key], wish)
        else:
            self._enter(key, wish)

    async def take(self, limit: int, *, worst: Priority = Priority.SWEEP) -> Mapping[Key, Wish]:
        """Wait until a key is ready; then at most `limit` of the best priority, now in the caller's hands.

        Keys of a priority after `worst` are left to others. Whoever is cancelled while waiting has taken
        nothing.
        """
        while not (taken := self._taken(limit, worst)):
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._next_due()):
                    await self._news.wait()
        return taken

    def done(self, key: Key) -> None:
        """The work on a taken key ended, whichever way; who wants it again adds it before."""
        again = self._in_work.pop(key)
        if again is not None:
            self._enter(key, again)

    def depth(self, priority: Priority) -> int:
        """How many keys are ready and not in work."""
        self._ripen()
        return len(self._ready[priority])

    def wants(self, key: Key, *, worst: Priority) -> bool:
        """Whether it waits, ready or not, for work of no worse priority than this."""
        wish = self._waiting.get(key) or self._in_work.get(key)
        return wish is not None and wish.priority <= worst

    def wanted(self, *, worst: Priority) -> list[Key]:
        """All of those."""
        return [key for key in (*self._waiting, *self._in_work) if self.wants(key, worst=worst)]

    def __len__(self) -> int:
        """How many keys wait, ready or not; those in work do not."""
        return len(self._waiting)

    @property
    def in_work(self) -> int:
        """How many keys are in hands."""
        return len(self._in_work)

    def _enter(self, key: Key, wish: Wish) -> None:
        # Whoever became ready before this key stands before it.
        self._ripen()
        before = self._waiting.get(key)
        after = _merged(before, wish)
        if after == before:
            return
        self._waiting[key] = after
        if before is not None and before.priority != after.priority:
            self._ready[before.priority].pop(key, None)
        if after.since <= self._clock():
            self._ready[after.priority][key] = None
        else:
            self._wait_for(key, after)
        self._news.set()

    def _wait_for(self, key: Key, wish: Wish) -> None:
        heappush(self._later, (wish.since, next(self._order), key, wish))
        if len(self._later) > 2 * len(self._waiting) + _STALE:
            self._later = [entry for entry in self._later if self._counts(entry)]
            heapify(self._later)

    def _counts(self, entry: _Entry[Key]) -> bool:
        """Whether the key still waits for this: it may have been taken, or asked for again."""
        _, _, key, wish = entry
        return self._waiting.get(key) is wish

    def _ripen(self) -> None:
        """Let those in whose time has come."""
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            entry = heappop(self._later)
            if self._counts(entry):
                _, _, key, wish = entry
                self._ready[wish.priority][key] = None

    def _taken(self, limit: int, worst: Priority) -> Mapping[Key, Wish]:
        self._ripen()
        line = next((line for priority, line in self._ready.items() if line and priority <= worst), None)
        if line is None:
            return {}
        keys = [line.popitem(last=False)[0] for _ in range(min(limit, len(line)))]
        self._in_work.update(dict.fromkeys(keys))
        return {key: self._waiting.pop(key) for key in keys}

    def _next_due(self) -> float | None:
        """Seconds until the next key becomes ready, if one waits for its time."""
        return self._later[0][0] - self._clock() if self._later else None


def _merged(one: Wish | None, other: Wish) -> Wish:
    if one is None:
        return other
    return Wish(priority=min(one.priority, other.priority), since=min(one.since, other.since))
