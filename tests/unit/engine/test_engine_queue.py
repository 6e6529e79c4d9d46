"""The queue of one sink, in virtual time: against a model that does everything the slow way.

Simulates workers that wait, take, finish and are stopped. Excludes what the work is.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from virtual_time import Deadlock, VirtualLoop, run_virtual

from syncer.engine.queue import Priority, Wish, WorkQueue

FRESH, RETRY, SWEEP = Priority
KEYS = st.sampled_from("abcdef")
PRIORITIES = st.sampled_from(Priority)
DELAYS = st.sampled_from([0.0, 0.0, 1.0, 1.5, 4.0, 60.0])


def new_queue() -> WorkQueue[str]:
    return WorkQueue(asyncio.get_running_loop().time)


def wish(priority: Priority, since: float) -> Wish:
    return Wish(priority=priority, since=since)


async def turns() -> None:
    """Let everybody do what can be done now."""
    for _ in range(5):
        await asyncio.sleep(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What the model knows of a key: what was asked, and its place among those of its priority."""

    priority: Priority
    due: float
    place: tuple[float, int]


@dataclass
class Model:
    """What a queue has to do, key by key, without a thought for cost."""

    waiting: dict[str, Waiting] = field(default_factory=dict)
    in_work: dict[str, list[tuple[Priority, float]]] = field(default_factory=dict)
    order: Iterator[int] = field(default_factory=itertools.count)

    def add(self, key: str, priority: Priority, due: float, now: float) -> None:
        if key in self.in_work:
            self.in_work[key].append((priority, due))
        else:
            self.enter(key, priority, due, now)

    def enter(self, key: str, priority: Priority, due: float, now: float) -> None:
        place = (max(due, now), next(self.order))
        if (before := self.waiting.get(key)) is not None:
            priority, due = min(priority, before.priority), min(due, before.due)
            place = min(place, before.place) if priority == before.priority else (max(due, now), place[1])
        self.waiting[key] = Waiting(priority=priority, due=due, place=place)

    def line(self, priority: Priority, now: float) -> list[str]:
        ready = [key for key, one in self.waiting.items() if one.priority == priority and one.due <= now]
        return sorted(ready, key=lambda key: self.waiting[key].place)

    def next_ready(self, worst: Priority) -> float:
        return min(one.due for one in self.waiting.values() if one.priority <= worst)

    def take(self, limit: int, now: float) -> list[tuple[str, Wish]]:
        best = next(line for priority in Priority if (line := self.line(priority, now)))
        taken = [(key, self.waiting.pop(key)) for key in best[:limit]]
        self.in_work.update({key: [] for key, _ in taken})
        return [(key, wish(one.priority, one.due)) for key, one in taken]

    def done(self, key: str, now: float) -> None:
        if again := self.in_work.pop(key):
            self.enter(key, min(priority for priority, _ in again), min(due for _, due in again), now)


@dataclass(frozen=True, slots=True)
class Taken:
    limit: int
    worst: Priority
    at: float
    batch: Mapping[str, Wish]


