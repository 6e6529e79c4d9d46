"""When a sink is left alone, and for how long, in virtual time.

Simulates workers that come, try, end late and are stopped. Excludes which failures concern a whole sink.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from virtual_time import VirtualLoop, run_virtual

from backends.errors import AuthenticationFailed, SinkError, SinkUnavailable, Throttled
from syncer.engine.breaker import Breaker

DOWN = SinkUnavailable("the API server cannot be reached")
REFUSED = AuthenticationFailed("the token was refused")
ERRORS = st.sampled_from(
    [
        DOWN,
        REFUSED,
        Throttled("slow down", retry_after=7),
        Throttled("slow down", retry_after=86_400),
        AuthenticationFailed("the token was refused", retry_after=45),
    ]
)


def now() -> float:
    return asyncio.get_running_loop().time()


def in_virtual_time(story: Callable[[Breaker], Awaitable[None]], chance: float = 1.0) -> None:
    async def told() -> None:
        await story(Breaker(now, lambda: chance))

    run_virtual(told())


@dataclass(frozen=True, slots=True)
class Admitted:
    trial: bool
    at: float


class BreakerMachine(RuleBasedStateMachine):
    """Every report is given to the breaker and to a model of few numbers; whoever is admitted is compared."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.time = self.runner.get_loop().time
        self.chance = 0.0
        self.breaker = Breaker(self.time, lambda: self.chance)
        self.callers: list[asyncio.Task[None]] = []
        self.admitted: list[Admitted] = []
        self.failures = 0
        self.until = 0.0
        self.reason: str | None = None
        self.trying = False

    def teardown(self) -> None:
        try:
            self.somebody_is_admitted_in_the_end()
        finally:
            self.runner.close()

    def go(self, act: Callable[[], object], seconds: float = 0.0) -> None:
        async def step() -> None:
            act()
            await asyncio.sleep(seconds)
            for _ in range(5):
                await asyncio.sleep(0)

        before = self.time()
        self.runner.run(step())
        for admitted in self.admitted:
            assert not self.trying, "one tries at a time"
            assert admitted.trial == (self.reason is not None)
            assert admitted.at == pytest.approx(max(before, self.until if admitted.trial else before))
            self.trying = admitted.trial
        self.admitted.clear()
        self.callers = [caller for caller in self.callers if not caller.done()]

    async def caller(self) -> None:
        trial = await self.breaker.admitted()
        self.admitted.append(Admitted(trial, self.time()))

    @rule()
    def somebody_comes(self) -> None:
        self.go(lambda: self.callers.append(self.runner.get_loop().create_task(self.caller())))

    @precondition(lambda self: self.callers)
    @rule(data=st.data())
    def somebody_is_stopped_while_waiting(self, data: st.DataObject) -> None:
        self.go(data.draw(st.sampled_from(self.callers)).cancel)

    @rule(seconds=st.sampled_from([0.5, 1.0, 20.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.go(lambda: None, seconds)

    @rule(error=ERRORS, chance=st.floats(0, 1, exclude_max=True), trial=st.booleans())
    def it_failed(self, error: SinkError, chance: float, trial: bool) -> None:
        if trial and not self.trying:
            return
        self.chance = chance
        asked = max(30.0 if isinstance(error, AuthenticationFailed) else 0.0, error.retry_after or 0.0)
        pause = min(asked, 600.0)
        if trial or self.reason is None:
            pause = max(pause, min(2.0**self.failures, 60.0) * (1 + chance) / 2)
            self.failures += 1
        self.until = max(self.until, self.time() + pause)
        self.reason = error.reason
        self.trying = self.trying and not trial
        self.go(lambda: self.breaker.failed(error, trial=trial))

    @rule(trial=st.booleans())
    def it_went_well(self, trial: bool) -> None:
        if trial and not self.trying:
            return
        if trial:
            self.failures, self.until, self.reason, self.trying = 0, 0.0, None, False
        self.go(lambda: self.breaker.succeeded(trial=trial))

    @rule(trial=st.booleans())
    def it_was_abandoned(self, trial: bool) -> None:
        if trial and not self.trying:
            return
        self.trying = self.trying and not trial
        self.go(lambda: self.breaker.abandoned(trial=trial))

    @invariant()
    def nobody_waits_without_a_reason(self) -> None:
        waits = self.trying or (self.reason is not None and self.time() < self.until)
        assert waits or not self.callers
        assert self.breaker.reason == self.reason

    def somebody_is_admitted_in_the_end(self) -> None:
        if self.trying:
            self.it_was_abandoned(trial=True)
        self.somebody_comes()
        self.time_passes(601.0)
        assert self.trying or not self.callers


BreakerMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestBreakerDoesWhatItsModelDoes = BreakerMachine.TestCase


def test_while_all_is_well_nobody_waits_and_nobody_tries() -> None:
    async def story(breaker: Breaker) -> None:
        for _ in range(3):
            assert not await breaker.admitted()
            breaker.succeeded()
        assert (now(), breaker.reason) == (0.0, None)

    in_virtual_time(story)


@pytest.mark.parametrize(
    ("chance", "pauses"),
    [(1.0, [1, 2, 4, 8, 16, 32, 60, 60]), (0.0, [0.5, 1, 2, 4, 8, 16, 30, 30])],
)
def test_a_sink_that_stays_down_is_tried_ever_more_seldom(chance: float, pauses: list[float]) -> None:
    async def story(breaker: Breaker) -> None:
        tried = [now()]
        for _ in pauses:
            breaker.failed(DOWN)
            assert breaker.reason == DOWN.reason
            assert await breaker.admitted()
            tried.append(now())
        assert [later - earlier for earlier, later in itertools.pairwise(tried)] == pauses

    in_virtual_time(story, chance)


def test_a_trial_that_goes_well_lets_all_in_and_the_next_pause_is_the_first() -> None:
    async def story(breaker: Breaker) -> None:
        for _ in range(5):
            breaker.failed(DOWN)
            assert await breaker.admitted()
        others = [asyncio.create_task(breaker.admitted()) for _ in range(3)]
        await asyncio.sleep(100)
        assert not any(other.done() for other in others)
        breaker.succeeded()
        assert await asyncio.gather(*others) == [False, False, False]
        assert breaker.reason is None
        began = now()
        breaker.failed(DOWN)
        assert await breaker.admitted()
        assert now() - began == 1

    in_virtual_time(story)


@pytest.mark.fault(41)
def test_refused_credentials_are_tried_twice_a_minute_at_most() -> None:
    async def story(breaker: Breaker) -> None:
        logins = 0
        while now() < 3_600:
            await breaker.admitted()
            logins += 1
            breaker.failed(REFUSED)
        assert 60 <= logins <= 121

    in_virtual_time(story, chance=0.0)


def test_a_server_is_left_alone_as_long_as_it_asks_for_but_not_for_a_day() -> None:
    async def story(breaker: Breaker) -> None:
        for asked, waited in ((90, 90), (86_400, 600)):
            began = now()
            breaker.failed(Throttled("slow down", retry_after=asked))
            assert await breaker.admitted()
            assert now() - began == waited

    in_virtual_time(story)


def test_many_failures_of_one_outage_double_the_pause_once() -> None:
    async def story(breaker: Breaker) -> None:
        for _ in range(30):
            breaker.failed(DOWN)
        assert await breaker.admitted()
        assert now() == 1
        breaker.failed(DOWN)
        assert await breaker.admitted()
        assert now() == 3

    in_virtual_time(story)


def test_a_late_failure_may_still_say_how_long_to_wait() -> None:
    async def story(breaker: Breaker) -> None:
        breaker.failed(DOWN)
        breaker.failed(Throttled("slow down", retry_after=20), trial=False)
        assert breaker.reason == "slow down"
        assert await breaker.admitted()
        assert now() == 20

    in_virtual_time(story)


def test_what_was_begun_before_the_outage_says_nothing_about_a_trial() -> None:
    async def story(breaker: Breaker) -> None:
        breaker.failed(DOWN)
        assert await breaker.admitted()
        other = asyncio.create_task(breaker.admitted())
        breaker.failed(DOWN, trial=False)
        breaker.succeeded(trial=False)
        breaker.abandoned(trial=False)
        await asyncio.sleep(100)
        assert not other.done()
        assert breaker.reason == DOWN.reason
        breaker.failed(DOWN)
        assert await other
        assert now() == 1 + 100 + 2

    in_virtual_time(story)


def test_a_success_from_before_does_not_open_a_sink_that_asked_to_be_left_alone() -> None:
    async def story(breaker: Breaker) -> None:
        breaker.failed(Throttled("slow down", retry_after=30))
        breaker.succeeded()
        assert breaker.reason == "slow down"
        assert await breaker.admitted()
        assert now() == 30

    in_virtual_time(story)


def test_when_who_tries_is_stopped_another_tries_at_once() -> None:
    async def story(breaker: Breaker) -> None:
        breaker.failed(DOWN)
        assert await breaker.admitted()
        others = [asyncio.create_task(breaker.admitted()) for _ in range(2)]
        await asyncio.sleep(5)
        breaker.abandoned()
        done, waiting = await asyncio.wait(others, timeout=60)
        assert [task.result() for task in done] == [True]
        assert now() == 66
        waiting.pop().cancel()

    in_virtual_time(story)
