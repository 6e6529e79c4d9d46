"""Decides what is to be done where a secret is wanted.

Pure. Two questions, in the order the engine asks them: is what is there what is wanted
(`compare`, without reading a value from the source), and what follows when the values are
known (`decide`). What becomes of a secret nothing wants is `disposal`'s question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import Enum
from typing import assert_never

from backends.contract import DesiredSecret, Mark, ObservedSecret, Owner, TakeOver, Unchanged
from backends.secret_value import SecretValue
from syncer.core.changes import (
    Change,
    Conflict,
    Create,
    Hold,
    Keep,
    KeyChange,
    KeyChangeKind,
    State,
    Subject,
    Update,
    subject_of,
)
from syncer.core.describing import ATTRIBUTE
from syncer.core.mapping import Mapped, Unmappable, Wanted, output_names
from syncer.core.model import (
    ConflictPolicy,
    Found,
    FromOutput,
    InstallationKey,
    KeySource,
    Missing,
    OutputRef,
    OutputState,
    Unresolved,
    UpdatePolicy,
)
from syncer.core.templates import TemplateError, render_value


class Comparison(Enum):
    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"
    """Only the values can tell: a template, or an output Porter recorded no digest of."""


def compare(wanted: Wanted, observed: ObservedSecret | None, owner: Owner) -> Comparison:
    """Whether our own secret needs no write. Compares bytes with Porter's digests."""
    if observed is None or observed.mark is None or not observed.ours or not observed.intact:
        return Comparison.DIFFERENT
    if _mark(wanted, owner, observed.mark.content_id, like=observed.mark) != observed.mark:
        return Comparison.DIFFERENT
    if any(observed.attributes.get(name) != text for name, text in wanted.target.attributes.items()):
        return Comparison.DIFFERENT
    return Comparison.SAME if observed.data is None else _compare_data(wanted, observed.data)


def _compare_data(wanted: Wanted, data: Mapping[str, SecretValue]) -> Comparison:
    if data.keys() != wanted.keys.keys():
        return Comparison.DIFFERENT
    verdict = Comparison.SAME
    for key, source in wanted.keys.items():
        digest = _digest(wanted, source)
        if digest is None:
            verdict = Comparison.UNKNOWN
        elif not data[key].matches(digest):
            return Comparison.DIFFERENT
    return verdict


def _digest(wanted: Wanted, source: KeySource) -> str | None:
    return wanted.outputs.outputs[source.output].ref.digest if isinstance(source, FromOutput) else None


def _mark(wanted: Wanted, owner: Owner, content_id: str, *, like: Mark | None = None) -> Mark:
    """The mark a write would leave; with `like`, a newer run that changed nothing here counts as that."""
    same = like is not None and (like.revision, like.installation_id) == (wanted.revision, wanted.outputs.id)
    return Mark(
        instance=owner.instance,
        source=owner.source,
        rule=wanted.rule.name,
        target=wanted.target.id,
        address=wanted.address.path,
        namespace=wanted.outputs.key.namespace,
        installation=wanted.outputs.key.name,
        installation_id=wanted.outputs.id,
        run_id=like.run_id if same and like else wanted.outputs.run_id,
        result_id=like.result_id if same and like else wanted.outputs.result_id,
        revision=wanted.revision,
        content_id=content_id,
        output=wanted.output,
    )


# --- what follows --------------------------------------------------------------------------


def settle(
    mapped: Mapped, observed: ObservedSecret | None, source: str, *, adopted: bool = False
) -> Change | None:
    """What is clear without looking at values: conflicts, holds, policies. None: compare and decide.

    `source`: fingerprint of ours. `adopted`: somebody asked, by its address, to take over what is there.
    """
    subject = subject_of(mapped)
    if isinstance(mapped, Unmappable):
        return Hold(subject=subject, reason=mapped.reason)
    if observed is None:
        return None
    if mapped.target.update_policy is UpdatePolicy.IF_NOT_EXISTS:
        return Keep(subject=subject, reason="it exists (updatePolicy: IfNotExists)")
    if not observed.ours or observed.mark is None:
        if adopted or mapped.target.conflict_policy is ConflictPolicy.ADOPT:
            return None
        return Conflict(subject=subject, reason=f"not ours: {observed.foreign}", observed=observed)
    return _own_mark_forbids(mapped, observed.mark, source, subject, adopted=adopted)


