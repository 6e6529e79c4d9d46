"""One sink kept in sync: what its controller does with failures, restarts, watches and its own end.

In virtual time. Excludes what `simulation/` runs through whole processes: changes, deletions, drift.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from dataclasses import replace

import pytest
from test_engine_visits import A, B, Bench, C, SpoiltSink, policy
from virtual_time import run_virtual

from backends.contract import (
    DesiredSecret,
    Expectation,
    ObservedSecret,
    Owner,
    RestartWish,
    Seen,
    Version,
    Workloads,
)
from backends.errors import AuthenticationFailed, Forbidden, SinkError, SinkUnavailable
from backends.sending import may_send
from syncer.core.errors import SourceUnavailable
from syncer.core.model import InstallationKey
from syncer.core.ports import Outcome
from syncer.engine.controller import DRAIN, Controller
from syncer.engine.passes import SinkSlot
from syncer.engine.queue import Priority
from syncer.engine.world import Sight, sight_of

SHOP = (Workloads(kind="Deployment", name="shop"),)


class Moody(SpoiltSink):
    """Its lists, its opening and its puts fail or take as long as they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.lists: list[Exception] = []
        self.listed = 0
        self.seconds = 0.0
        self.opening: list[Exception] = []
        self.events: list[str] = []
        self.begun: list[str] = []

    async def inventory(self, owner: Owner) -> AsyncIterator[ObservedSecret]:
        self.listed += 1
        async for observed in super().inventory(owner):
            yield observed
        if self.lists:
            raise self.lists.pop(0)

    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        self.begun.append(desired.address)
        await asyncio.sleep(self.seconds)
        return await super().put(desired, expect)

    async def __aenter__(self) -> Moody:  # noqa: PYI034
        if self.opening:
            raise self.opening.pop(0)
        self.events.append("opened")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.events.append("closed")


class Restarting(Moody):
    def __init__(self) -> None:
        super().__init__()
        self.wishes: list[RestartWish] = []
        self.failures: list[SinkError] = []

    async def restart(self, wishes: Collection[RestartWish]) -> AsyncIterator[str]:
        may_send()
        self.wishes += wishes
        if self.failures:
            raise self.failures.pop(0)
        for wish in wishes:
            yield f"Deployment {wish.workloads[0].name}"


class Watching(Moody):
    def __init__(self) -> None:
        super().__init__()
        self.says: asyncio.Queue[Seen | Exception] = asyncio.Queue()

    async def watch(self, owner: Owner) -> AsyncIterator[Seen]:
        while True:
            seen = await self.says.get()
            if isinstance(seen, Exception):
                raise seen
            yield seen


class Scene:
    """A controller over a sink, not yet running."""

    def __init__(self, sink: Moody | None = None, **bench: object) -> None:
        self.bench = Bench(**bench)  # type: ignore[arg-type]
        self.sink = sink or Moody()
        self.sweeps_wanted = 0
        self.allowed = True
        self.shared = replace(self.bench.shared, allowed=lambda: self.allowed)
        slot = SinkSlot(name="s", make=lambda: self.sink, same=str)
        self.controller = Controller(slot, self.shared, sweep_wanted=self._want_sweep)
        self.task: asyncio.Task[None] | None = None

    def _want_sweep(self) -> None:
        self.sweeps_wanted += 1

    def start(self) -> None:
        self.task = asyncio.create_task(self.controller.run())

    async def look(self) -> None:
        number = self.controller.begin_look()
        self.controller.sweep(await self.sight(), number)

    async def sight(self) -> Sight:
        return await sight_of(self.bench.source, self.shared.policy, batch=2)

    async def end(self) -> float:
        """Seconds that takes."""
        assert self.task is not None
        begun = self.bench.clock()
        self.task.cancel()
        await asyncio.wait([self.task])
        assert self.task.cancelled()
        return self.bench.clock() - begun

    def outcomes(self) -> list[tuple[InstallationKey, Outcome]]:
        return [(one.key, one.outcome) for one in self.bench.ears.done]

    @property
    def cells(self) -> list[str]:
        return sorted(self.sink.store.cells)


def story(
    tell: Callable[[Scene], Coroutine[None, None, None]], sink: type[Moody] = Moody, **bench: object
) -> None:
    async def told() -> None:
        scene = Scene(sink(), **bench)
        scene.bench.install(A, B, C)
        scene.start()
        await tell(scene)
        await scene.end()

    run_virtual(told())


def test_nothing_is_opened_before_the_first_look() -> None:
    async def tell(scene: Scene) -> None:
        scene.controller.changed([A], Priority.FRESH)
        await asyncio.sleep(100)
        assert scene.sink.events == []
        await scene.look()
        await asyncio.sleep(1)
        assert scene.sink.events == ["opened"]
        assert scene.cells == ["shop/a", "shop/b", "shop/c"]
        assert scene.bench.ears.sweeps == ["s"]

    story(tell)


