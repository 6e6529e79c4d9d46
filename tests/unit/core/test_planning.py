"""What is to be done at an address: the same, drifted, conflicting, held, created or updated.

Observed secrets are what `decide` itself would have written, then changed in one respect. Left
out: filters of templates (test_templates), and what a sink does with a change (tests/contract).
"""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from core_world import (
    CONTENTS,
    FRESH,
    LIFE,
    OWNER,
    decided,
    found,
    kubernetes,
    mark,
    observed,
    output_set,
    per_output,
    secrets,
    target,
    unmappable,
    wanted,
    written,
)
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import Absent, Mark, ObservedSecret, Owner, TakeOver, Unchanged, Version
from backends.memory import CAPABILITIES
from backends.secret_value import SecretValue
from syncer.core.changes import (
    Conflict,
    Create,
    Hold,
    Keep,
    KeyChange,
    KeyChangeKind,
    State,
    Update,
)
from syncer.core.model import (
    ConflictPolicy,
    FromOutput,
    FromTemplate,
    Missing,
    Placeholder,
    Target,
    Unresolved,
    UpdatePolicy,
)
from syncer.core.planning import Comparison, compare, decide, settle

CONTENT = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from([b"", b"1", b"2", b"\xff\x00"]))


def remarked(there: ObservedSecret, **changes: str) -> ObservedSecret:
    assert there.mark is not None
    return replace(there, mark=replace(there.mark, **changes))


ONE = wanted(output_set(CONTENTS), target(attributes={"type": "Opaque"}))
THERE = written(ONE)
FOREIGN = replace(THERE, mark=None, foreign="no mark")

# --- the same, or not ----------------------------------------------------------------------


@given(CONTENT.filter(bool), CONTENT)
def test_a_secret_is_the_same_exactly_when_its_bytes_are(wanted_bytes, there_bytes):
    one = wanted(output_set(wanted_bytes))
    there = replace(written(one, wanted_bytes), data=secrets(there_bytes))
    same = compare(one, there, OWNER) is Comparison.SAME
    assert same is (wanted_bytes == there_bytes)


@pytest.mark.parametrize("name", [field.name for field in fields(Mark) if field.name != "content_id"])
def test_any_changed_field_of_the_mark_is_noticed(name):
    changed = remarked(THERE, **{name: "another"})
    later = {"run_id", "result_id"}  # a newer run that changed nothing here is no difference
    assert compare(ONE, changed, OWNER) is (Comparison.SAME if name in later else Comparison.DIFFERENT)


def test_the_content_id_of_the_mark_is_whatever_it_is():
    assert compare(ONE, remarked(THERE, content_id="another"), OWNER) is Comparison.SAME


def test_a_newer_run_of_another_revision_or_life_is_a_difference():
    assert compare(ONE, remarked(THERE, run_id="run-0000", installation_id="other"), OWNER) is (
        Comparison.DIFFERENT
    )


@pytest.mark.parametrize(
    "there",
    [
        None,
        FOREIGN,
        replace(THERE, foreign="marked by instance 'b'"),
        replace(THERE, mark=None),
        replace(THERE, intact=False),
        replace(THERE, attributes={}),
        replace(THERE, attributes={"type": "another"}),
        replace(THERE, data={}),
    ],
)
def test_what_is_not_exactly_our_own_is_different(there):
    assert compare(ONE, there, OWNER) is Comparison.DIFFERENT


def test_attributes_nobody_asked_for_are_no_difference():
    there = replace(THERE, attributes={"type": "Opaque", "label:theirs": "1"})
    assert compare(ONE, there, OWNER) is Comparison.SAME


def test_where_a_sink_does_not_read_bytes_the_mark_decides():
    assert compare(ONE, replace(THERE, data=None), OWNER) is Comparison.SAME
    assert compare(ONE, replace(THERE, data=None, intact=False), OWNER) is Comparison.DIFFERENT


DSN = {"DSN": FromTemplate((Placeholder("host"), "/")), "PASSWORD": FromOutput("password")}
COMPOSED = wanted(output_set(CONTENTS), target(keys=DSN))


