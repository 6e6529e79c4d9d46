"""Too many deletions at once are not believed, and an approval covers exactly what it names.

Simulates deletions of numbered installations, one secret each unless said otherwise. Left out:
whether a deletion is right at all (test_disposal).
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_world import mark, observed
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import Version
from syncer.core.changes import Delete, DeleteCause, subject_of_mark
from syncer.core.guard import Verdict, judge, plan_hash
from syncer.core.model import GuardLimits

DOUBT = "written from another source (restored)"


def deletion(number: int, *, doubt: str | None = None, secret: str = "outputs", version: str = "1") -> Delete:
    named = mark(installation_id=f"life-{number}", address=f"shop/{number}-{secret}")
    return Delete(
        subject=subject_of_mark("store", named),
        observed=observed(named, version=Version(version)),
        cause=DeleteCause.GONE,
        doubt=doubt,
    )


def deletions(count: int) -> list[Delete]:
    return [deletion(number) for number in range(count)]


def marked(count: int) -> set[str]:
    return {f"life-{number}" for number in range(count)}


LIMITS = GuardLimits()
COUNTS = st.integers(0, 60)


@given(COUNTS, COUNTS, st.integers(0, 12), st.integers(0, 100))
def test_more_than_both_limits_or_all_of_three_or_more_is_held_as_a_set(going, staying, most, percent):
    limits = GuardLimits(max_deletions=most, max_deletion_percent=percent)
    total = going + staying
    held = going > most and going * 100 > percent * total
    held = held or (going >= 3 and staying == 0)
    verdict = judge(deletions(going), marked(total), limits)
    assert (len(verdict.allowed), len(verdict.held)) == ((0, going) if held else (going, 0))
    assert bool(verdict.hash) is bool(verdict.reason) is held


@pytest.mark.parametrize(
    ("going", "total", "held"),
    [
        (0, 0, False),
        (1, 1, False),
        (2, 2, False),
        (3, 3, True),
        (3, 4, False),
        (5, 6, False),
        (6, 7, True),
        (20, 100, False),
        (21, 100, True),
        (2000, 10_000, False),
        (2001, 10_000, True),
    ],
)
def test_the_default_limits(going, total, held):
    assert bool(judge(deletions(going), marked(total), LIMITS).held) is held


def test_installations_are_counted_and_not_their_secrets():
    many = [deletion(1, secret=str(number)) for number in range(50)]
    assert judge(many, marked(10), LIMITS).allowed == tuple(many)


def test_the_reason_says_how_many_of_how_many():
    assert judge(deletions(7), marked(10), LIMITS).reason == (
        "7 of 10 installations would lose their secrets, more than 5"
    )
    assert judge(deletions(4), marked(4), LIMITS).reason == "all 4 installations would lose their secrets"


@given(st.lists(st.booleans(), max_size=5))
def test_what_is_in_doubt_is_held_whatever_the_number(doubts):
    several = [deletion(number, doubt=DOUBT if doubt else None) for number, doubt in enumerate(doubts)]
    verdict = judge(several, marked(100), LIMITS)
    assert verdict.held == tuple(one for one in several if one.doubt)
    assert verdict.allowed == tuple(one for one in several if not one.doubt)
    assert verdict.reason == (DOUBT if any(doubts) else "")


@given(st.integers(1, 40), st.integers(0, 3))
def test_an_approval_releases_exactly_the_set_it_names(count, doubtful):
    several = [*deletions(count), *(deletion(100 + number, doubt=DOUBT) for number in range(doubtful))]
    before = judge(several, marked(count + 4), LIMITS)
    after = judge(several, marked(count + 4), LIMITS, approved={before.hash})
    assert after == Verdict(allowed=tuple(several), held=(), hash="", reason="")


@given(st.integers(6, 20), st.permutations(range(20)))
def test_an_approval_does_not_depend_on_the_order(count, order):
    several = deletions(count)
    shuffled = [several[number] for number in order if number < count]
    approved = {judge(several, marked(20), LIMITS).hash}
    assert judge(shuffled, marked(20), LIMITS, approved).held == ()


@pytest.mark.parametrize(
    "later",
    [
        [*deletions(7), deletion(7)],
        deletions(6),
        [*deletions(6), deletion(6, version="2")],
        [*deletions(6), deletion(6, secret="another")],
        [*deletions(7), deletion(7, doubt=DOUBT)],
    ],
)
def test_an_approval_covers_no_addition_no_remainder_and_no_later_version(later):
    approved = {judge(deletions(7), marked(10), LIMITS).hash}
    assert judge(later, marked(10), LIMITS, approved).held == tuple(later)


def test_an_approval_of_doubts_covers_no_later_doubt():
    doubts = [deletion(1, doubt=DOUBT)]
    approved = {judge(doubts, marked(100), LIMITS).hash}
    more = [*doubts, deletion(2, doubt=DOUBT)]
    assert judge(more, marked(100), LIMITS, approved).held == tuple(more)
    assert judge(doubts, marked(100), LIMITS, approved).held == ()


def test_another_approval_releases_nothing():
    assert len(judge(deletions(7), marked(10), LIMITS, approved={"0123456789abcdef"}).held) == 7


@pytest.mark.parametrize(
    "other",
    [deletion(2), deletion(1, secret="x"), deletion(1, version="2")],
)
def test_the_hash_names_address_life_and_version(other):
    assert plan_hash([deletion(1)]) != plan_hash([other])


def test_the_hash_tells_sinks_and_lives_apart_at_one_address():
    one = deletion(1)
    for change in ({"sink": "another"}, {"id": "another"}):
        assert plan_hash([one]) != plan_hash([replace(one, subject=replace(one.subject, **change))])
