"""Decides what becomes of a secret of ours at an address nothing wants now.

Pure. Only the source can take a secret away (its installation deleted, uninstalled, or no
longer producing anything); what merely the configuration no longer wants is reported as
orphaned and stays, unless its rule says `prune`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from backends.contract import Mark, ObservedSecret, Owner
from syncer.core.changes import Change, Delete, DeleteCause, Hold, Keep, State, subject_of_mark
from syncer.core.model import Address, DeletionPolicy, OnUninstall, Rule
from syncer.core.selection import Selected, Selection, Unborn, Withdrawn, Withheld


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of the installation a mark names, under the rule the mark names."""

    id: str | None
    """Its id in the source; None: the complete list of installations does not have it."""
    rule: Rule | None
    """The rule of the mark, if it is configured, has the mark's target and matches."""
    selection: Selection | None
    """None where there is no rule or no installation to select from."""
    at: Address | None
    """Where that rule and target would put a secret now."""
    dropped: bool = False
    """Whether it is the secret of a single output that the installation no longer declares."""
    held: str | None = None
    """Why that target is held as a whole, if it is: what it has already stays."""


def dispose(
    observed: ObservedSecret, mark: Mark, standing: Standing, sink: str, owner: Owner, *, prune: bool = False
) -> Change:
    """Delete, Keep (orphaned or frozen) or Hold. `prune`: somebody asked for orphans to go."""
    verdict = _verdict(mark, standing)
    if prune and isinstance(verdict, _Orphaned):
        verdict = DeleteCause.PRUNED
    subject = subject_of_mark(sink, mark)
    match verdict:
        case DeleteCause():
            doubt = None if mark.source == owner.source else f"written from another source ({mark.source})"
            return Delete(subject=subject, observed=observed, cause=verdict, doubt=doubt)
        case _Orphaned(why):
            return Keep(subject=subject, reason=why, state=State.ORPHANED)
        case _Frozen(why):
            return Keep(subject=subject, reason=why)
        case _Undecided(why):
            return Hold(subject=subject, reason=why)
        case _:
            assert_never(verdict)


def still_due(deletion: Delete, now: Change | None) -> bool:
    """Whether a deletion decided earlier is what a fresh look decides again, without a new doubt."""
    return isinstance(now, Delete) and now.cause is deletion.cause and now.doubt in (None, deletion.doubt)


@dataclass(frozen=True, slots=True)
class _Orphaned:
    why: str


@dataclass(frozen=True, slots=True)
class _Frozen:
    why: str


@dataclass(frozen=True, slots=True)
class _Undecided:
    why: str


_Verdict = DeleteCause | _Orphaned | _Frozen | _Undecided


def _verdict(mark: Mark, standing: Standing) -> _Verdict:
    if standing.id is None:
        return _of_deleted(mark, standing.rule)
    if standing.rule is None:
        return _Orphaned(f"rule {mark.rule!r} no longer asks for it")
    return _of_living(mark, standing, standing.rule)


def _of_deleted(mark: Mark, rule: Rule | None) -> _Verdict:
    if rule is None:
        return _Orphaned(f"the installation is deleted, and rule {mark.rule!r} no longer asks for it")
    if rule.deletion_policy is DeletionPolicy.RETAIN:
        return _Orphaned("the installation is deleted (deletionPolicy: Retain)")
    return DeleteCause.GONE


def _of_living(mark: Mark, standing: Standing, rule: Rule) -> _Verdict:
    match standing.selection:
        case Withheld(reason):
            return _Undecided(reason)
        case Withdrawn():
            if rule.on_uninstall is OnUninstall.RETAIN:
                return _Frozen("frozen: uninstalled (onUninstall: Retain)")
            return DeleteCause.UNINSTALLED
        case Unborn():
            anew = "" if standing.id == mark.installation_id else " since it was made anew"
            return _Undecided(f"the installation has no successful run{anew}")
        case Selected() as selected:
            return _of_producing(mark, standing, rule, selected)
        case None:
            return _Undecided("nothing is known of the installation")
        case _:
            assert_never(standing.selection)


def _of_producing(mark: Mark, standing: Standing, rule: Rule, selected: Selected) -> _Verdict:
    if not selected.outputs.outputs and not selected.lacking:
        return DeleteCause.DROPPED
    if standing.held is not None:
        return _Undecided(standing.held)
    if standing.dropped:
        return DeleteCause.DROPPED
    if rule.prune:
        return DeleteCause.PRUNED
    moved = standing.at is not None and standing.at.path != mark.address
    where = f", now at {standing.at}" if moved else ""
    return _Orphaned(f"rule {mark.rule!r} no longer puts it here{where}")