def test_only_values_can_tell_of_a_template_or_an_output_without_digest():
    assert compare(COMPOSED, written(COMPOSED), OWNER) is Comparison.UNKNOWN
    undigested = wanted(output_set({"host": None, "password": CONTENTS["password"]}))
    assert compare(undigested, written(undigested), OWNER) is Comparison.UNKNOWN


def test_a_difference_outweighs_what_is_unknown():
    there = written(COMPOSED, CONTENTS | {"password": b"another"})
    assert compare(COMPOSED, there, OWNER) is Comparison.DIFFERENT


# --- clear without values ------------------------------------------------------------------


def test_another_source_s_installation_of_the_same_name_is_not_written_over_until_adopted():
    there = observed(mark(source="elsewhere", installation_id="01OTHER"))
    held = settled(there)
    assert isinstance(held, Hold)
    assert held.reason == "written for another installation of this name, from another source (elsewhere)"
    assert settled(there, adopted=True) is None
    assert settled(observed(mark(source="elsewhere"))) is None, "a database that moved"
    assert settled(observed(mark(installation_id="01OTHER"))) is None, "made anew"


def settled(there: ObservedSecret | None, *, adopted: bool = False, **changes):
    return settle(wanted(output_set(CONTENTS), target(**changes)), there, OWNER.source, adopted=adopted)


def test_an_unmappable_target_is_held_whatever_is_there():
    mapped = unmappable(output_set(CONTENTS), target(keys={"A": FromOutput("gone")}))
    for there in (None, THERE, FOREIGN):
        held = settle(mapped, there, OWNER.source)
        assert isinstance(held, Hold)
        assert "'gone'" in held.reason
        assert (held.subject.address, held.subject.revision) == ("store:shop/orders", "")


def test_without_an_address_the_subject_names_the_sink():
    held = settle(
        unmappable(output_set({"": b""}), per_output(naming=kubernetes().naming)), None, OWNER.source
    )
    assert isinstance(held, Hold)
    assert (held.subject.path, held.subject.address) == (None, "store:")


@pytest.mark.parametrize("there", [None, THERE])
def test_an_absent_secret_and_our_own_need_a_closer_look(there):
    assert settled(there) is None


@pytest.mark.parametrize("there", [THERE, FOREIGN])
def test_if_not_exists_leaves_alone_what_exists(there):
    change = settled(there, update_policy=UpdatePolicy.IF_NOT_EXISTS)
    assert isinstance(change, Keep)
    assert settled(None, update_policy=UpdatePolicy.IF_NOT_EXISTS) is None


@pytest.mark.parametrize("there", [FOREIGN, replace(THERE, foreign="marked by instance 'b'")])
@pytest.mark.parametrize("adopted", [False, True])
@pytest.mark.parametrize("conflict_policy", ConflictPolicy)
def test_a_foreign_secret_is_a_conflict_unless_adopted(there, adopted, conflict_policy):
    change = settled(there, adopted=adopted, conflict_policy=conflict_policy)
    if adopted or conflict_policy is ConflictPolicy.ADOPT:
        assert change is None
    else:
        assert isinstance(change, Conflict)
        assert str(there.foreign) in change.reason
        assert change.observed is there


@pytest.mark.parametrize("adopted", [False, True])
@pytest.mark.parametrize("other", [{"installation": "billing"}, {"namespace": "prod"}])
def test_an_address_marked_for_another_installation_is_held(adopted, other):
    change = settled(remarked(THERE, **other), adopted=adopted)
    assert isinstance(change, Hold)
    assert f"{other.get('namespace', 'shop')}/{other.get('installation', 'orders')}" in change.reason


@pytest.mark.parametrize("life", [LIFE, "01LATERLIFE"])
def test_a_result_older_than_the_published_one_is_held_until_adopted(life):
    newer = remarked(THERE, result_id="0002", installation_id=life)
    change = settled(newer)
    assert isinstance(change, Hold)
    assert "result 0002" in change.reason
    assert settled(newer, adopted=True) is None


def test_a_result_newer_than_the_published_one_of_a_former_life_goes_on():
    assert settled(remarked(THERE, result_id="0000", installation_id="00FORMER")) is None


# --- what follows when the values are known ------------------------------------------------


