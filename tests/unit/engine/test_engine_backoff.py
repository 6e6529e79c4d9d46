"""How long a key waits after each failure. Excludes what is done meanwhile (test_engine_queue)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.engine.backoff import LONGEST_ASKED, Backoff

CHANCES = st.floats(0, 1, exclude_max=True)
FIRST = st.floats(0.01, 10)
LONGEST = st.floats(10, 1000)
FAILURES = st.integers(1, 40)


def pauses(backoff: Backoff, failures: int, key: str = "a") -> list[float]:
    return [backoff.failed(key) for _ in range(failures)]


def test_pauses_double_until_the_longest() -> None:
    assert pauses(Backoff(1, 10, lambda: 1), 6) == [1, 2, 4, 8, 10, 10]
    assert pauses(Backoff(1, 10, lambda: 0), 6) == [0.5, 1, 2, 4, 5, 5]


@given(FIRST, LONGEST, FAILURES, CHANCES)
def test_with_the_same_luck_no_pause_is_shorter_than_the_one_before(
    first: float, longest: float, failures: int, chance: float
) -> None:
    found = pauses(Backoff(first, longest, lambda: chance), failures)
    assert all(earlier <= later for earlier, later in itertools.pairwise(found))


@given(FIRST, LONGEST, FAILURES, st.data())
def test_whatever_the_luck_a_pause_is_between_half_and_all_of_what_is_due(
    first: float, longest: float, failures: int, data: st.DataObject
) -> None:
    found = pauses(Backoff(first, longest, lambda: data.draw(CHANCES)), failures)
    for number, pause in enumerate(found):
        due = min(first * 2**number, longest)
        assert due / 2 <= pause <= due


def test_keys_that_fail_together_do_not_return_together() -> None:
    backoff = Backoff(1, 60)
    assert len({backoff.failed(number) for number in range(100)}) > 50


@given(st.floats(0, LONGEST_ASKED), FAILURES, CHANCES)
def test_what_a_server_asks_for_is_the_least_even_above_the_longest(
    asked: float, failures: int, chance: float
) -> None:
    backoff = Backoff(1, 5, lambda: chance)
    for _ in range(failures):
        assert asked <= backoff.failed("a", at_least=asked) <= max(asked, 5)


@pytest.mark.parametrize("asked", [601.0, 86_400.0, float("inf")])
def test_a_server_that_asks_for_a_day_is_asked_again_after_ten_minutes(asked: float) -> None:
    assert Backoff(1, 5).failed("a", at_least=asked) == 600.0


def test_a_long_pause_that_was_asked_for_does_not_lengthen_the_next_one() -> None:
    backoff = Backoff(1, 60, lambda: 1)
    assert [backoff.failed("a", at_least=50), backoff.failed("a")] == [50, 2]


def test_after_thousands_of_failures_the_pause_is_the_longest() -> None:
    assert pauses(Backoff(0.1, 300, lambda: 1), 5000)[-1] == 300


def test_each_key_has_its_own_pauses() -> None:
    backoff = Backoff(1, 60, lambda: 1)
    pauses(backoff, 5, "a")
    assert backoff.failed("b") == 1


def test_a_key_that_went_well_begins_anew_and_is_not_remembered() -> None:
    backoff = Backoff(1, 60, lambda: 1)
    pauses(backoff, 5)
    backoff.forget("a")
    backoff.forget("never failed")
    assert not backoff._next
    assert backoff.failed("a") == 1