@pytest.mark.parametrize("error", [SinkUnavailable("down"), Forbidden("down"), ZeroDivisionError("s3cret")])
def test_a_sink_that_cannot_be_opened_is_told_and_opened_later(error: Exception) -> None:
    async def tell(scene: Scene) -> None:
        scene.sink.opening += [error, error]
        await scene.look()
        await asyncio.sleep(70)
        assert len(scene.cells) == 3
        (name, reason), *_, last = scene.bench.ears.sinks
        assert name == "s"
        assert reason == ("down" if isinstance(error, SinkError) else reason)
        assert "s3cret" not in str(scene.bench.ears.sinks)
        assert last == ("s", None)

    story(tell)


def test_a_look_that_could_not_be_compared_is_compared_once_the_sink_works() -> None:
    async def tell(scene: Scene) -> None:
        scene.sink.lists += [SinkUnavailable("down"), AuthenticationFailed("who?")]
        await scene.look()
        await asyncio.sleep(30)
        assert scene.cells == []
        await asyncio.sleep(10)
        assert scene.sink.listed == 3
        assert len(scene.cells) == 3

    story(tell)


def test_of_two_looks_only_the_newer_one_is_compared() -> None:
    async def tell(scene: Scene) -> None:
        older, newer = [await scene.sight() for _ in range(2)]
        scene.controller.sweep(older, scene.controller.begin_look())
        scene.controller.sweep(newer, scene.controller.begin_look())
        await asyncio.sleep(1)
        assert scene.sink.listed == 1

    story(tell)


def test_a_list_that_one_namespace_refuses_is_told_and_everybody_is_looked_at_alone() -> None:
    async def tell(scene: Scene) -> None:
        await scene.look()
        await asyncio.sleep(1)
        del scene.sink.store.cells["shop/b"]
        scene.sink.lists.append(Forbidden("list secrets"))
        await scene.look()
        await asyncio.sleep(1)
        assert scene.bench.ears.failures == [("s", "list secrets")]
        assert len(scene.cells) == 3
        assert scene.bench.ears.sweeps == ["s"]

    story(tell)


def test_while_a_sink_is_down_one_is_tried_each_time_and_then_all_are_done() -> None:
    async def tell(scene: Scene) -> None:
        await scene.look()
        await asyncio.sleep(1)
        for key in (A, B, C):
            scene.bench.world.run({"host": b"new"}, key=key)
            scene.sink.looks[f"shop/{key.name}"] = SinkUnavailable("down")
        scene.sink.asked.clear()
        scene.controller.changed([A, B, C], Priority.FRESH)
        await asyncio.sleep(60)
        assert [len(asked) for asked in scene.sink.asked][:4] == [3, 1, 1, 1]
        assert {next(iter(asked)) for asked in scene.sink.asked[1:4]} == {"shop/a", "shop/b", "shop/c"}
        assert scene.bench.ears.sinks[-1] == ("s", "down")
        scene.sink.looks.clear()
        scene.bench.ears.done.clear()
        await asyncio.sleep(120)
        assert sorted(scene.outcomes()) == [(key, Outcome.SYNCED) for key in (A, B, C)]
        assert scene.bench.ears.sinks[-1] == ("s", None)

    story(tell)


def test_what_is_being_written_at_the_end_is_finished() -> None:
    async def tell(scene: Scene) -> None:
        scene.sink.seconds = DRAIN - 1
        await scene.look()
        await asyncio.sleep(0.5)
        assert len(scene.sink.begun) == 3
        assert await scene.end() == pytest.approx(DRAIN - 1.5)
        assert len(scene.cells) == 3
        assert scene.sink.events == ["opened", "closed"]

    story(tell)


def test_what_takes_too_long_at_the_end_is_abandoned() -> None:
    async def tell(scene: Scene) -> None:
        scene.sink.seconds = 1e6
        await scene.look()
        await asyncio.sleep(0.5)
        assert await scene.end() == pytest.approx(DRAIN)
        assert scene.cells == []
        assert scene.sink.events == ["opened", "closed"]

    story(tell)


def test_what_waits_for_a_sink_that_is_down_does_not_delay_the_end() -> None:
    async def tell(scene: Scene) -> None:
        scene.sink.lists += [SinkUnavailable("down", retry_after=500.0)]
        await scene.look()
        scene.controller.changed([A], Priority.FRESH)
        await asyncio.sleep(100)
        assert await scene.end() == 0.0

    story(tell)


def with_readers() -> object:
    plain = policy()
    (rule,) = plain.rules
    target = replace(rule.targets[0], restart=SHOP)
    return replace(plain, rules=(replace(rule, targets=(target,)),))


