"""Remembered answers: for how long, how many, and what becomes of those who ask the same at the same time.

The clock is a number that tests move. The last test lets hypothesis ask, wait, give up and answer in any
order, and compares with what a cache must never do: answer from too long ago, or ask twice at once.
"""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncer.api.caching import AnswerCache, Lasting


@dataclass
class Oracle:
    """Answers with how often it was asked; holds questions back until it is told to answer."""

    now: float = 0.0
    seconds: float = 10.0
    asked: int = 0
    cancelled: int = 0
    held: list[asyncio.Future[None]] = field(default_factory=list)
    holding: bool = False
    error: Exception | None = None

    async def ask(self) -> Lasting[int]:
        self.asked += 1
        answer = self.asked
        if self.holding:
            waiting = asyncio.get_running_loop().create_future()
            self.held.append(waiting)
            try:
                await waiting
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if self.error is not None:
            raise self.error
        return Lasting(answer, self.seconds)

    def let_go(self) -> None:
        for waiting in self.held:
            if not waiting.done():
                waiting.set_result(None)
        self.held.clear()


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


@pytest.fixture
def cache(oracle) -> AnswerCache[int]:
    return AnswerCache(size=3, clock=lambda: oracle.now)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_answer_holds_for_its_time_and_no_longer(cache, oracle):
    assert await cache.get("a", oracle.ask) == 1
    oracle.now = 9.999
    assert await cache.get("a", oracle.ask) == 1
    oracle.now = 10.0
    assert await cache.get("a", oracle.ask) == 2


async def test_looking_at_an_answer_does_not_make_it_hold_longer(cache, oracle):
    for oracle.now in (0.0, 6.0, 9.0):
        assert await cache.get("a", oracle.ask) == 1
    oracle.now = 12.0
    assert await cache.get("a", oracle.ask) == 2


@pytest.mark.parametrize("seconds", [0.0, -5.0])
async def test_an_answer_that_does_not_last_is_given_and_not_kept(cache, oracle, seconds):
    oracle.seconds = seconds
    assert [await cache.get("a", oracle.ask) for _ in range(2)] == [1, 2]
    assert len(cache) == 0


async def test_the_time_that_asking_took_counts(cache, oracle):
    oracle.holding = True
    asking = asyncio.create_task(cache.get("a", oracle.ask))
    await settle()
    oracle.now = 9.0
    oracle.let_go()
    assert await asking == 1
    oracle.now, oracle.holding = 10.0, False
    assert await cache.get("a", oracle.ask) == 2


async def test_the_least_recently_used_answer_is_forgotten_first(cache, oracle):
    for key in "abc":
        await cache.get(key, oracle.ask)
    assert await cache.get("a", oracle.ask) == 1
    await cache.get("d", oracle.ask)
    assert len(cache) == 3
    assert await cache.get("a", oracle.ask) == 1
    assert await cache.get("b", oracle.ask) == 5


async def test_equal_questions_at_a_time_are_asked_once_and_others_apart(cache, oracle):
    oracle.holding = True
    same = [asyncio.create_task(cache.get("a", oracle.ask)) for _ in range(50)]
    other = asyncio.create_task(cache.get("b", oracle.ask))
    await settle()
    oracle.let_go()
    assert await asyncio.gather(*same) == [1] * 50
    assert await other == 2


async def test_a_failure_goes_to_all_who_asked_and_is_not_kept(cache, oracle):
    oracle.holding, oracle.error = True, ValueError("no")
    asking = [asyncio.create_task(cache.get("a", oracle.ask)) for _ in range(3)]
    await settle()
    oracle.let_go()
    assert [type(one) for one in await asyncio.gather(*asking, return_exceptions=True)] == [ValueError] * 3
    oracle.error, oracle.holding = None, False
    assert await cache.get("a", oracle.ask) == 2


async def test_who_gives_up_takes_nothing_from_the_others(cache, oracle):
    oracle.holding = True
    first, second, third = (asyncio.create_task(cache.get("a", oracle.ask)) for _ in range(3))
    await settle()
    first.cancel()
    third.cancel()
    await settle()
    assert first.cancelled()
    oracle.let_go()
    assert await second == 1
    assert (oracle.asked, oracle.cancelled) == (1, 0)


async def test_when_the_last_gives_up_the_question_ends_and_the_next_asks_anew(cache, oracle):
    oracle.holding = True
    asking = [asyncio.create_task(cache.get("a", oracle.ask)) for _ in range(2)]
    await settle()
    for one in asking:
        one.cancel()
    anew = asyncio.create_task(cache.get("a", oracle.ask))
    await settle()
    also = asyncio.create_task(cache.get("a", oracle.ask))
    await settle()
    assert (oracle.asked, oracle.cancelled) == (2, 1)
    oracle.let_go()
    assert [await anew, await also] == [2, 2]
    assert await cache.get("a", oracle.ask) == 2


async def test_a_failure_that_nobody_waits_for_any_more_is_no_unseen_error(cache):
    unseen: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))

    async def ask() -> Lasting[int]:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError

    asking = asyncio.create_task(cache.get("a", ask))
    await settle()
    asking.cancel()
    await settle()
    del asking
    gc.collect()
    assert unseen == []


steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from("abcd")),
        st.tuples(st.just("wait"), st.floats(0, 6)),
        st.tuples(st.just("give up"), st.integers(0, 9)),
        st.tuples(st.just("answer"), st.none()),
        st.tuples(st.just("fail"), st.none()),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(steps)
def test_whatever_happens_no_answer_is_too_old_and_no_question_is_asked_twice_at_once(script):
    asyncio.run(play(script))


class Play:
    """A cache under a script. An answer is the time at which it was asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self.cache: AnswerCache[float] = AnswerCache(size=2, clock=lambda: self.now)
        self.open: dict[str, asyncio.Future[bool]] = {}
        self.asking: list[tuple[float, bool, asyncio.Task[float]]] = []

    def ask(self, key: str) -> None:
        joined = key in self.open
        task = asyncio.create_task(self.cache.get(key, lambda: self.question(key)))
        self.asking.append((self.now, joined, task))

    async def question(self, key: str) -> Lasting[float]:
        assert key not in self.open
        asked_at = self.now
        self.open[key] = asyncio.get_running_loop().create_future()
        try:
            if await self.open[key]:
                raise ValueError(key)
        finally:
            del self.open[key]
        return Lasting(asked_at, 10.0)

    def answer(self, *, failing: bool) -> None:
        for waiting in self.open.values():
            waiting.set_result(failing)

    def step(self, kind: str, what: Any) -> None:
        match kind:
            case "ask":
                self.ask(what)
            case "wait":
                self.now += what
            case "give up" if what < len(self.asking):
                self.asking[what][2].cancel()
            case "answer" | "fail":
                self.answer(failing=kind == "fail")


async def play(script) -> None:
    game = Play()
    for kind, what in script:
        game.step(kind, what)
        await settle()
        assert len(game.cache) <= 2
    game.answer(failing=False)
    await settle()
    for began, joined, task in game.asking:
        assert task.done()
        if not task.cancelled() and task.exception() is None and not joined:
            assert task.result() > began - 10.0
    assert game.open == {}
