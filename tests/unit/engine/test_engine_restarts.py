"""When workloads are restarted, in virtual time: what joins, what is tried again, what is no news.

Simulates a sink that restarts, refuses or hangs. Excludes which workloads the sink then restarts (contract).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import suppress

import pytest
from virtual_time import run_virtual

from backends.contract import RestartWish, Workloads
from backends.errors import Forbidden, SinkUnavailable, Throttled
from syncer.engine.restarts import Restarter

SHOP = (Workloads(kind="Deployment", name="shop"),)
DAY = 86400.0


def wished(address: str, content_id: str, before: str = "") -> RestartWish:
    return RestartWish(address=address, content_id=content_id, workloads=SHOP, before=before)


class FakeSink:
    """Notes when it is asked for what; answers as it was told to, then restarts one workload a wish."""

    def __init__(self, *failures: Exception | None) -> None:
        self.failures = list(failures)
        self.asked: list[tuple[float, list[str]]] = []
        self.wishes: list[RestartWish] = []
        self.seconds = 0.0

    async def restart(self, wishes: Collection[RestartWish]) -> AsyncIterator[str]:
        self.asked.append((now(), [f"{wish.address}={wish.content_id}" for wish in wishes]))
        self.wishes += wishes
        await asyncio.sleep(self.seconds)
        failure = self.failures.pop(0) if self.failures else None
        for wish in wishes:
            yield f"Deployment {wish.address}"
        if failure is not None:
            raise failure


class World:
    """A restarter with the sink it works for, and what it told."""

    def __init__(self, sink: FakeSink) -> None:
        self.sink = sink
        self.restarted: list[str] = []
        self.failed: list[str] = []
        self.restarter = Restarter(
            self.restarted.append, self.failed.append, asyncio.get_running_loop().time, jitter=lambda: 1.0
        )

    def wish(self, address: str, content_id: str) -> None:
        self.restarter.wish(wished(address, content_id))

    async def run(self, *steps: tuple[float, Callable[[], None]], until: float = DAY) -> None:
        """Run it until that time, and do the steps at theirs."""
        loop = asyncio.get_running_loop()
        for when, step in steps:
            loop.call_at(when, step)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self.restarter.run(self.sink)


def now() -> float:
    return asyncio.get_running_loop().time()


def in_virtual_time(test: Callable[[], Coroutine[object, object, None]]) -> Callable[[], None]:
    def run() -> None:
        run_virtual(test())

    run.__name__ = test.__name__
    return run


# --- what joins


@in_virtual_time
async def test_wishes_within_the_debounce_are_one_call() -> None:
    world = World(FakeSink())
    await world.run(
        (10, lambda: world.wish("shop/a", "1")),
        (14.9, lambda: world.wish("shop/b", "1")),
        (16, lambda: world.wish("shop/c", "1")),
    )
    assert world.sink.asked == [(15, ["shop/a=1", "shop/b=1"]), (21, ["shop/c=1"])]


@in_virtual_time
async def test_a_stream_of_wishes_does_not_put_a_restart_off() -> None:
    world = World(FakeSink())
    await world.run(*((second, lambda s=second: world.wish("shop/a", str(s))) for second in range(1, 19, 2)))
    assert [when for when, _ in world.sink.asked] == [6, 12, 18]


@in_virtual_time
async def test_each_workload_restarted_is_told() -> None:
    world = World(FakeSink())
    world.wish("shop/a", "1")
    world.wish("shop/b", "1")
    await world.run()
    assert world.restarted == ["Deployment shop/a", "Deployment shop/b"]
    assert world.failed == []


# --- what is news


@in_virtual_time
async def test_what_was_asked_for_is_not_asked_for_again() -> None:
    world = World(FakeSink())
    steps = [(second, lambda: world.wish("shop/a", "1")) for second in (1, 2, 100, 5000)]
    await world.run(*steps)
    assert world.sink.asked == [(6, ["shop/a=1"])]


@in_virtual_time
async def test_new_content_is_wished_with_what_it_replaced() -> None:
    world = World(FakeSink())
    await world.run((1, lambda: world.wish("shop/a", "1")), (100, lambda: world.wish("shop/a", "2")))
    assert world.sink.wishes == [wished("shop/a", "1"), wished("shop/a", "2", before="1")]


@in_virtual_time
async def test_content_that_is_replaced_as_soon_as_it_was_seen_has_changed() -> None:
    """So it is when a controller starts: it sees what is there, then writes what is new."""
    world = World(FakeSink())
    world.wish("shop/a", "1")
    world.wish("shop/a", "2")
    await world.run()
    assert world.sink.wishes == [wished("shop/a", "2", before="1")]


@in_virtual_time
async def test_an_old_content_shown_again_by_a_slow_list_is_no_news() -> None:
    world = World(FakeSink())
    steps = [(float(n), lambda n=n: world.wish("shop/a", str(n))) for n in range(1, 5)]
    late = [(50.0 + n, lambda n=n: world.wish("shop/a", str(n))) for n in range(1, 5)]
    await world.run(*steps, *late)
    assert world.sink.asked == [(6, ["shop/a=4"])]


@in_virtual_time
async def test_what_is_wished_during_a_call_is_asked_for_afterwards() -> None:
    world = World(FakeSink())
    world.sink.seconds = 60.0
    await world.run((1, lambda: world.wish("shop/a", "1")), (10, lambda: world.wish("shop/a", "2")))
    assert world.sink.asked == [(6, ["shop/a=1"]), (66, ["shop/a=2"])]


# --- what fails


@in_virtual_time
async def test_what_failed_is_tried_again_and_told_each_time() -> None:
    world = World(FakeSink(Forbidden("no patch"), SinkUnavailable("down")))
    await world.run((1, lambda: world.wish("shop/a", "1")))
    assert world.sink.asked == [(6, ["shop/a=1"]), (11, ["shop/a=1"]), (21, ["shop/a=1"])]
    assert world.failed == ["no patch", "down"]


@in_virtual_time
async def test_pauses_double_up_to_five_minutes() -> None:
    world = World(FakeSink(*[Forbidden("no patch")] * 9))
    world.wish("shop/a", "1")
    await world.run()
    times = [when for when, _ in world.sink.asked]
    assert [b - a for a, b in itertools.pairwise(times)] == [
        5, 10, 20, 40, 80, 160, 300, 300, 300
    ]  # fmt: skip


@in_virtual_time
async def test_after_a_success_the_next_pause_is_the_first() -> None:
    world = World(FakeSink(Forbidden("no"), Forbidden("no"), None, Forbidden("no")))
    await world.run((1, lambda: world.wish("shop/a", "1")), (1000, lambda: world.wish("shop/a", "2")))
    assert [when for when, _ in world.sink.asked] == [6, 11, 21, 1005, 1010]


@in_virtual_time
async def test_workloads_restarted_before_the_failure_are_told() -> None:
    world = World(FakeSink(Forbidden("no patch")))
    world.wish("shop/a", "1")
    await world.run(until=6)
    assert world.restarted == ["Deployment shop/a"]


@in_virtual_time
async def test_new_wishes_do_not_wait_for_what_failed() -> None:
    """And that they are fulfilled makes nothing else come sooner."""
    world = World(FakeSink(*[Forbidden("no")] * 4, None, Forbidden("no")))
    await world.run((1, lambda: world.wish("shop/a", "1")), (50, lambda: world.wish("shop/b", "1")))
    assert world.sink.asked == [
        (6, ["shop/a=1"]), (11, ["shop/a=1"]), (21, ["shop/a=1"]), (41, ["shop/a=1"]),
        (55, ["shop/b=1"]), (81, ["shop/a=1"]), (161, ["shop/a=1"]),
    ]  # fmt: skip


@in_virtual_time
async def test_new_wishes_that_fail_do_not_put_off_what_failed_before() -> None:
    world = World(FakeSink(*[Forbidden("no")] * 3))
    await world.run((1, lambda: world.wish("shop/a", "1")), (8, lambda: world.wish("shop/b", "1")))
    assert world.sink.asked == [
        (6, ["shop/a=1"]), (11, ["shop/a=1"]), (13, ["shop/b=1"]), (21, ["shop/a=1", "shop/b=1"]),
    ]  # fmt: skip


@in_virtual_time
async def test_newer_content_takes_the_place_of_what_failed() -> None:
    world = World(FakeSink(Forbidden("no")))
    await world.run((1, lambda: world.wish("shop/a", "1")), (7, lambda: world.wish("shop/a", "2")))
    assert world.sink.asked == [(6, ["shop/a=1"]), (12, ["shop/a=2"])]
    assert world.sink.wishes[-1].before == "1"


@in_virtual_time
async def test_newer_content_during_a_call_that_fails_takes_its_place() -> None:
    world = World(FakeSink(Forbidden("no")))
    world.sink.seconds = 3.0
    await world.run((1, lambda: world.wish("shop/a", "1")), (7, lambda: world.wish("shop/a", "2")))
    assert world.sink.asked == [(6, ["shop/a=1"]), (12, ["shop/a=2"])]


@in_virtual_time
async def test_newer_content_puts_off_nothing_else_that_failed() -> None:
    world = World(FakeSink(Forbidden("no")))
    world.wish("shop/b", "1")
    await world.run((1, lambda: world.wish("shop/a", "1")), (6, lambda: world.wish("shop/a", "2")))
    assert world.sink.asked == [(5, ["shop/b=1", "shop/a=1"]), (10, ["shop/b=1"]), (11, ["shop/a=2"])]


@in_virtual_time
async def test_a_server_that_asks_for_a_pause_gets_it() -> None:
    """Also from wishes it has not seen yet; but no longer than ten minutes."""
    world = World(FakeSink(Throttled("slow down", retry_after=90.0), Throttled("slow down", retry_after=DAY)))
    await world.run((1, lambda: world.wish("shop/a", "1")), (7, lambda: world.wish("shop/b", "1")))
    assert world.sink.asked == [
        (6, ["shop/a=1"]), (96, ["shop/a=1", "shop/b=1"]), (696, ["shop/a=1", "shop/b=1"]),
    ]  # fmt: skip


@in_virtual_time
async def test_a_fault_in_the_sink_is_told_without_its_text_and_ends_nothing() -> None:
    world = World(FakeSink(KeyError("canary-7f3a")))
    world.wish("shop/a", "1")
    await world.run()
    assert world.failed == ["unexpected KeyError; its details may hold secrets and are not shown"]
    assert [when for when, _ in world.sink.asked] == [5, 10]


# --- stopped and begun again


@pytest.mark.parametrize("seconds", [3.0, 8.0])
def test_what_was_not_done_is_done_when_the_sink_is_opened_again(seconds: float) -> None:
    """Stopped while it waits, or in the middle of a call."""

    async def test() -> None:
        world = World(FakeSink())
        world.sink.seconds = 20.0
        world.wish("shop/a", "1")
        await world.run(until=seconds)
        assert world.restarted == []
        await world.run()
        assert world.sink.asked[-1] == (max(seconds, 5.0), ["shop/a=1"])
        assert world.restarted == ["Deployment shop/a"]

    run_virtual(test())


@in_virtual_time
async def test_with_nothing_wished_nothing_is_asked() -> None:
    world = World(FakeSink())
    await world.run()
    assert world.sink.asked == []
