"""Who waits for whom, and how long anything takes: the simulated world in chosen situations.

Every fact is a time, by a clock that nothing else moves. The worlds are those of `test_simulation`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine

import pytest
from sim_audit import GRACE, LIST, POLL, RESYNC
from sim_schedule import Steps
from sim_sink import Hand, Mood
from sim_source import Reads
from sim_world import World, wall_clock

from tests.unit.engine.virtual_time import run_virtual

MARGIN = 0.5
"""Seconds for gathering and for the turns of a loop."""


def simulate(story: Callable[[World, Steps], Coroutine[None, None, None]], *sinks: str) -> World:
    """The world after the story; it broke no invariant."""

    async def told() -> World:
        async with World(*sinks or ("all",)) as world:
            with wall_clock(world.clock):
                await story(world, Steps(world))
            return world

    random.seed(0)
    world = run_virtual(told())
    assert world.audit.violations == []
    return world


def installed(steps: Steps, count: int = 4) -> None:
    for number in range(count):
        steps.run(number, "install", ("host",), (), 0.0)


def cells(world: World, sink: str = "all") -> list[str]:
    return sorted(world.sinks[sink].store.cells)


def writes_to(world: World, sink: str) -> list[tuple[float, str]]:
    return [(at, address) for at, name, address in world.audit.writes if name == sink]


async def eventful(world: World, steps: Steps) -> None:
    """Something of everything."""
    installed(steps)
    await asyncio.sleep(7)
    steps.run(0, "upgrade", ("host", "password"), (), 0.4)
    await asyncio.sleep(3)
    steps.remove(1)
    steps.remove(1)
    await asyncio.sleep(40)
    steps.run(2, "ping", ("host",), (), 0.0)
    world.sinks["all"].touch(Hand.DELETES, "shop/d")
    await asyncio.sleep(200)


@pytest.mark.parametrize("mood", [mood for mood in Mood if mood is not Mood.CALM])
def test_a_sink_that_does_not_work_delays_the_others_by_nothing(mood: Mood) -> None:
    async def with_a_bad_one(world: World, steps: Steps) -> None:
        world.sinks["bad"].turn(mood)
        await eventful(world, steps)

    alone = simulate(eventful, "all")
    beside = simulate(with_a_bad_one, "all", "bad")
    assert writes_to(beside, "all") == writes_to(alone, "all")
    assert len(writes_to(alone, "all")) >= 8


@pytest.mark.parametrize("tells", [True, False])
def test_a_result_is_published_at_once_where_the_source_tells_and_else_with_the_next_poll(
    tells: bool,
) -> None:
    async def story(world: World, steps: Steps) -> None:
        installed(steps)
        await asyncio.sleep(20.7)
        world.server.tells = tells
        steps.run(0, "upgrade", ("host",), (), 0.0)
        since, before = world.clock(), len(world.audit.writes)
        await asyncio.sleep(POLL + MARGIN)
        (write,) = world.audit.writes[before:]
        assert write[0] - since <= (MARGIN if tells else POLL + MARGIN)

    simulate(story)


@pytest.mark.parametrize("after", [0.0, 3.1, 9.9, 14.8])
def test_few_deleted_installations_lose_their_secrets_in_time_and_not_before_the_grace(after: float) -> None:
    async def story(world: World, steps: Steps) -> None:
        installed(steps)
        await asyncio.sleep(20 + after)
        steps.remove(0)
        since = world.clock()
        await asyncio.sleep(GRACE)
        assert "shop/a" in cells(world)
        await asyncio.sleep(LIST + MARGIN)
        assert "shop/a" not in cells(world)
        assert world.audit.writes[-1][0] >= since + GRACE

    simulate(story)


def test_an_installation_deleted_while_nobody_ran_loses_its_secrets_after_the_grace() -> None:
    async def story(world: World, steps: Steps) -> None:
        installed(steps)
        await asyncio.sleep(5)
        world.kill(0)
        steps.remove(0)
        await asyncio.sleep(GRACE + LIST + MARGIN)
        assert cells(world) == ["shop/b", "shop/c", "shop/d"]

    simulate(story)


def test_what_others_do_is_undone_at_once_where_the_sink_tells_and_else_with_the_next_sweep() -> None:
    async def story(world: World, steps: Steps) -> None:
        installed(steps)
        await asyncio.sleep(20)
        for sink, address in (("each", "shop/a/host"), ("all", "shop/a")):
            world.sinks[sink].touch(Hand.CHANGES, address)
        await asyncio.sleep(MARGIN)
        assert "theirs" not in world.sinks["each"].store.cells["shop/a/host"].data
        await asyncio.sleep(RESYNC + MARGIN)
        assert "theirs" not in world.sinks["all"].store.cells["shop/a"].data

    simulate(story, "all", "each")


def test_a_source_that_does_not_answer_or_is_empty_takes_nothing_away() -> None:
    async def story(world: World, steps: Steps) -> None:
        installed(steps)
        await asyncio.sleep(20)
        for reads in (Reads.FAIL, Reads.FIND_NOTHING, Reads.FAIL):
            world.server.reads = reads
            await asyncio.sleep(3 * RESYNC)
        assert len(cells(world)) == 4

    simulate(story)


def test_outputs_that_arrive_late_are_published_all_at_once() -> None:
    async def story(world: World, steps: Steps) -> None:
        installed(steps)
        await asyncio.sleep(20)
        steps.run(0, "upgrade", ("host", "password"), (), 8.0)
        await asyncio.sleep(15)
        assert world.sinks["all"].store.cells["shop/a"].data.keys() == {"host"}
        await asyncio.sleep(1 + POLL + MARGIN)
        assert world.sinks["all"].store.cells["shop/a"].data.keys() == {"host", "password"}

    simulate(story)


def delays(spoil: Callable[[World, Steps], None]) -> list[float]:
    """How late the results of three others are published once the first one is spoilt, again and again."""
    late: list[float] = []

    async def story(world: World, steps: Steps) -> None:
        installed(steps)
        await asyncio.sleep(20)
        spoil(world, steps)
        await asyncio.sleep(31)
        for turn in range(12):
            await asyncio.sleep(7.3)
            since, before = world.clock(), len(world.audit.writes)
            steps.run(1 + turn % 3, "upgrade", ("host",), (), 0.0)
            await asyncio.sleep(2 * RESYNC)
            late.append(world.audit.writes[before][0] - since)

    assert simulate(story).ears.left_alone == []
    return late


@pytest.mark.parametrize("what", ["poisoned", "forbidden"])
@pytest.mark.parametrize("end", ["upgrade", "remove", "uninstall"])
def test_an_installation_that_cannot_be_written_or_taken_away_delays_nobody_else(what: str, end: str) -> None:
    def spoil(world: World, steps: Steps) -> None:
        getattr(world.sinks["all"], what).add("shop/a")
        if end == "upgrade":
            steps.run(0, "upgrade", ("host",), (), 0.0)
        else:
            getattr(steps, end)(0)

    assert max(delays(spoil)) <= MARGIN


@pytest.mark.parametrize("what", ["poisoned", "forbidden"])
def test_a_secret_that_cannot_be_taken_away_keeps_no_other_one(what: str) -> None:
    async def story(world: World, steps: Steps) -> None:
        installed(steps)
        await asyncio.sleep(20)
        getattr(world.sinks["all"], what).add("shop/a")
        steps.remove(0)
        steps.remove(1)
        await asyncio.sleep(2 * RESYNC)
        assert cells(world) == ["shop/a", "shop/c", "shop/d"]

    simulate(story)


def test_a_set_that_is_held_stays_whole_whoever_of_it_is_looked_at_again() -> None:
    async def story(world: World, steps: Steps) -> None:
        installed(steps)
        await asyncio.sleep(20)
        for number in range(3):
            steps.uninstall(number)
        await asyncio.sleep(20)
        assert len(cells(world)) == 4
        for number in range(3):
            steps.fail(number)
            await asyncio.sleep(LIST + MARGIN)
        assert len(cells(world)) == 4

    simulate(story)


def test_an_empty_list_is_not_the_first_of_two_looks_at_an_absence() -> None:
    async def story(world: World, steps: Steps) -> None:
        installed(steps)
        await asyncio.sleep(20)
        world.server.reads = Reads.FIND_NOTHING
        await asyncio.sleep(2 * LIST + 1)
        world.server.reads = Reads.WORK
        steps.remove(0)
        await asyncio.sleep(LIST)
        assert "shop/a" in cells(world)
        await asyncio.sleep(GRACE + MARGIN)
        assert "shop/a" not in cells(world)

    simulate(story)


@pytest.mark.parametrize("trouble", ["poisoned", "lost answers", "none"])
def test_a_slow_loss_counts_as_a_fast_one_whatever_became_of_the_deletes(trouble: str) -> None:
    async def story(world: World, steps: Steps) -> None:
        installed(steps)
        await asyncio.sleep(20)
        if trouble == "poisoned":
            world.sinks["all"].poisoned.add("shop/a")
        elif trouble == "lost answers":
            world.sinks["all"].turn(Mood.LOSES_ANSWERS)
        for number in range(4):
            steps.uninstall(number)
            await asyncio.sleep(0.0 if number in {0, 2} else RESYNC / 3)
            if number == 1:
                world.sinks["all"].turn(Mood.CALM)
        assert len(cells(world)) >= 2

    simulate(story)


def test_an_exception_nobody_expects_in_a_list_does_not_cost_a_whole_interval() -> None:
    """The first sweep comes to nothing; what it was to compare is not left to the next one."""

    async def story(world: World, steps: Steps) -> None:
        installed(steps)
        world.sinks["all"].broken_lists = 1
        await asyncio.sleep(RESYNC / 2)
        assert len(cells(world)) == 4

    simulate(story)
