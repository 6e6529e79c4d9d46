"""Leads or stands by: runs the controllers of all sinks for as long as this process may write.

Whoever loses the election ends its controllers and stands for the next one; nothing it knew is carried
over, because another one wrote meanwhile. Left out: signals and configuration (`syncer.daemon`).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from syncer.core.errors import SourceError
from syncer.core.model import Policy
from syncer.core.ports import Changes, RunObserver, Source
from syncer.engine.backoff import Backoff
from syncer.engine.controller import Controller
from syncer.engine.detection import Detection
from syncer.engine.election import Election
from syncer.engine.failures import reason_of
from syncer.engine.known import Known
from syncer.engine.passes import SinkSlot
from syncer.engine.shared import Shared

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0


class ChangingSource(Source, Protocol):
    """A source that hints at what is new in it."""

    @property
    def changes(self) -> Changes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be kept in sync, and how eagerly. Intervals in seconds."""

    open_source: Callable[[], AbstractAsyncContextManager[ChangingSource]]
    """Raises `SourceError` for a source that cannot be used as it is."""
    policy: Policy
    sinks: Sequence[SinkSlot]
    poll_interval: float
    deletion_check_interval: float
    resync_interval: float


Started = Callable[[Sequence[Controller]], None]
"""Hears of the controllers of each term."""


class Terms:
    """`run` until it is cancelled; `clock` gives monotonic seconds."""

    def __init__(
        self,
        work: Work,
        election: Election,
        observer: RunObserver,
        *,
        started: Started = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._work = work
        self._election = election
        self._observer = observer
        self._started = started
        self._clock = clock
        self._jitter = jitter
        self._ending = False

    async def run(self) -> None:
        """One term after another. Cancelled, it finishes what was sent and gives leadership up."""
        async with self._election:
            try:
                while True:
                    self._observer.leading(False)
                    await self._election.acquire()
                    self._observer.leading(True)
                    await self._until(self._election.lost(), self._serve_forever())
            finally:
                await self._election.release()
                self._observer.leading(False)

    async def _until(
        self, end: Coroutine[object, object, None], work: Coroutine[object, object, None]
    ) -> None:
        """Work until the end comes, or until we are cancelled; nothing more is sent from then on."""
        tasks = [asyncio.create_task(end), asyncio.create_task(work)]
        self._ending = False
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._ending = True
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve_forever(self) -> None:
        pauses = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE, self._jitter)
        while True:
            try:
                async with self._work.open_source() as source:
                    await self._serve(source)
            except SourceError as error:
                self._observer.source(error.reason)
            except Exception as error:  # noqa: BLE001  # whatever it was, the next attempt begins from nothing
                self._observer.source(reason_of(error))
            await asyncio.sleep(pauses.failed(self))

    async def _serve(self, source: ChangingSource) -> None:
        work = self._work
        shared = Shared(
            source=source,
            policy=work.policy,
            known=Known(self._clock),
            observer=self._observer,
            allowed=self._may_write,
            clock=self._clock,
            poll_interval=work.poll_interval,
            deletion_check_interval=work.deletion_check_interval,
            resync_interval=work.resync_interval,
        )
        detection = Detection(shared, source.changes, jitter=self._jitter)
        controllers = [Controller(slot, shared, sweep_wanted=detection.sweep_wanted) for slot in work.sinks]
        self._started(controllers)
        async with asyncio.TaskGroup() as group:
            for controller in controllers:
                group.create_task(controller.run())
            group.create_task(detection.run(controllers))

    def _may_write(self) -> bool:
        return not self._ending and self._election.holds()