def test_whoever_reads_a_secret_is_restarted_and_that_is_told() -> None:
    async def tell(scene: Scene) -> None:
        assert isinstance(scene.sink, Restarting)
        scene.sink.failures.append(Forbidden("patch deployments"))
        await scene.look()
        await asyncio.sleep(100)
        assert {wish.address for wish in scene.sink.wishes} == {"shop/a", "shop/b", "shop/c"}
        assert all(wish.workloads == SHOP for wish in scene.sink.wishes)
        assert scene.bench.ears.failures == [("s", "patch deployments")]
        assert scene.bench.ears.restarts == ["Deployment shop"] * 3

    story(tell, Restarting, rules=with_readers())


def test_nobody_is_restarted_without_a_permit() -> None:
    async def tell(scene: Scene) -> None:
        assert isinstance(scene.sink, Restarting)
        await scene.look()
        await asyncio.sleep(2)
        scene.allowed = False
        await asyncio.sleep(100)
        assert scene.sink.wishes == []
        assert len(scene.cells) == 3

    story(tell, Restarting, rules=with_readers())


def test_secrets_that_nobody_reads_restart_nobody() -> None:
    async def tell(scene: Scene) -> None:
        assert isinstance(scene.sink, Restarting)
        await scene.look()
        await asyncio.sleep(100)
        assert scene.sink.wishes == []

    story(tell, Restarting)


def test_what_a_watch_tells_is_looked_at_and_a_refusal_is_told() -> None:
    async def tell(scene: Scene) -> None:
        assert isinstance(scene.sink, Watching)
        await scene.look()
        await asyncio.sleep(1)
        scene.sink.says.put_nowait(Seen(address=None))
        del scene.sink.store.cells["shop/b"]
        scene.sink.says.put_nowait(Seen(address="shop/b"))
        await asyncio.sleep(1)
        assert scene.sweeps_wanted == 1
        assert len(scene.cells) == 3
        scene.sink.says.put_nowait(Forbidden("watch secrets"))
        await asyncio.sleep(1)
        assert scene.bench.ears.failures == [("s", "watch secrets")]

    story(tell, Watching)


def test_an_unexpected_end_of_a_part_opens_the_sink_anew() -> None:
    async def tell(scene: Scene) -> None:
        assert isinstance(scene.sink, Watching)
        await scene.look()
        await asyncio.sleep(1)
        scene.sink.says.put_nowait(ZeroDivisionError("s3cret"))
        await asyncio.sleep(10)
        assert scene.sink.events == ["opened", "closed", "opened"]
        assert "s3cret" not in str(scene.bench.ears.sinks)
        scene.controller.changed([A], Priority.FRESH)
        del scene.sink.store.cells["shop/a"]
        await asyncio.sleep(1)
        assert len(scene.cells) == 3

    story(tell, Watching)


def test_a_deletion_that_the_source_cannot_confirm_is_tried_again() -> None:
    async def tell(scene: Scene) -> None:
        scene.shared.known.learn(await scene.bench.source.list())
        await scene.look()
        await asyncio.sleep(1)
        scene.bench.uninstall(A)
        scene.controller.changed([A], Priority.FRESH)
        await asyncio.sleep(0.1)

        def cut(_query: object) -> None:
            raise SourceUnavailable("cut")

        scene.bench.world.before_query = cut
        await asyncio.sleep(5)
        assert scene.bench.ears.sources == ["cut"]
        scene.bench.world.before_query = lambda _query: None
        await asyncio.sleep(30)
        assert scene.cells == ["shop/b", "shop/c"]

    story(tell)


def test_a_deletion_that_the_sink_does_not_take_is_tried_again() -> None:
    async def tell(scene: Scene) -> None:
        scene.shared.known.learn(await scene.bench.source.list())
        await scene.look()
        await asyncio.sleep(1)
        scene.bench.uninstall(A)
        scene.sink.removes["shop/a"] = SinkUnavailable("down")
        scene.controller.changed([A], Priority.FRESH)
        await asyncio.sleep(10)
        assert scene.bench.ears.sinks[-1] == ("s", "down")
        scene.sink.removes.clear()
        await asyncio.sleep(35)
        assert scene.cells == ["shop/b", "shop/c"]
        assert scene.bench.ears.sinks[-1] == ("s", None)

    story(tell)


def test_who_disappeared_from_the_list_loses_its_secrets() -> None:
    async def tell(scene: Scene) -> None:
        known = scene.shared.known
        known.learn(await scene.bench.source.list())
        await scene.look()
        await asyncio.sleep(1)
        scene.bench.remove(A)
        known.learn(await scene.bench.source.list())
        scene.controller.listed()
        await asyncio.sleep(11)
        assert scene.cells == ["shop/b", "shop/c"]

    story(tell)
