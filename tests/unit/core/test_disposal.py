"""What becomes of a secret nothing wants now: the whole table of what is known, against the mark.

Simulates every standing of the installation a mark names. Left out: the evidence an absence
needs (tests/functional), and how many deletions are too many (test_guard).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import pytest
from core_world import KEY, LIFE, OWNER, mark, observed, output_set, rule, target

from syncer.core.changes import Change, Delete, DeleteCause, Hold, Keep, State, subject_of_mark
from syncer.core.disposal import Standing, dispose, still_due
from syncer.core.model import Address, DeletionPolicy, OnUninstall, Rule
from syncer.core.selection import Selected, Selection, Unborn, Withdrawn, Withheld

HERE = observed(mark())
ELSEWHERE = observed(mark(source="restored"))
NEW_LIFE = "01NEWLIFE"

SOMETHING = output_set({"host": b"x"})
NOTHING = output_set({})
SELECTIONS: dict[str, Selection | None] = {
    "unknown": None,
    "withheld": Withheld("run 7 is unreadable"),
    "unborn": Unborn(),
    "withdrawn": Withdrawn(),
    "produces": Selected(SOMETHING, lacking=False),
    "produces, filtered": Selected(SOMETHING, lacking=True),
    "all filtered": Selected(NOTHING, lacking=True),
    "produces nothing": Selected(NOTHING, lacking=False),
}
PLACES = {"nowhere": None, "here": Address("store", "shop/orders"), "moved": Address("store", "shop/moved")}


@dataclass(frozen=True, slots=True)
class Known:
    """One row: what is known of the installation the mark names."""

    id: str | None
    rule: Rule | None
    selection: str
    at: str = "nowhere"
    held: str | None = None
    dropped: bool = False

    def standing(self) -> Standing:
        return Standing(
            id=self.id,
            rule=self.rule,
            selection=SELECTIONS[self.selection],
            at=PLACES[self.at],
            held=self.held,
            dropped=self.dropped,
        )


RULES = tuple(
    rule(target(), on_uninstall=on_uninstall, deletion_policy=deletion_policy, prune=prune)
    for on_uninstall, deletion_policy, prune in product(OnUninstall, DeletionPolicy, (False, True))
)
ROWS = tuple(
    Known(*row)
    for row in product(
        (None, LIFE, NEW_LIFE), (None, *RULES), SELECTIONS, PLACES, (None, "two meet"), (False, True)
    )
)


def disposed(known: Known, source: str = OWNER.source) -> Change:
    there = HERE if source == OWNER.source else ELSEWHERE
    assert there.mark is not None
    return dispose(there, there.mark, known.standing(), "store", OWNER)


def expected(known: Known) -> DeleteCause | State | str:
    """The table: a cause to delete, the state of a secret that stays, or "hold"."""
    if known.rule is None:
        return State.ORPHANED
    if known.id is None:
        return DeleteCause.GONE if known.rule.deletion_policy is DeletionPolicy.DELETE else State.ORPHANED
    frozen = known.rule.on_uninstall is OnUninstall.RETAIN
    unwanted = DeleteCause.PRUNED if known.rule.prune else State.ORPHANED
    unwanted = DeleteCause.DROPPED if known.dropped else unwanted
    return {
        "unknown": "hold",
        "withheld": "hold",
        "unborn": "hold",
        "withdrawn": State.IN_SYNC if frozen else DeleteCause.UNINSTALLED,
        "produces nothing": DeleteCause.DROPPED,
    }.get(known.selection, "hold" if known.held else unwanted)


def outcome(change: Change) -> DeleteCause | State | str:
    if isinstance(change, Delete):
        return change.cause
    return change.state if isinstance(change, Keep) else "hold"


def test_the_whole_table():
    wrong = [row for row in ROWS if outcome(disposed(row)) != expected(row)]
    assert wrong == []


def test_only_the_source_or_an_explicit_prune_takes_a_secret_away():
    gone = {"withdrawn", "produces nothing"}
    for row in ROWS:
        change = disposed(row)
        if isinstance(change, Delete):
            pruned = row.rule is not None and row.rule.prune and change.cause is DeleteCause.PRUNED
            dropped = row.dropped and row.held is None and change.cause is DeleteCause.DROPPED
            assert row.id is None or row.selection in gone or dropped or pruned


def test_a_rule_that_is_gone_never_deletes_and_never_prunes():
    assert {outcome(disposed(row)) for row in ROWS if row.rule is None} == {State.ORPHANED}


def test_a_mark_of_another_source_puts_every_deletion_in_doubt_and_changes_nothing_else():
    for row in ROWS:
        ours, other = disposed(row), disposed(row, "restored")
        assert outcome(ours) == outcome(other)
        if isinstance(ours, Delete) and isinstance(other, Delete):
            assert ours.doubt is None
            assert other.doubt == "written from another source (restored)"


def test_the_subject_is_what_the_mark_names_and_a_deletion_keeps_what_was_observed():
    change = disposed(Known(None, rule(), "unknown"))
    assert isinstance(change, Delete)
    assert (change.subject.id, change.subject.address) == (LIFE, "store:shop/orders")
    assert change.observed is HERE
    assert change.reason == "the installation is deleted"


def test_an_installation_made_anew_without_a_result_keeps_what_its_former_life_has():
    change = disposed(Known(NEW_LIFE, rule(), "unborn"))
    assert isinstance(change, Hold)
    assert "made anew" in change.reason
    before = disposed(Known(LIFE, rule(), "unborn"))
    assert isinstance(before, Hold)
    assert "anew" not in before.reason


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (Known(None, None, "unknown"), "deleted, and rule 'default' no longer asks for it"),
        (Known(None, rule(deletion_policy=DeletionPolicy.RETAIN), "unknown"), "deletionPolicy: Retain"),
        (Known(LIFE, None, "unknown"), "rule 'default' no longer asks for it"),
        (Known(LIFE, rule(), "withheld"), "run 7 is unreadable"),
        (Known(LIFE, rule(), "unknown"), "nothing is known"),
        (Known(LIFE, rule(on_uninstall=OnUninstall.RETAIN), "withdrawn"), "onUninstall: Retain"),
        (Known(LIFE, rule(), "produces", "moved"), "no longer puts it here, now at store:shop/moved"),
        (Known(LIFE, rule(prune=True), "produces", "moved", "two meet"), "two meet"),
    ],
)
def test_what_stays_says_why(known, words):
    change = disposed(known)
    assert isinstance(change, Keep | Hold)
    assert words in change.reason


@pytest.mark.parametrize("at", ["here", "nowhere"])
def test_a_secret_that_has_not_moved_is_not_said_to_be_elsewhere(at):
    change = disposed(Known(LIFE, rule(), "all filtered", at))
    assert isinstance(change, Keep)
    assert "now at" not in change.reason


def test_the_subject_of_a_mark_is_what_it_names():
    subject = subject_of_mark("store", mark())
    assert (subject.key, subject.rule, subject.run_id, subject.revision) == (KEY, "default", "run-0001", "r1")


def test_a_deletion_is_still_due_only_for_the_same_cause():
    gone = disposed(Known(None, rule(), "unknown"))
    uninstalled = disposed(Known(LIFE, rule(), "withdrawn"))
    assert isinstance(gone, Delete)
    assert still_due(gone, replace(gone))
    for now in (None, uninstalled, disposed(Known(LIFE, rule(), "produces"))):
        assert not still_due(gone, now)


def test_pruning_on_demand_takes_exactly_the_orphans_and_doubts_another_source() -> None:
    for row in ROWS:
        for source in (OWNER.source, "restored"):
            there = HERE if source == OWNER.source else ELSEWHERE
            assert there.mark is not None
            asked = dispose(there, there.mark, row.standing(), "store", OWNER, prune=True)
            plain = disposed(row, source)
            if outcome(plain) is State.ORPHANED:
                assert isinstance(asked, Delete)
                assert asked.cause is DeleteCause.PRUNED
                assert bool(asked.doubt) is (source != OWNER.source)
            else:
                assert asked == plain
