"""The complete lists of installations: what changed between two, and since when who is missing."""

from __future__ import annotations

import pytest

from syncer.core.model import InstallationKey, InstallationRef
from syncer.engine.known import Known

A, B, C = (InstallationKey("shop", name) for name in "abc")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def ref(key: InstallationKey, identity: str = "1", stamp: str = "") -> InstallationRef:
    return InstallationRef(key, identity, stamp)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def known(clock: Clock) -> Known:
    return Known(clock)


def test_before_the_first_list_nobody_is_missing(known: Known) -> None:
    assert known.missing_since(A) is None
    assert known.ids == {}


def test_the_first_list_is_no_news(known: Known) -> None:
    assert known.learn([ref(A), ref(B, "2")]) == frozenset()
    assert known.ids == {A: "1", B: "2"}


def test_who_came_went_or_changed_is_news(known: Known) -> None:
    known.learn([ref(A), ref(B)])
    assert known.learn([ref(A, stamp="later"), ref(C)]) == {A, B, C}
    assert known.learn([ref(A, "2", "later"), ref(C)]) == {A}
    assert known.learn([ref(A, "2", "later"), ref(C)]) == frozenset()


def test_who_went_is_missing_since_the_first_list_that_lacked_it(known: Known, clock: Clock) -> None:
    known.learn([ref(A), ref(B)])
    clock.now = 115
    known.learn([ref(B)])
    clock.now = 130
    known.learn([ref(B)])
    assert known.missing_since(A) == 115
    assert known.missing_since(B) is None


def test_who_was_never_there_is_missing_since_the_first_list(known: Known, clock: Clock) -> None:
    known.learn([ref(A)])
    clock.now = 200
    known.learn([ref(A)])
    assert known.missing_since(C) == 100


def test_who_came_back_and_goes_again_is_missing_anew(known: Known, clock: Clock) -> None:
    known.learn([ref(A), ref(B)])
    for now, refs in ((110.0, [ref(B)]), (120.0, [ref(A, "2"), ref(B)]), (130.0, [ref(B)])):
        clock.now = now
        known.learn(refs)
    assert known.missing_since(A) == 130


def test_who_is_missing_for_long_is_forgotten_and_counts_as_missing_for_longer_still(
    known: Known, clock: Clock
) -> None:
    known.learn([ref(A), ref(B)])
    for hour in (1.0, 2.5):
        clock.now = 100 + 3600 * hour
        known.learn([ref(B)])
    assert known.missing_since(A) == 100


def test_an_empty_list_is_no_evidence_that_somebody_is_missing(known: Known, clock: Clock) -> None:
    known.learn([ref(A), ref(B)])
    for now, refs in ((115.0, []), (130.0, []), (145.0, [ref(B)]), (160.0, [ref(B)])):
        clock.now = now
        known.learn(refs)
    assert known.missing_since(A) == 145
    assert known.missing_since(C) == 145


def test_who_did_not_change_stays_the_same_object(known: Known) -> None:
    """Else every list would scatter thousands of new ones over the memory."""
    first, second = (ref(InstallationKey("shop", "a")) for _ in range(2))
    known.learn([first])
    known.learn([second])
    assert next(iter(known.ids)) is first.key is not second.key
