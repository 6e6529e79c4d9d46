"""When the source is read, and what the controllers hear of it; in virtual time.

Excludes what a controller does with it. Jitter is half its range: intervals are as configured.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable

import pytest
from test_engine_visits import A, B, Bench
from virtual_time import run_virtual

from syncer.core.errors import SourceUnavailable
from syncer.core.model import InstallationKey
from syncer.engine.detection import Detection
from syncer.engine.queue import Priority
from syncer.engine.world import Sight

POLL, LIST, RESYNC = 2.0, 15.0, 600.0


class Heard:
    """A controller that only notes; `events` of all kinds, with their times."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.events: list[tuple[float, object]] = []

    def _note(self, what: object) -> None:
        self.events.append((self._clock(), what))

    def changed(self, keys: Iterable[InstallationKey], priority: Priority) -> None:
        assert priority is Priority.FRESH
        keys = list(keys)
        if keys:
            self._note(keys)

    def listed(self) -> None:
        self._note("listed")

    def begin_look(self) -> int:
        self._note("look")
        return len(self.events)

    def sweep(self, sight: Sight, look: int) -> None:
        self._note(("sweep", look, sorted(sight.keys)))

    def times(self, what: object) -> list[float]:
        return [at for at, event in self.events if event == what]


class Hints:
    """`polls` answers in turn; nothing afterwards."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.polls: list[frozenset[InstallationKey] | Exception] = []
        self.polled: list[float] = []
        self.tells: asyncio.Queue[frozenset[InstallationKey]] = asyncio.Queue()

    async def poll(self) -> frozenset[InstallationKey]:
        self.polled.append(self._clock())
        answer = self.polls.pop(0) if self.polls else frozenset()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def wakes(self) -> AsyncIterator[frozenset[InstallationKey]]:
        while True:
            yield await self.tells.get()


class Scene:
    def __init__(self) -> None:
        self.bench = Bench()
        self.bench.install(A, B)
        self.hints = Hints(self.bench.clock)
        self.heard = [Heard(self.bench.clock), Heard(self.bench.clock)]
        self.detection = Detection(self.bench.shared, self.hints, jitter=lambda: 0.5)

    @property
    def sources(self) -> list[str | None]:
        return self.bench.ears.sources


def story(tell: Callable[[Scene], Coroutine[None, None, None]], *polls: frozenset | Exception) -> None:
    async def told() -> None:
        scene = Scene()
        scene.hints.polls = list(polls)
        running = asyncio.create_task(scene.detection.run(scene.heard))  # type: ignore[arg-type]
        await tell(scene)
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()
        assert scene.heard[0].events == scene.heard[1].events

    run_virtual(told())


def test_everything_is_looked_at_first_and_then_in_every_interval() -> None:
    async def tell(scene: Scene) -> None:
        await asyncio.sleep(2 * RESYNC + 1)
        heard = scene.heard[0]
        assert [event for _, event in heard.events[:3]] == ["listed", "look", ("sweep", 2, [A, B])]
        assert heard.times("look") == [0.0, RESYNC, 2 * RESYNC]
        assert heard.times("listed")[:3] == [0.0, LIST, 2 * LIST]
        assert scene.hints.polled[:3] == [0.0, POLL, 2 * POLL]
        assert set(scene.sources) == {None}

    story(tell)


def test_new_results_are_told_to_every_sink_but_not_those_before_the_first_look() -> None:
    async def tell(scene: Scene) -> None:
        await asyncio.sleep(10)
        assert scene.heard[0].times([A, B]) == [POLL]
        assert scene.heard[0].times([B]) == []

    story(tell, frozenset({B}), frozenset({B, A}))


def test_what_the_source_tells_is_passed_on_at_once_and_polled_for() -> None:
    async def tell(scene: Scene) -> None:
        await asyncio.sleep(10.5)
        scene.hints.tells.put_nowait(frozenset({B}))
        await asyncio.sleep(1)
        assert scene.heard[0].times([B]) == [10.5]
        assert scene.hints.polled[-1] == 10.5

    story(tell)


def test_who_comes_changes_or_goes_is_told_with_the_next_list() -> None:
    async def tell(scene: Scene) -> None:
        await asyncio.sleep(1)
        scene.bench.remove(B)
        await asyncio.sleep(LIST)
        assert scene.heard[0].times([B]) == [LIST]
        assert scene.bench.shared.known.missing_since(B) == LIST

    story(tell)


def test_a_sweep_that_is_wanted_does_not_wait_for_its_time_but_for_half_a_minute() -> None:
    async def tell(scene: Scene) -> None:
        await asyncio.sleep(5)
        scene.detection.sweep_wanted()
        await asyncio.sleep(94)
        assert scene.heard[0].times("look") == [0.0, 30.0]
        scene.detection.sweep_wanted()
        await asyncio.sleep(1)
        assert scene.heard[0].times("look") == [0.0, 30.0, 99.0]

    story(tell)


def test_a_read_that_fails_is_told_and_tried_again_after_growing_pauses() -> None:
    async def tell(scene: Scene) -> None:
        await asyncio.sleep(100)
        assert scene.hints.polled[:4] == [0.0, 1.5, 4.5, 10.5]
        assert scene.sources[:4] == ["down", "down", "down", None]
        assert scene.heard[0].times("listed")[0] == 10.5

    story(tell, *(SourceUnavailable("down") for _ in range(3)))


def test_however_long_a_source_fails_it_is_asked_twice_a_minute() -> None:
    async def tell(scene: Scene) -> None:
        await asyncio.sleep(600)
        pauses = [
            after - before for before, after in zip(scene.hints.polled, scene.hints.polled[1:], strict=False)
        ]
        assert max(pauses) <= 30.0
        assert len(scene.hints.polled) < 40

    story(tell, *(SourceUnavailable("down") for _ in range(900)))


def test_intervals_are_left_to_chance_by_a_tenth() -> None:
    async def told() -> None:
        bench = Bench()
        for jitter, interval in ((0.0, 0.9 * LIST), (1.0, 1.1 * LIST)):
            detection = Detection(bench.shared, Hints(bench.clock), jitter=lambda jitter=jitter: jitter)
            heard = Heard(bench.clock)
            begun = bench.clock()
            running = asyncio.create_task(detection.run([heard]))  # type: ignore[list-item]
            await asyncio.sleep(1.2 * LIST)
            running.cancel()
            await asyncio.wait([running])
            assert heard.times("listed")[1] - begun == pytest.approx(interval)

    run_virtual(told())
