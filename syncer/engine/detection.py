"""Notices what changes in the source, and says so to the controllers of all sinks.

Polling is the truth that is always there; what the source tells by itself only makes it sooner. A full
look for the sweeps comes with `resync_interval`. Nothing is concluded here: keys go into queues.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from syncer.core.errors import SourceError
from syncer.core.ports import Changes
from syncer.engine.backoff import Backoff
from syncer.engine.controller import Controller
from syncer.engine.queue import Priority
from syncer.engine.shared import Shared
from syncer.engine.world import sight_of

_BATCH: Final = 100
"""Installations a look decodes at once: what is fresh waits no longer than that takes."""
_JITTER: Final = 0.1
"""Part of an interval that is left to chance, so that several instances do not ask at once."""
_LEAST: Final = 30.0
"""Seconds between two looks at everything, however often one is wanted."""
_LONGEST_PAUSE: Final = 30.0

_Answer = TypeVar("_Answer")


class Detection:
    """`run` until it is cancelled. `sweep_wanted` asks for a look at everything before its time."""

    def __init__(
        self, shared: Shared, changes: Changes, *, jitter: Callable[[], float] = random.random
    ) -> None:
        self._shared = shared
        self._changes = changes
        self._jitter = jitter
        self._controllers: Sequence[Controller] = ()
        self._woken = asyncio.Event()
        self._sweep = asyncio.Event()

    def sweep_wanted(self) -> None:
        """Something may have been missed."""
        self._sweep.set()

    async def run(self, controllers: Sequence[Controller]) -> None:
        """Look at everything once, then go on noticing. Controllers wait for the first look."""
        self._controllers = controllers
        # NB: before the look: what is new after this is news, what is older the look has.
        await self._until_it_works(self._changes.poll)
        await self._until_it_works(self._list)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep_forever())
            group.create_task(self._poll_forever())
            group.create_task(self._list_forever())
            group.create_task(self._listen())

    # --- results

    async def _poll_forever(self) -> None:
        while True:
            await _event_or_timeout(self._woken, self._shared.poll_interval)
            self._woken.clear()
            keys = await self._until_it_works(self._changes.poll)
            for controller in self._controllers:
                controller.changed(sorted(keys), Priority.FRESH)

    async def _listen(self) -> None:
        async for keys in self._changes.wakes():
            for controller in self._controllers:
                controller.changed(keys, Priority.FRESH)
            self._woken.set()

    # --- the list of installations

    async def _list_forever(self) -> None:
        while True:
            await asyncio.sleep(self._jittered(self._shared.deletion_check_interval))
            await self._until_it_works(self._list)

    async def _list(self) -> None:
        changed = self._shared.known.learn(await self._shared.source.list())
        for controller in self._controllers:
            controller.changed(sorted(changed), Priority.FRESH)
            controller.listed()

    # --- everything

    async def _sweep_forever(self) -> None:
        while True:
            begun = self._shared.clock()
            self._sweep.clear()
            await self._until_it_works(self._look)
            interval = self._jittered(self._shared.resync_interval)
            await _event_or_timeout(self._sweep, interval)
            await asyncio.sleep(max(0.0, begun + min(_LEAST, interval) - self._shared.clock()))

    async def _look(self) -> None:
        looks = [(controller, controller.begin_look()) for controller in self._controllers]
        sight = await sight_of(self._shared.source, self._shared.policy, batch=_BATCH)
        for controller, number in looks:
            controller.sweep(sight, number)

    async def _until_it_works(self, read: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Read the source; as long as it fails, again after growing pauses."""
        pauses = Backoff(self._shared.poll_interval, _LONGEST_PAUSE, self._jitter)
        while True:
            try:
                answer = await read()
            except SourceError as error:
                self._shared.observer.source(error.reason)
                await asyncio.sleep(pauses.failed(read))
            else:
                self._shared.observer.source(None)
                return answer

    def _jittered(self, interval: float) -> float:
        return interval * (1 + _JITTER * (2 * self._jitter() - 1))


async def _event_or_timeout(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
