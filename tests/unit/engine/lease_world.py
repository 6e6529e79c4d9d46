"""What the tests of the lease election share: a lease at a server with faults, and processes that are stopped.

Time is virtual. A request goes on at the server whatever becomes of who sent it, as a real one does. A
stopped process is one of whose tasks none goes on until it is continued, while its clock and its timers
go on.
"""

from __future__ import annotations

import asyncio
import contextvars
import enum
import types
from collections.abc import Callable, Coroutine, Generator, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from backends.clients.lease_record import LeaseRecord, LeaseTaken
from backends.errors import OutcomeUnknown, SinkError

Answer = TypeVar("Answer")


class Fault(enum.Enum):
    NONE = "none"
    LOST = "the request is lost"
    UNANSWERED = "the answer is lost"
    HANGS = "nothing ever comes back"


@dataclass(frozen=True)
class Way:
    """How one request travels, and how long each way takes."""

    fault: Fault = Fault.NONE
    there: float = 0.0
    back: float = 0.0


class Server:
    """One lease. `ways` says how requests travel, one after the other; after its end they arrive at once."""

    def __init__(self, ways: Iterable[Way] = ()) -> None:
        self.record: LeaseRecord | None = None
        self.version = 0
        self.requests = 0
        self.failure: SinkError | None = None
        """What every request is answered with."""
        self.way: Way | None = None
        """How every request travels, instead of `ways`."""
        self._ways = iter(ways)
        self._travelling: set[asyncio.Task[None]] = set()

    def write(self, **changes: object) -> None:
        """What somebody else does."""
        empty = LeaseRecord(holder="", seconds=15, acquired="", renewed="", transitions=0)
        self.store(replace(self.record or empty, **changes))

    def store(self, record: LeaseRecord | None) -> None:
        self.record = record
        self.version += 1

    async def ask(self, act: Callable[[], Answer]) -> Answer:
        self.requests += 1
        way = self.way or next(self._ways, Way())
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        travel = asyncio.create_task(self._travel(way, act, answer), context=contextvars.Context())
        self._travelling.add(travel)
        travel.add_done_callback(self._travelling.discard)
        return await answer

    async def _travel(self, way: Way, act: Callable[[], Answer], answer: asyncio.Future[Answer]) -> None:
        await asyncio.sleep(way.there)
        failure: Exception | None = self.failure
        result: Answer | None = None
        if way.fault is not Fault.LOST and failure is None:
            try:
                result = act()
            except LeaseTaken as taken:
                failure = taken
        await asyncio.sleep(way.back)
        if way.fault in (Fault.LOST, Fault.UNANSWERED):
            failure = OutcomeUnknown("the connection broke")
        if way.fault is Fault.HANGS or answer.done():
            return
        if failure is not None:
            answer.set_exception(failure)
        else:
            answer.set_result(result)


class Lock:
    """The lease as one process sees it, under the version it read last."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._version = -1

    async def read(self) -> LeaseRecord | None:
        record, self._version = await self._server.ask(lambda: (self._server.record, self._server.version))
        return record

    async def create(self, record: LeaseRecord) -> None:
        await self._server.ask(lambda: self._store(record, unless=self._server.record is not None))

    async def update(self, record: LeaseRecord) -> None:
        version = self._version
        await self._server.ask(lambda: self._store(record, unless=self._server.version != version))

    def _store(self, record: LeaseRecord, *, unless: bool) -> None:
        if unless:
            raise LeaseTaken("somebody was quicker")
        self._server.store(record)


@dataclass
class Process:
    """Its tasks do not go on during `stops`. `watch` is called after each of their steps."""

    stops: tuple[tuple[float, float], ...] = ()
    """From when to when, in order."""
    watch: Callable[[], None] = field(default=lambda: None)

    def run(self, work: Coroutine[object, object, Answer]) -> asyncio.Task[Answer]:
        """A task of this process; the tasks it makes are, too."""
        context = contextvars.copy_context()
        context.run(_PROCESS.set, self)
        return asyncio.create_task(work, context=context)

    def stopped_until(self, now: float) -> float | None:
        # NB: a loop runs a timer that is due within its clock's resolution, hence the tolerance.
        return next((end for begin, end in self.stops if begin <= now < end - 1e-6), None)


_PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


def with_processes() -> None:
    """Let the running loop know processes."""

    def make(loop: asyncio.AbstractEventLoop, work: Coroutine, context: contextvars.Context | None = None):
        process = (context or contextvars.copy_context()).get(_PROCESS)
        return asyncio.Task(_run(work, process) if process else work, loop=loop, context=context)

    asyncio.get_running_loop().set_task_factory(make)


async def _run(work: Coroutine[object, object, Answer], process: Process) -> Answer:
    return await _steps(work, process)


@types.coroutine
def _steps(work: Coroutine[object, object, Answer], process: Process) -> Generator[object, object, Answer]:
    """Goes through the steps of `work`, and before each one waits until the process is not stopped."""
    error: BaseException | None = None
    loop = asyncio.get_running_loop()
    while True:
        while (end := process.stopped_until(loop.time())) is not None:
            continued = loop.create_future()
            loop.call_at(end, continued.set_result, None)
            try:
                yield from asyncio.shield(continued)
            except asyncio.CancelledError as cancelled:
                error = cancelled
        try:
            waited_for = work.send(None) if error is None else work.throw(error)
        except StopIteration as finished:
            return finished.value
        finally:
            process.watch()
        error = None
        try:
            yield waited_for
        except BaseException as raised:  # noqa: BLE001  # handed on at the next step
            error = raised
