"""When workloads are restarted: a moment after what they read changed, so that one restart does for several.

Syncing never waits for it. What a workload runs with is noted at the workload, and the sink decides by
that note; so one that has a note loses nothing when this process ends, and nobody is restarted by that.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from backends.contract import Restarts, RestartWish
from backends.errors import SinkError, SinkUnavailable
from syncer.engine.backoff import LONGEST_ASKED, Backoff
from syncer.engine.failures import reason_of

_FIRST: Final = 5.0
_LONGEST: Final = 300.0
_REMEMBERED: Final = 4
"""Contents of one secret that are known as old: a list that is still being read may show them again."""


class Restarter:
    """Wishes for the workloads of one sink. `restarted` hears of each workload, `failed` of each failure.

    Belongs to one event loop, and outlives the sink: `run` goes on with what an earlier one left.
    """

    def __init__(
        self,
        restarted: Callable[[str], None],
        failed: Callable[[str], None],
        clock: Callable[[], float],
        *,
        debounce: float = 5.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`debounce`: seconds from the first wish on in which others join it."""
        self._told_restarted = restarted
        self._told_failed = failed
        self._clock = clock
        self._debounce = debounce
        self._backoff = Backoff(_FIRST, _LONGEST, jitter)
        self._contents: dict[str, tuple[str, ...]] = {}
        self._fresh: dict[str, RestartWish] = {}
        self._fresh_at = math.inf
        self._left: dict[str, RestartWish] = {}
        """Asked for at least once, and not known to be done."""
        self._left_at = math.inf
        self._quiet_until = -math.inf
        self._news = asyncio.Event()

    def wish(self, wish: RestartWish) -> None:
        """A secret was seen, or written, with this content; costs nothing where that is no news.

        What had another content just before has changed (`RestartWish.before`).
        """
        contents = self._contents.get(wish.address, ())
        if wish.content_id in contents:
            return
        self._contents[wish.address] = (*contents, wish.content_id)[-_REMEMBERED:]
        if not self._fresh:
            self._fresh_at = self._clock() + self._debounce
        if self._left.pop(wish.address, None) and not self._left:
            self._left_at = math.inf
        self._fresh[wish.address] = replace(wish, before=contents[-1]) if contents else wish
        self._news.set()

    async def run(self, sink: Restarts) -> None:
        """Fulfil the wishes, until it is cancelled."""
        self._left_at = self._clock() if self._left else math.inf
        while True:
            await self._until_due()
            wishes = self._take()
            try:
                async for workload in sink.restart(wishes):
                    self._told_restarted(workload)
            except SinkError as error:
                self._postpone(error)
            except Exception as error:  # noqa: BLE001  # a fault here must not end the syncing
                self._postpone(SinkUnavailable(reason_of(error)))
            else:
                self._done(wishes)

    async def _until_due(self) -> None:
        while (wait := self._due() - self._clock()) > 0:
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if wait == math.inf else wait):
                    await self._news.wait()

    def _due(self) -> float:
        return max(self._quiet_until, min(self._fresh_at, self._left_at))

    def _take(self) -> tuple[RestartWish, ...]:
        """The new wishes, and what is left, where they have waited for long enough."""
        now = self._clock()
        taken: dict[str, RestartWish] = {}
        if self._left_at <= now:
            taken, self._left_at = dict(self._left), math.inf
        if self._fresh_at <= now:
            taken |= self._fresh
            self._fresh, self._fresh_at = {}, math.inf
        self._left |= taken
        return tuple(taken.values())

    def _postpone(self, error: SinkError) -> None:
        """NB: what is left already keeps its time: new wishes that fail too must not put it off for ever."""
        asked = min(error.retry_after or 0.0, LONGEST_ASKED)
        self._quiet_until = self._clock() + asked
        if self._left and self._left_at == math.inf:
            self._left_at = self._clock() + self._backoff.failed(self, at_least=asked)
        self._told_failed(error.reason)

    def _done(self, wishes: tuple[RestartWish, ...]) -> None:
        for wish in wishes:
            self._left.pop(wish.address, None)
        if not self._left:
            self._backoff.forget(self)
