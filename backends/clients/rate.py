"""How fast one server may be asked: never more than so much in any window, and not while it says no.

`Bucket` and `Gate` are the rules, with the time given; `Pacer` waits by them, with the clock and the
sleep given. After a refusal (429) everybody waits for as long as the server asked; then one request
goes first, and the others follow, without a burst, only when that one was not refused.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Final

from backends.errors import Throttled

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
"""Seconds of the pauses where the server names none: they double from one refusal to the next."""


class Kind(Enum):
    """What a request counts as."""

    CREATE = "create"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `requests` in any `window` seconds, of which `burst` may come at once (fewer than all)."""

    requests: int
    burst: int
    window: float = 10.0


class Bucket:
    """One limit: a token bucket, kept as the time at which it will be full again."""

    def __init__(self, limit: Limit) -> None:
        self._interval = limit.window / (limit.requests - limit.burst)
        self._slack = (limit.burst - 1) * self._interval
        self._full = -math.inf

    def delay(self, now: float) -> float:
        """Seconds until the next request may go."""
        return max(0.0, self._full - self._slack - now)

    def take(self, now: float) -> None:
        """A request goes."""
        self._full = max(self._full, now) + self._interval

    def drain(self, until: float) -> None:
        """From `until` on one request may go at a time, at the steady rate."""
        self._full = max(self._full, until + self._slack)


class Gate:
    """Open, closed until a time, or open for the one request that tries whether the pause was enough."""

    def __init__(self) -> None:
        self._closed_until = -math.inf
        self._pause = _FIRST_PAUSE
        self._doubtful = False
        self.trying = False
        """A request is out whose answer decides."""

    def delay(self, now: float) -> float:
        """Seconds until the gate opens."""
        return max(0.0, self._closed_until - now)

    def enter(self) -> bool:
        """A request goes; whether it is the one that tries."""
        self.trying = self._doubtful
        return self._doubtful

    def refused(self, now: float, asked: float | None) -> float:
        """A request was refused; `asked` is how long to wait, if that was said. Returns when it opens."""
        pause = self._pause if asked is None else asked
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        self._closed_until = max(self._closed_until, now + pause)
        self._doubtful = True
        return self._closed_until

    def settle(self, now: float, *, accepted: bool) -> None:
        """The request that tried is answered, or (not `accepted`) came to nothing: another has to try."""
        self.trying = False
        if accepted and now >= self._closed_until:
            self._doubtful = False
            self._pause = _FIRST_PAUSE


class Turn:
    """One request's; whoever sends it says what came of it, or nothing."""

    def __init__(self) -> None:
        self.accepted = False
        self.refused = False
        self.asked: float | None = None

    def answered(self, *, refused: bool, asked: float | None = None) -> None:
        """`refused`: it was one too many; `asked`: for how many seconds the server wants to be left alone."""
        self.refused, self.accepted, self.asked = refused, not refused, asked


class Pacer:
    """Turns in the order they were asked for. Belongs to one event loop.

    Whoever would wait longer than `patience` seconds for a closed gate gets `Throttled` at once.
    """

    def __init__(
        self,
        limits: Mapping[Kind, Limit],
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        patience: float = 30.0,
    ) -> None:
        self._buckets = {kind: Bucket(limit) for kind, limit in limits.items()}
        self._queues = {kind: asyncio.Lock() for kind in limits}
        self._gate = Gate()
        self._settled = asyncio.Event()
        self._clock = clock
        self._sleep = sleep
        self._patience = patience

    @asynccontextmanager
    async def turn(self, kind: Kind) -> AsyncIterator[Turn]:
        """Waits for its turn; inside the block one request may be sent. Raises `Throttled`."""
        tries = await self._admitted(kind)
        turn = Turn()
        try:
            yield turn
        finally:
            if turn.refused:
                opens = self._gate.refused(self._clock(), turn.asked)
                for bucket in self._buckets.values():
                    bucket.drain(opens)
            if tries:
                self._gate.settle(self._clock(), accepted=turn.accepted)
                self._settled.set()

    async def _admitted(self, kind: Kind) -> bool:
        until = self._clock() + self._patience
        bucket = self._buckets[kind]
        async with self._queues[kind]:
            while True:
                now = self._clock()
                closed = self._gate.delay(now)
                if now + closed > until:
                    raise Throttled("the vault asks for fewer requests", retry_after=closed)
                if (wait := max(closed, bucket.delay(now))) > 0:
                    await self._sleep(wait)
                elif self._gate.trying:
                    await self._settled.wait()
                else:
                    bucket.take(now)
                    self._settled.clear()
                    return self._gate.enter()
