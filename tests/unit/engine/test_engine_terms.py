"""Leading and standing by: what runs when, and what ends with leadership; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Self

import pytest
from test_engine_controller import Moody
from test_engine_detection import Hints
from test_engine_visits import A, B, Bench
from virtual_time import run_virtual

from syncer.core.errors import SourceRefused
from syncer.engine.controller import DRAIN, Controller
from syncer.engine.election import Alone
from syncer.engine.passes import SinkSlot
from syncer.engine.terms import Terms, Work
from syncer.sources.porter.source import PorterSource


class Seat:
    """An election that is decided from outside."""

    holder = ""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.mine = asyncio.Event()
        self.gone = asyncio.Event()

    def give(self) -> None:
        self.gone.clear()
        self.mine.set()

    def take(self) -> None:
        self.mine.clear()
        self.gone.set()

    async def acquire(self) -> None:
        self.events.append("acquire")
        await self.mine.wait()

    async def lost(self) -> None:
        await self.gone.wait()

    def holds(self) -> bool:
        return self.mine.is_set()

    async def release(self) -> None:
        self.events.append("release")

    async def __aenter__(self) -> Self:
        self.events.append("enter")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.events.append("exit")


class Changing:
    """A source, and the hints at what is new in it."""

    def __init__(self, source: PorterSource, changes: Hints) -> None:
        self._source = source
        self.changes = changes

    def __getattr__(self, name: str) -> object:
        return getattr(self._source, name)


class Scene:
    def __init__(self, election: Seat | Alone | None = None) -> None:
        self.bench = Bench()
        self.bench.install(A)
        self.seat = election or Seat()
        self.sink = Moody()
        self.opened: list[float] = []
        self.refusals: list[Exception] = []
        self.started: list[Sequence[Controller]] = []
        work = Work(
            open_source=self._open,
            policy=self.bench.shared.policy,
            sinks=[SinkSlot(name="s", make=lambda: self.sink, same=str)],
            poll_interval=2.0,
            deletion_check_interval=15.0,
            resync_interval=600.0,
        )
        self.terms = Terms(
            work,
            self.seat,
            self.bench.ears,
            started=self.started.append,
            clock=self.bench.clock,
            jitter=lambda: 1.0,
        )
        self.task = asyncio.create_task(self.terms.run())

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[object]:
        self.opened.append(self.bench.clock())
        if self.refusals:
            raise self.refusals.pop(0)
        yield Changing(self.bench.source, Hints(self.bench.clock))

    async def end(self) -> float:
        """Seconds that takes."""
        begun = self.bench.clock()
        self.task.cancel()
        await asyncio.wait([self.task])
        assert self.task.cancelled()
        return self.bench.clock() - begun


def story(tell: Callable[[Scene], Coroutine[None, None, None]], election: type | None = None) -> None:
    async def told() -> None:
        scene = Scene(election() if election else None)
        await tell(scene)
        await scene.end()

    run_virtual(told())


def test_whoever_stands_by_opens_nothing() -> None:
    async def tell(scene: Scene) -> None:
        await asyncio.sleep(1000)
        assert scene.opened == []
        assert scene.bench.ears.led == [False]
        await scene.end()
        assert scene.seat.events == ["enter", "acquire", "release", "exit"]

    story(tell)


def test_whoever_leads_writes_and_says_so() -> None:
    async def tell(scene: Scene) -> None:
        scene.seat.give()
        await asyncio.sleep(1)
        assert scene.bench.ears.led == [False, True]
        assert list(scene.sink.store.cells) == ["shop/a"]
        assert [[one.name for one in controllers] for controllers in scene.started] == [["s"]]
        await scene.end()
        assert scene.bench.ears.led == [False, True, False]

    story(tell)


def test_a_process_that_is_alone_leads_until_it_ends() -> None:
    async def tell(scene: Scene) -> None:
        await asyncio.sleep(1000)
        assert scene.bench.ears.led == [False, True]
        assert list(scene.sink.store.cells) == ["shop/a"]

    story(tell, Alone)


def test_whoever_loses_ends_all_work_and_begins_the_next_term_from_nothing() -> None:
    async def tell(scene: Scene) -> None:
        scene.seat.give()
        await asyncio.sleep(10)
        scene.seat.take()
        await asyncio.sleep(100)
        assert scene.bench.ears.led == [False, True, False]
        assert scene.sink.events == ["opened", "closed"]
        scene.bench.install(B)
        await asyncio.sleep(100)
        assert list(scene.sink.store.cells) == ["shop/a"]
        scene.seat.give()
        await asyncio.sleep(1)
        assert sorted(scene.sink.store.cells) == ["shop/a", "shop/b"]
        assert scene.bench.ears.led == [False, True, False, True]
        (before,), (after,) = scene.started
        assert before is not after

    story(tell)


def test_what_is_on_its_way_when_leadership_is_lost_is_not_sent() -> None:
    async def tell(scene: Scene) -> None:
        scene.sink.seconds = 5.0
        scene.seat.give()
        await asyncio.sleep(1)
        assert scene.sink.begun == ["shop/a"]
        scene.seat.take()
        await asyncio.sleep(100)
        assert scene.sink.store.cells == {}
        assert scene.bench.ears.led == [False, True, False]

    story(tell)


def test_a_process_that_ends_waits_for_what_was_sent_and_gives_leadership_up_afterwards() -> None:
    async def tell(scene: Scene) -> None:
        scene.sink.seconds = 1e6
        scene.seat.give()
        await asyncio.sleep(1)
        assert await scene.end() == pytest.approx(DRAIN)
        assert scene.seat.events == ["enter", "acquire", "release", "exit"]
        assert scene.bench.ears.led == [False, True, False]

    story(tell)


@pytest.mark.parametrize("error", [SourceRefused("wrong schema"), ZeroDivisionError("s3cret")])
def test_a_source_that_cannot_be_used_is_told_and_opened_again_after_growing_pauses(error: Exception) -> None:
    async def tell(scene: Scene) -> None:
        scene.refusals += [error] * 8
        scene.seat.give()
        await asyncio.sleep(200)
        pauses = [after - before for before, after in zip(scene.opened, scene.opened[1:], strict=False)]
        assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
        told = scene.bench.ears.sources[0]
        assert told == ("wrong schema" if isinstance(error, SourceRefused) else told)
        assert "s3cret" not in str(told)
        assert list(scene.sink.store.cells) == ["shop/a"]

    story(tell)