def test_what_is_not_there_is_created_with_mark_bytes_and_attributes():
    change = decided(ONE, None)
    assert isinstance(change, Create)
    assert change.desired.mark == mark(revision=ONE.revision, content_id=FRESH)
    assert change.desired.data == secrets(CONTENTS)
    assert change.desired.attributes == {"type": "Opaque"}
    assert change.keys == tuple(KeyChange(key, KeyChangeKind.ADD) for key in sorted(CONTENTS))


def test_what_is_in_sync_is_kept():
    change = decided(ONE, THERE)
    assert isinstance(change, Keep)
    assert change.state is State.IN_SYNC


def test_a_template_whose_bytes_are_right_is_kept():
    assert isinstance(decided(COMPOSED, written(COMPOSED)), Keep)


@pytest.mark.parametrize("data", [{"DSN": b"edited"}, {"DSN": b"db.internal/", "PASSWORD": b"edited"}])
def test_a_composed_secret_that_drifted_is_written_again(data):
    change = decided(COMPOSED, replace(written(COMPOSED), data=secrets(data)))
    assert isinstance(change, Update)
    assert change.state is State.DRIFTED
    assert change.desired.data == secrets({"DSN": b"db.internal/", "PASSWORD": b"battery staple"})


@pytest.mark.parametrize(
    "there",
    [
        replace(THERE, data=secrets(CONTENTS | {"host": b"edited"})),
        replace(THERE, data=secrets({"host": CONTENTS["host"]})),
        replace(THERE, data=secrets(CONTENTS | {"added": b""})),
        replace(THERE, data={}),
        replace(THERE, intact=False),
        replace(THERE, attributes={"type": "another"}),
    ],
)
def test_every_drift_is_repaired_over_exactly_what_was_observed(there):
    change = decided(ONE, there)
    assert isinstance(change, Update)
    assert change.state is State.DRIFTED
    assert change.expect == Unchanged(Version("7"))
    assert change.desired.data == secrets(CONTENTS)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"installation_id": "01FORMER"}, "made anew"),
        ({"revision": "another"}, "newer outputs"),
        ({"source": "source-2"}, "another source"),
        ({"rule": "former"}, "another rule"),
        ({"target": "3"}, "another rule"),
    ],
)
def test_an_outdated_mark_is_renewed_and_is_no_drift(changes, reason):
    change = decided(ONE, remarked(THERE, **changes))
    assert isinstance(change, Update)
    assert change.state is State.PENDING
    assert reason in change.reason
    assert change.desired.mark == THERE.mark


def test_a_foreign_secret_is_taken_over_as_it_was_observed():
    change = decided(ONE, FOREIGN)
    assert isinstance(change, Update)
    assert change.expect == TakeOver(Version("7"))
    assert change.desired.mark.content_id == FRESH
    assert change.state is State.PENDING


@pytest.mark.parametrize("there", [FOREIGN, replace(THERE, foreign="marked by instance 'b'"), None])
def test_what_is_not_ours_is_never_expected_to_be_ours(there):
    change = decided(ONE, there)
    assert not (isinstance(change, Update) and isinstance(change.expect, Unchanged | Absent))


@given(CONTENT.filter(bool), CONTENT)
def test_the_content_id_changes_exactly_when_the_bytes_do(after, before):
    one = wanted(output_set(after))
    there = replace(remarked(written(one, after), revision="before"), data=secrets(before))
    change = decided(one, there, after)
    assert isinstance(change, Update)
    assert change.desired.mark.content_id == ("c1" if before == after else FRESH)


@given(CONTENT.filter(bool), CONTENT)
def test_the_keys_that_change_are_told(after, before):
    one = wanted(output_set(after))
    there = replace(remarked(written(one, after), revision="before"), data=secrets(before))
    change = decided(one, there, after)
    assert isinstance(change, Update)
    told = {one.key: one.change for one in change.keys}
    assert [one.key for one in change.keys] == sorted(told)
    assert told == {
        key: KeyChangeKind.ADD
        if key not in before
        else KeyChangeKind.REMOVE
        if key not in after
        else KeyChangeKind.CHANGE
        for key in before.keys() | after.keys()
        if before.get(key) != after.get(key)
    }


