"""Tells Kubernetes, by Events on the Secrets, what was done to them and what stands in the way.

Best effort: what is told is only queued, and `run` sends it at a limited rate; what is too much is dropped
and counted, and no failure reaches whoever tells. What goes on unchanged is said again only now and then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol, TypedDict

import structlog

from backends.clients.rate import Bucket, Limit
from backends.errors import Refused, SinkError
from syncer.core.changes import State
from syncer.core.ports import Reconciled
from syncer.telemetry.entries import Told, is_written, told
from syncer.telemetry.metrics import EventResult
from syncer.telemetry.recent import Recent

QUEUED: Final = 1000
"""Events of one sink that may wait."""
AGAIN: Final = 600.0
"""Seconds after which a trouble that goes on is said again."""
_RATE: Final = Limit(requests=100, burst=50, window=10.0)
"""Five a second, and fifty at once."""
_PAUSE: Final = 10.0
"""Seconds to leave the API server alone after it did not take an event."""
_FLUSH: Final = 1.0
"""Seconds at the end for what still waits."""
_REMEMBERED: Final = 50_000
_KEYS: Final = 20
"""Changed keys that are named in one event."""


class Recorder(Protocol):
    """Writes events into one cluster (`backends.clients.kubernetes_events`)."""

    async def record(self, *, address: str, reason: str, warning: bool, note: str, at: float) -> None:
        """Raises `SinkError`."""
        ...


class _Event(TypedDict):
    """What `Recorder.record` takes."""

    address: str
    reason: str
    warning: bool
    note: str
    at: float


class KubernetesEvents:
    """A `RunObserver` for sinks of kind kubernetes: `recorders` by the sink's name.

    `count` is told what became of each event; `clock` gives seconds, `now` those since 1970.
    """

    def __init__(
        self,
        recorders: Mapping[str, Recorder],
        *,
        count: Callable[[str, EventResult], None],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._now = now
        self._clock = clock
        self._news = {sink: _News(clock) for sink in recorders}
        self._lanes = {
            sink: _Lane(sink, recorder, count=count, clock=clock, sleep=sleep)
            for sink, recorder in recorders.items()
        }

    async def run(self) -> None:
        """Send until it is cancelled; then, for a second at most, what still waits."""
        try:
            async with asyncio.TaskGroup() as group:
                for lane in self._lanes.values():
                    group.create_task(lane.drain())
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(_FLUSH):
                    await asyncio.gather(*(lane.flush() for lane in self._lanes.values()))

    def entry(self, entry: object) -> None:
        one = told(entry)
        sink, path = one.subject.sink, one.subject.path
        if path is None or sink not in self._lanes or one.error is not None:
            return
        reason = self._news[sink].reason(one, path)
        if reason is not None:
            warning = reason in _WARNINGS
            event = _Event(address=path, reason=reason, warning=warning, note=_note(one), at=self._now())
            self._lanes[sink].offer(event)

    def progress(self, what: str, done: int, total: int) -> None: ...

    def failed(self, sink: str, reason: str) -> None: ...

    def reconciled(self, what: Reconciled) -> None: ...

    def source(self, failure: str | None) -> None: ...

    def sink(self, name: str, failure: str | None) -> None: ...

    def swept(self, sink: str, seconds: float) -> None: ...

    def leading(self, leading: bool) -> None:  # noqa: FBT001  # a fact, not an option
        """NB: while somebody else writes, what was there comes and goes unseen."""
        if not leading:
            self._news = {sink: _News(self._clock) for sink in self._news}

    def restarted(self, sink: str, workload: str) -> None: ...


_WARNINGS: Final = ("Conflict", "Held", "DriftReverted", "Recreated")


class _News:
    """What is worth an event, at one sink."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._troubles = Recent(_REMEMBERED, again=AGAIN, clock=clock)
        self._there = Recent(_REMEMBERED)
        """Our secrets that were there when they were last looked at."""

    def reason(self, one: Told, path: str) -> str | None:
        """The event's reason; None: nothing is to be said."""
        about = hash((path, one.subject.rule, one.subject.key))
        if one.action in ("hold", "conflict"):
            waits = one.state is State.SETTLING
            new = not waits and self._troubles.is_news(about, f"{one.action}: {one.reason}")
            return {"hold": "Held", "conflict": "Conflict"}[one.action] if new else None
        self._troubles.forget(about)
        was_there = self._there.forget(path)
        if one.action == "delete":
            return "Deleted"
        self._there.is_news(path, "")
        if one.action == "create":
            return "Recreated" if was_there else "Created"
        if one.action == "update":
            return "DriftReverted" if one.state is State.DRIFTED else "Updated"
        return None


def _note(one: Told) -> str:
    subject = one.subject
    about = f"{one.reason} (installation {subject.key}, rule {subject.rule}"
    about += f", run {subject.run_id})" if is_written(one) and subject.run_id else ")"
    keys = [f"{key.key} ({key.change.value})" for key in one.keys[:_KEYS]]
    more = [f"and {len(one.keys) - _KEYS} more"] if len(one.keys) > _KEYS else []
    return f"{about}: {', '.join(keys + more)}" if keys else about


class _Lane:
    """The events of one sink on their way. A slow or dead cluster holds up no other's."""

    def __init__(
        self,
        sink: str,
        recorder: Recorder,
        *,
        count: Callable[[str, EventResult], None],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._sink = sink
        self._recorder = recorder
        self._count = count
        self._clock = clock
        self._sleep = sleep
        self._bucket = Bucket(_RATE)
        self._waiting: asyncio.Queue[_Event] = asyncio.Queue(QUEUED)
        self._log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("syncer")
        self._complaints = Recent(64)

    def offer(self, event: _Event) -> None:
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            self._count(self._sink, "dropped")

    async def drain(self) -> None:
        while True:
            await self._turn()
            await self._send(await self._waiting.get())

    async def flush(self) -> None:
        while not self._waiting.empty():
            await self._turn()
            await self._send(self._waiting.get_nowait())

    async def _turn(self) -> None:
        """NB: before an event is taken, so that none is lost when this is cancelled."""
        wait = self._bucket.delay(self._clock())
        if wait > 0:
            await self._sleep(wait)

    async def _send(self, event: _Event) -> None:
        self._bucket.take(self._clock())
        try:
            await self._recorder.record(**event)
        except SinkError as error:
            self._complain(error)
        else:
            self._count(self._sink, "recorded")

    def _complain(self, error: SinkError) -> None:
        self._count(self._sink, "failed")
        if not isinstance(error, Refused):
            self._bucket.drain(self._clock() + _PAUSE)
        if self._complaints.is_news(error.reason, ""):
            self._log.warning("event not recorded", sink=self._sink, reason=error.reason)