class QueueMachine(RuleBasedStateMachine):
    """Every step is done to the queue and to the model, and whatever workers took is compared."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.time = self.runner.get_loop().time
        self.queue: WorkQueue[str] = WorkQueue(self.time)
        self.model = Model()
        self.workers: dict[asyncio.Task[None], Priority] = {}
        self.taken: list[Taken] = []

    def teardown(self) -> None:
        try:
            self.everything_asked_for_is_taken_in_the_end()
        finally:
            self.runner.close()

    def go(self, act: Callable[[], object], seconds: float = 0.0) -> None:
        """Act, let the time pass, and hold what was taken in it against the model."""

        async def step() -> None:
            act()
            await asyncio.sleep(seconds)
            await turns()

        before = self.time()
        self.runner.run(step())
        for taken in self.taken:
            assert taken.at == max(before, self.model.next_ready(taken.worst)), "it was ready before"
            assert all(wish.priority <= taken.worst for wish in taken.batch.values())
            assert list(taken.batch.items()) == self.model.take(taken.limit, taken.at)
        self.taken.clear()
        self.workers = {worker: worst for worker, worst in self.workers.items() if not worker.done()}

    async def worker(self, limit: int, worst: Priority) -> None:
        batch = await self.queue.take(limit, worst=worst)
        self.taken.append(Taken(limit, worst, self.time(), batch))

    def ask(self, key: str, priority: Priority, delay: float, since: float | None = None) -> None:
        due = (self.time() if since is None else since) + delay
        self.model.add(key, priority, due, self.time())
        self.queue.add(key, priority, delay=delay, since=since)

    def come(self, limit: int, worst: Priority) -> None:
        self.workers[self.runner.get_loop().create_task(self.worker(limit, worst))] = worst

    def end(self, key: str) -> None:
        self.model.done(key, self.time())
        self.queue.done(key)

    @rule(key=KEYS, priority=PRIORITIES, delay=DELAYS)
    def add(self, key: str, priority: Priority, delay: float) -> None:
        self.go(lambda: self.ask(key, priority, delay))

    @rule(limit=st.integers(1, 4), worst=PRIORITIES)
    def worker_comes(self, limit: int, worst: Priority) -> None:
        self.go(lambda: self.come(limit, worst))

    @precondition(lambda self: self.workers)
    @rule(key=KEYS, priority=PRIORITIES, data=st.data())
    def worker_is_stopped_just_when_a_key_comes(
        self, key: str, priority: Priority, data: st.DataObject
    ) -> None:
        stopped = data.draw(st.sampled_from([*self.workers]))

        def act() -> None:
            self.ask(key, priority, 0.0)
            stopped.cancel()

        self.go(act)
        assert stopped.cancelled()

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.5, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.go(lambda: None, seconds)

    @precondition(lambda self: self.model.in_work)
    @rule(data=st.data())
    def work_ends(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.model.in_work)))
        self.go(lambda: self.end(key))

    @rule(key=KEYS, priority=PRIORITIES, delay=DELAYS, ago=DELAYS)
    def a_wish_is_put_back(self, key: str, priority: Priority, delay: float, ago: float) -> None:
        self.go(lambda: self.ask(key, priority, delay, self.time() - ago))

    @invariant()
    def nobody_waits_while_a_key_is_ready(self) -> None:
        ready = [self.model.line(priority, self.time()) for priority in Priority]
        assert not any(
            line and worst >= priority
            for worst in self.workers.values()
            for priority, line in zip(Priority, ready, strict=True)
        )
        assert [self.queue.depth(priority) for priority in Priority] == [len(line) for line in ready]

    @invariant()
    def it_counts_as_the_model_does(self) -> None:
        assert len(self.queue) == len(self.model.waiting)
        assert self.queue.in_work == len(self.model.in_work)

    @invariant()
    def it_wants_what_the_model_does(self) -> None:
        again = {
            key: min(priority for priority, _ in asked) for key, asked in self.model.in_work.items() if asked
        }
        priorities = again | {key: one.priority for key, one in self.model.waiting.items()}
        for worst in Priority:
            wanted = {key for key, priority in priorities.items() if priority <= worst}
            assert set(self.queue.wanted(worst=worst)) == wanted
            assert {key for key in "abcdef" if self.queue.wants(key, worst=worst)} == wanted

    def everything_asked_for_is_taken_in_the_end(self) -> None:
        for key in list(self.model.in_work):
            self.go(lambda key=key: self.end(key))
        for _ in list(self.model.waiting):
            self.go(lambda: self.come(1, SWEEP))
        self.go(lambda: None, 60.0)
        assert not self.model.waiting
        assert len(self.queue) == 0


QueueMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestQueueDoesWhatItsModelDoes = QueueMachine.TestCase


def test_a_change_does_not_wait_behind_ten_thousand_keys_of_a_sweep() -> None:
    async def story() -> None:
        queue = new_queue()
        for number in range(10_000):
            queue.add(f"key {number}", SWEEP)
        queue.add("key 9999", FRESH)
        queue.add("changed", FRESH)
        assert queue.depth(SWEEP) == 9_999
        assert list(await queue.take(500)) == ["key 9999", "changed"]
        batches = [list(await queue.take(500)) for _ in range(20)]
        assert [key for batch in batches for key in batch] == [f"key {number}" for number in range(9_999)]
        assert {len(batch) for batch in batches} == {500, 499}

    run_virtual(story())


def test_asked_for_twice_it_keeps_the_better_priority_and_the_earlier_time() -> None:
    async def story() -> None:
        queue = new_queue()
        queue.add("a", SWEEP, delay=10)
        queue.add("a", RETRY, delay=20)
        assert await queue.take(9) == {"a": wish(RETRY, 10.0)}
        assert asyncio.get_running_loop().time() == 10.0

    run_virtual(story())


def test_a_key_tells_since_when_it_is_wanted_not_when_it_was_taken() -> None:
    async def story() -> None:
        queue = new_queue()
        queue.add("at once", FRESH)
        queue.add("later", FRESH, delay=3)
        await asyncio.sleep(5)
        assert await queue.take(9) == {"at once": wish(FRESH, 0.0), "later": wish(FRESH, 3.0)}

    run_virtual(story())


def test_whoever_was_ready_first_goes_first_and_asking_again_does_not_send_it_back() -> None:
    async def story() -> None:
        queue = new_queue()
        queue.add("first", RETRY, delay=1)
        queue.add("second", RETRY, delay=1)
        queue.add("first", RETRY, delay=60)
        await asyncio.sleep(2)
        queue.add("third", RETRY)
        queue.add("second", RETRY)
        assert list(await queue.take(9)) == ["first", "second", "third"]

    run_virtual(story())


def test_a_wish_that_is_put_back_keeps_its_time() -> None:
    async def story() -> None:
        queue = new_queue()
        queue.add("a", FRESH)
        (taken,) = (await queue.take(1)).values()
        await asyncio.sleep(30)
        queue.add("a", taken.priority, since=taken.since)
        queue.done("a")
        assert await queue.take(1) == {"a": wish(FRESH, 0.0)}

    run_virtual(story())


def test_a_worker_that_is_there_for_changes_leaves_a_sweep_to_others() -> None:
    async def story() -> None:
        queue = new_queue()
        queue.add("swept", SWEEP)
        quick = asyncio.create_task(queue.take(9, worst=FRESH))
        await asyncio.sleep(5)
        assert not quick.done()
        queue.add("changed", FRESH)
        assert list(await quick) == ["changed"]
        assert list(await queue.take(9)) == ["swept"]

    run_virtual(story())


def test_a_key_in_work_is_not_given_away_and_comes_again_when_that_is_done() -> None:
    async def story() -> None:
        queue = new_queue()
        queue.add("a", SWEEP)
        await queue.take(1)
        queue.add("a", RETRY, delay=60)
        queue.add("a", FRESH, delay=2)
        other = asyncio.create_task(queue.take(1))
        await asyncio.sleep(5)
        assert not other.done()
        assert (len(queue), queue.in_work) == (0, 1)
        queue.done("a")
        assert await other == {"a": wish(FRESH, 2.0)}
        assert asyncio.get_running_loop().time() == 5.0

    run_virtual(story())


def test_a_key_nobody_asked_for_again_is_gone_when_its_work_is_done() -> None:
    async def story() -> None:
        queue = new_queue()
        queue.add("a", FRESH)
        await queue.take(1)
        queue.done("a")
        assert (len(queue), queue.in_work) == (0, 0)
        await queue.take(1)

    with pytest.raises(Deadlock):
        run_virtual(story())


def test_ending_work_that_nobody_has_is_an_error() -> None:
    async def story() -> None:
        queue = new_queue()
        queue.add("a", FRESH)
        queue.done("a")

    with pytest.raises(KeyError):
        run_virtual(story())


def test_a_worker_stopped_at_the_very_moment_a_key_becomes_ready_is_stopped_and_takes_nothing() -> None:
    async def story() -> None:
        queue = new_queue()
        queue.add("a", RETRY, delay=10)
        worker = asyncio.create_task(queue.take(1))
        asyncio.get_running_loop().call_at(10, worker.cancel)
        with pytest.raises(asyncio.CancelledError):
            await worker
        assert (len(queue), queue.in_work) == (1, 0)
        assert await queue.take(1) == {"a": wish(RETRY, 10.0)}

    run_virtual(story())


def test_times_that_no_longer_count_do_not_pile_up() -> None:
    async def story() -> None:
        queue = new_queue()
        for number in range(50):
            queue.add(f"waits {number}", SWEEP, delay=7_200 + number)
        for _ in range(2_000):
            queue.add("busy", RETRY, delay=3_600)
            queue.add("busy", FRESH)
            queue.done(*await queue.take(1))
        assert len(queue._later) < 200
        queue.add("early", RETRY, delay=1)
        assert list(await queue.take(9)) == ["early"]
        assert list(await queue.take(50)) == ["waits 0"]
        assert asyncio.get_running_loop().time() == 7_200

    run_virtual(story())