@pytest.mark.bad_input(6)
@given(st.binary())
def test_bytes_that_are_no_text_are_written_as_they_are(content):
    change = decided(wanted(output_set({"blob": content})), None, {"blob": content})
    assert isinstance(change, Create)
    assert change.desired.data["blob"].reveal() == content


@given(CONTENT.filter(bool), st.none() | st.just(THERE))
def test_the_same_look_gives_the_same_plan(contents, there):
    one = wanted(output_set(contents))
    assert decided(one, there, contents) == decided(one, there, contents)


def test_values_are_written_only_where_owner_and_source_are_ours():
    change = decided(ONE, None, owner=Owner(instance="a", source="b"))
    assert isinstance(change, Create)
    assert (change.desired.mark.instance, change.desired.mark.source) == ("a", "b")


# --- holds that need values ----------------------------------------------------------------


@pytest.mark.parametrize(("settling", "state"), [(True, State.SETTLING), (False, State.INCOMPLETE)])
def test_a_missing_output_holds_the_secret_as_settling_then_incomplete(settling, state):
    states = found(ONE.outputs, CONTENTS) | {ONE.outputs.outputs["host"].ref: Missing()}
    change = decide(ONE, THERE, states, OWNER, fresh_id=FRESH, settling=settling)
    assert isinstance(change, Hold)
    assert (change.reason, change.state) == ("output 'host' is not there", state)


def test_an_output_without_a_value_holds_the_secret_and_is_named_first():
    refs = {name: output.ref for name, output in ONE.outputs.outputs.items()}
    states = {refs["host"]: Missing(), refs["password"]: Unresolved("not in the store")}
    change = decide(ONE, None, states, OWNER, fresh_id=FRESH, settling=True)
    assert isinstance(change, Hold)
    assert change.reason == "output 'password': not in the store; output 'host' is not there"
    assert change.state is State.HELD


def test_an_output_nothing_uses_holds_nothing():
    one = wanted(output_set(CONTENTS), target(keys={"HOST": FromOutput("host")}))
    states = found(one.outputs, {"host": CONTENTS["host"]}) | {one.outputs.outputs["password"].ref: Missing()}
    assert isinstance(decide(one, None, states, OWNER, fresh_id=FRESH, settling=False), Create)


def test_a_template_that_cannot_be_filled_holds_the_secret_without_its_value():
    keys = {"A": FromTemplate((Placeholder("password", ("json",)),))}
    canary = b"\xffcanary-7f3e"
    change = decided(wanted(output_set(CONTENTS), target(keys=keys)), None, CONTENTS | {"password": canary})
    assert isinstance(change, Hold)
    assert "password" in change.reason
    assert "canary" not in repr(change)


def limited(**limits: int | None) -> Target:
    return target(capabilities=replace(CAPABILITIES, **limits))


@pytest.mark.bad_input(9)
@pytest.mark.parametrize(("extra", "fits"), [(0, True), (1, False)])
def test_a_secret_one_byte_over_one_mebibyte_in_total_is_held(extra, fits):
    contents = {"a": b"x" * (1 << 19), "b": b"x" * ((1 << 19) + extra)}
    change = decided(wanted(output_set(contents), kubernetes()), None, contents)
    assert isinstance(change, Create if fits else Hold)
    if isinstance(change, Hold):
        assert change.reason == "too large: 1048577 bytes, the sink takes 1048576 in one secret"


@pytest.mark.bad_input(9)
@pytest.mark.parametrize(("extra", "fits"), [(0, True), (1, False)])
def test_a_value_one_byte_over_the_sinks_limit_is_held_and_named(extra, fits):
    contents = {"a": b"x", "big": b"x" * (25_000 + extra)}
    aim = limited(max_value_bytes=25_000, max_secret_bytes=None)
    change = decided(wanted(output_set(contents), aim), None, contents)
    assert isinstance(change, Create if fits else Hold)
    if isinstance(change, Hold):
        assert change.reason == "too large: output 'big' has 25001 bytes, the sink takes 25000"


def test_a_plan_prints_no_value():
    assert "battery" not in repr(decided(ONE, None))
    assert SecretValue(b"battery staple") == THERE.data["password"]
