"""How fast a vault is asked, by a clock that only moves when everybody sleeps."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.clients.azure import LIMITS
from backends.clients.rate import Bucket, Gate, Kind, Limit, Pacer
from backends.errors import Throttled

SMALL = Limit(requests=12, burst=4)


class Time:
    """A clock; `run` moves it on to whoever wakes first."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), future))
        await future

    async def run(self, work) -> object:
        task = asyncio.ensure_future(work)
        while not task.done():
            for _ in range(20):
                await asyncio.sleep(0)
            if self._sleepers and not task.done():
                self.now, _, future = heapq.heappop(self._sleepers)
                if not future.done():
                    future.set_result(None)
        return task.result()


def most_in_a_window(times: list[float], window: float) -> int:
    times = sorted(times)
    return max(
        (index - bisect_left(times, at - window + 1e-6) + 1 for index, at in enumerate(times)), default=0
    )


def test_the_limits_are_four_fifths_of_the_services():
    assert (LIMITS[Kind.CREATE].requests, LIMITS[Kind.OTHER].requests) == (0.8 * 300, 0.8 * 4000)
    assert {limit.window for limit in LIMITS.values()} == {10.0}


@given(
    st.lists(st.floats(0, 3) | st.just(0.0), max_size=150),
    st.integers(2, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n - 1))),
    st.none() | st.integers(0, 149),
)
def test_no_window_ever_sees_more_than_the_limit(gaps, numbers, drained_at):
    requests, burst = numbers
    bucket, now, gone = Bucket(Limit(requests=requests, burst=burst)), 0.0, []
    for index, gap in enumerate(gaps):
        now += gap
        if index == drained_at:
            bucket.drain(now + 5)
        now += bucket.delay(now)
        assert bucket.delay(now) <= 1e-6
        bucket.take(now)
        gone.append(now)
    assert most_in_a_window(gone, 10.0) <= requests


def test_a_burst_goes_at_once_and_the_rest_at_the_steady_rate():
    bucket = Bucket(SMALL)
    for _ in range(4):
        assert bucket.delay(0.0) == 0
        bucket.take(0.0)
    assert bucket.delay(0.0) == pytest.approx(10 / 8)
    bucket.drain(20.0)
    assert bucket.delay(20.0) == pytest.approx(0)
    bucket.take(20.0)
    assert bucket.delay(20.0) == pytest.approx(10 / 8)


def test_pauses_that_nobody_names_double_until_a_minute():
    gate, now, pauses = Gate(), 0.0, []
    for _ in range(8):
        pauses.append(gate.refused(now, None) - now)
        now += pauses[-1]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert gate.enter()
    gate.settle(now, accepted=True)
    assert gate.refused(now, None) - now == 1


def test_a_shorter_pause_never_shortens_a_longer_one():
    gate = Gate()
    gate.refused(0.0, 60)
    gate.refused(1.0, 5)
    assert gate.delay(1.0) == 59


@pytest.mark.parametrize("kinds", [[Kind.CREATE], [Kind.OTHER], [Kind.CREATE, Kind.OTHER]])
async def test_many_at_once_keep_to_the_limit_in_the_order_they_came(kinds):
    time = Time()
    pacer = Pacer(dict.fromkeys(Kind, SMALL), clock=time, sleep=time.sleep, patience=1e9)
    gone: dict[Kind, list[tuple[float, int]]] = {kind: [] for kind in kinds}

    async def ask(kind: Kind, number: int) -> None:
        async with pacer.turn(kind) as turn:
            gone[kind].append((time(), number))
            await time.sleep(0.3)
            turn.answered(refused=False)

    await time.run(asyncio.gather(*(ask(kind, number) for number in range(60) for kind in kinds)))
    for passed in gone.values():
        assert [number for _, number in passed] == list(range(60))
        assert most_in_a_window([at for at, _ in passed], 10.0) <= 12


@pytest.mark.fault(47)
@pytest.mark.parametrize("asked", [7.0, None])
async def test_a_storm_is_met_with_one_request_for_each_pause_and_ends_without_a_burst(asked):
    time = Time()
    pacer = Pacer(dict.fromkeys(Kind, SMALL), clock=time, sleep=time.sleep, patience=1e9)
    sent: list[tuple[float, bool]] = []

    async def ask(kind: Kind) -> None:
        while True:
            async with pacer.turn(kind) as turn:
                refused = time() < 1100
                sent.append((time(), refused))
                await time.sleep(0.05)
                turn.answered(refused=refused, asked=asked)
            if not refused:
                return

    await time.run(asyncio.gather(*(ask(kind) for kind in Kind for _ in range(15))))
    refusals = [at for at, refused in sent if refused and at > 1000.1]
    assert all(later - earlier > (asked or 1) for earlier, later in itertools.pairwise(refusals))
    assert len(refusals) <= (100 / asked if asked else 8)
    passed = [at for at, refused in sent if not refused]
    assert most_in_a_window(passed, 1.0) <= 4
    assert len(passed) == 30


async def test_when_the_one_that_tries_comes_to_nothing_another_tries():
    time = Time()
    pacer = Pacer({Kind.OTHER: SMALL}, clock=time, sleep=time.sleep, patience=1e9)
    async with pacer.turn(Kind.OTHER) as turn:
        turn.answered(refused=True, asked=5)
    entered = []

    async def ask(number: int) -> None:
        async with pacer.turn(Kind.OTHER) as turn:
            entered.append((number, time()))
            if number == 0:
                await time.sleep(1)
                raise ConnectionResetError
            turn.answered(refused=False)

    outcomes = await time.run(asyncio.gather(*(ask(number) for number in range(3)), return_exceptions=True))
    assert isinstance(outcomes[0], ConnectionResetError)
    assert [number for number, _ in entered] == [0, 1, 2]
    assert [at >= start for (_, at), start in zip(entered, (1005, 1006, 1006), strict=True)] == [True] * 3


async def test_whoever_is_cancelled_while_waiting_holds_nobody_up():
    time = Time()
    pacer = Pacer({Kind.OTHER: SMALL}, clock=time, sleep=time.sleep, patience=1e9)

    async def ask() -> float:
        async with pacer.turn(Kind.OTHER) as turn:
            turn.answered(refused=False)
        return time()

    tasks = [asyncio.ensure_future(ask()) for _ in range(8)]
    await asyncio.sleep(0)
    for task in tasks[4:6]:
        task.cancel()
    outcomes = await time.run(asyncio.gather(*tasks, return_exceptions=True))
    assert [isinstance(outcome, asyncio.CancelledError) for outcome in outcomes] == [False] * 4 + [
        True
    ] * 2 + [False] * 2


async def test_a_pause_beyond_all_patience_is_told_at_once():
    time = Time()
    pacer = Pacer({Kind.OTHER: SMALL}, clock=time, sleep=time.sleep, patience=30)
    async with pacer.turn(Kind.OTHER) as turn:
        turn.answered(refused=True, asked=60)
    time.now += 10
    with pytest.raises(Throttled) as caught:
        async with pacer.turn(Kind.OTHER):
            pass
    assert caught.value.retry_after == 50
