"""Leaves a whole sink alone after a failure that concerns all of it, and lets one try go first afterwards.

Closed: all may work. Open: nobody, until a time. Then one may try, and what comes of that decides for
all. Left out: which failures concern all of a sink, and those of single keys (`backoff`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

from backends.errors import Retry, SinkError
from syncer.engine.backoff import LONGEST_ASKED, Backoff

_FIRST: Final = 1.0
_LONGEST: Final = 60.0
_SLOWLY: Final = 30.0
"""Seconds at least after refused credentials: logins one after the other lock accounts and fill logs."""


class Breaker:
    """Belongs to one sink and one event loop.

    Whoever was admitted says what came of it, and as `trial` what `admitted` answered: what was begun before
    the breaker opened may end during another's trial, and says nothing about that. Without it a report
    during a trial is taken for the trial's.
    """

    def __init__(self, clock: Callable[[], float], jitter: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._pauses = Backoff(_FIRST, _LONGEST, jitter)
        self._open_until: float | None = None
        self._trying = False
        self._settled = asyncio.Event()
        self.reason: str | None = None
        """Why the sink is left alone; none while it is not."""

    async def admitted(self) -> bool:
        """Wait until work may be taken; whether it is a trial, and then one key is enough."""
        while self._trying or self._remaining() > 0:
            if self._trying:
                await self._settled.wait()
            else:
                await asyncio.sleep(self._remaining())
        self._trying = self._open_until is not None
        self._settled.clear()
        return self._trying

    def failed(self, error: SinkError, *, trial: bool = True) -> None:
        """The sink as a whole failed. Only the failure that opens, and that of a trial, double the pause."""
        at_least = max(_SLOWLY if error.retry is Retry.SLOWLY else 0.0, error.retry_after or 0.0)
        if self._open_until is None or (self._trying and trial):
            pause = self._pauses.failed(self, at_least=at_least)
        else:
            pause = min(at_least, LONGEST_ASKED)
        self._open_until = max(self._open_until or 0.0, self._clock() + pause)
        self.reason = error.reason
        if trial:
            self._settle()

    def succeeded(self, *, trial: bool = True) -> None:
        """The sink answered. Closes after a trial; while open it was begun before, and changes nothing."""
        if self._trying and trial:
            self._open_until = self.reason = None
            self._pauses.forget(self)
            self._settle()

    def abandoned(self, *, trial: bool = True) -> None:
        """Nothing came of it (the worker was stopped): another may try."""
        if trial:
            self._settle()

    def _settle(self) -> None:
        self._trying = False
        self._settled.set()

    def _remaining(self) -> float:
        return 0.0 if self._open_until is None else self._open_until - self._clock()