def _own_mark_forbids(
    wanted: Wanted, mark: Mark, source: str, subject: Subject, *, adopted: bool
) -> Change | None:
    if (mark.namespace, mark.installation) != (wanted.outputs.key.namespace, wanted.outputs.key.name):
        other = InstallationKey(mark.namespace, mark.installation)
        return Hold(subject=subject, reason=f"the address is taken by installation {other}")
    if mark.source != source and mark.installation_id != wanted.outputs.id and not adopted:
        # Two processes that share a name, each with a database of its own, would undo each other for ever.
        reason = f"written for another installation of this name, from another source ({mark.source})"
        return Hold(subject=subject, reason=reason)
    if mark.result_id > wanted.outputs.result_id and not adopted:
        reason = f"the source went back: result {mark.result_id} is published and no longer the newest"
        return Hold(subject=subject, reason=reason)
    return None


def decide(
    wanted: Wanted,
    observed: ObservedSecret | None,
    states: Mapping[OutputRef, OutputState],
    owner: Owner,
    *,
    fresh_id: str,
    settling: bool,
) -> Create | Update | Keep | Hold:
    """What to do now that the values are known. `fresh_id` becomes the content id of new bytes.

    `settling`: the newest result is so young that its outputs may still be on their way.
    """
    subject = subject_of(wanted)
    held = _unusable(wanted, states, subject, settling=settling)
    if held is not None:
        return held
    try:
        data = _data(wanted, states)
    except TemplateError as error:
        return Hold(subject=subject, reason=error.reason)
    too_large = _too_large(wanted, data)
    if too_large:
        return Hold(subject=subject, reason=too_large)
    return _write(wanted, observed, data, owner, fresh_id)


def _unusable(
    wanted: Wanted, states: Mapping[OutputRef, OutputState], subject: Subject, *, settling: bool
) -> Hold | None:
    missing, unresolved = [], []
    for output in sorted(wanted.used, key=lambda used: used.ref.name):
        match states[output.ref]:
            case Found():
                pass
            case Missing():
                missing.append(f"output {output.ref.name!r} is not there")
            case Unresolved(reason):
                unresolved.append(f"output {output.ref.name!r}: {reason}")
            case unknown:
                assert_never(unknown)
    if unresolved:
        return Hold(subject=subject, reason="; ".join(unresolved + missing))
    if missing:
        waiting = State.SETTLING if settling else State.INCOMPLETE
        return Hold(subject=subject, reason="; ".join(missing), state=waiting)
    return None


def _data(wanted: Wanted, states: Mapping[OutputRef, OutputState]) -> dict[str, SecretValue]:
    values = {
        output.ref.name: state.value
        for output in wanted.used
        if isinstance(state := states[output.ref], Found)
    }
    return {
        key: values[source.output] if isinstance(source, FromOutput) else render_value(source, values)
        for key, source in wanted.keys.items()
    }


def _attributes(wanted: Wanted) -> Mapping[str, str]:
    described = {ATTRIBUTE: wanted.description} if wanted.description else {}
    return {**wanted.target.attributes, **described}


def _too_large(wanted: Wanted, data: Mapping[str, SecretValue]) -> str | None:
    limits = wanted.target.capabilities
    total = sum(map(len, data.values()))
    if limits.max_secret_bytes is not None and total > limits.max_secret_bytes:
        return f"too large: {total} bytes, the sink takes {limits.max_secret_bytes} in one secret"
    if limits.max_value_bytes is not None:
        for key, value in sorted(data.items(), key=lambda item: item[0]):
            if len(value) > limits.max_value_bytes:
                names = " ".join(map(repr, output_names(wanted.keys[key])))
                sizes = f"{len(value)} bytes, the sink takes {limits.max_value_bytes}"
                return f"too large: output {names} has {sizes}"
    return None


