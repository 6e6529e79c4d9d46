"""How long a write waits before it is tried again."""

from __future__ import annotations

from tenacity import AsyncRetrying, Future, RetryCallState

from backends.errors import Throttled
from syncer.engine import applier


def state(error: Exception, attempt: int = 1) -> RetryCallState:
    made = RetryCallState(AsyncRetrying(), None, (), {})
    made.attempt_number = attempt
    future = Future(attempt)
    future.set_exception(error)
    made.outcome = future
    return made


def test_what_the_server_asks_for_is_the_least_wait() -> None:
    assert applier._wait(state(Throttled("slow down", retry_after=7.5))) >= 7.5


def test_without_being_asked_the_wait_grows_and_is_capped() -> None:
    assert applier._wait(state(Throttled("slow down"))) <= 2.0
    assert applier._wait(state(Throttled("slow down"), attempt=40)) <= 5.0