def _write(
    wanted: Wanted,
    observed: ObservedSecret | None,
    data: Mapping[str, SecretValue],
    owner: Owner,
    fresh_id: str,
) -> Create | Update | Keep:
    before: Mapping[str, SecretValue] = (observed.data if observed else None) or {}
    keys = _key_changes(before, data)
    mine = observed.mark if observed is not None and observed.ours else None
    kept_id = mine.content_id if mine is not None and not keys else fresh_id
    subject = subject_of(wanted)
    desired = DesiredSecret(mark=_mark(wanted, owner, kept_id), data=data, attributes=_attributes(wanted))
    if observed is None:
        return Create(subject=subject, desired=desired, reason="not there yet", keys=keys)
    if mine is None:
        return Update(
            subject=subject,
            desired=desired,
            expect=TakeOver(observed.version),
            reason="taken over",
            keys=keys,
            state=State.PENDING,
        )
    if not keys and compare(wanted, replace(observed, data=None), owner) is Comparison.SAME:
        return Keep(subject=subject, reason="in sync")
    state, reason = _why_update(wanted, mine, owner)
    return Update(
        subject=subject,
        desired=desired,
        expect=Unchanged(observed.version),
        reason=reason,
        keys=keys,
        state=state,
    )


def _why_update(wanted: Wanted, mine: Mark, owner: Owner) -> tuple[State, str]:
    if mine.installation_id != wanted.outputs.id:
        return State.PENDING, "the installation was made anew"
    if mine.revision != wanted.revision:
        return State.PENDING, "newer outputs or another layout"
    if _mark(wanted, owner, mine.content_id, like=mine) != mine:
        return State.PENDING, "marked by another rule or from another source"
    if wanted.target.shows is not None:
        # How the other sinks stand is part of it, and that is nobody's hand.
        return State.PENDING, "what is shown has changed"
    return State.DRIFTED, "changed behind our back"


def _key_changes(
    before: Mapping[str, SecretValue], after: Mapping[str, SecretValue]
) -> tuple[KeyChange, ...]:
    changes = [KeyChange(key, KeyChangeKind.ADD) for key in after.keys() - before.keys()]
    changes += [KeyChange(key, KeyChangeKind.REMOVE) for key in before.keys() - after.keys()]
    changes += [
        KeyChange(key, KeyChangeKind.CHANGE)
        for key in after.keys() & before.keys()
        if after[key] != before[key]
    ]
    return tuple(sorted(changes, key=lambda change: change.key))


# --- addresses that meet -------------------------------------------------------------------


def rivals_held(
    claims: Iterable[Mapped], observed: ObservedSecret | None
) -> tuple[Mapped | None, list[Hold]]:
    """Several targets on one address: the one marked there keeps it, every other one is held.

    With nothing of ours there, all are held. The order of `claims` does not matter.
    """
    mark = observed.mark if observed is not None and observed.ours else None
    rivals = sorted(claims, key=_claimant)
    holders = [claim for claim in rivals if mark is not None and _holds(claim, mark)]
    holder = holders[0] if len(holders) == 1 else None
    names = ", ".join(f"{claim.outputs.key} (rule {claim.rule.name!r})" for claim in rivals)
    held = [
        Hold(subject=subject_of(claim), reason=f"several want this address: {names}")
        for claim in rivals
        if claim is not holder
    ]
    return holder, held


def _claimant(claim: Mapped) -> tuple[InstallationKey, str, str]:
    return claim.outputs.key, claim.rule.name, claim.target.id


def _holds(claim: Mapped, mark: Mark) -> bool:
    key = InstallationKey(mark.namespace, mark.installation)
    return _claimant(claim) == (key, mark.rule, mark.target)
