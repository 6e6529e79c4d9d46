"""How the sinks stand, as conditions, in any order of events. No server."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backends.contract import Condition
from backends.installation_outputs.conditions import are_current, conditions

known_one = st.builds(
    Condition,
    ok=st.booleans(),
    reason=st.sampled_from(["Synced", "Held", "Failed"]),
    message=st.text(max_size=5),
)
sinks = st.lists(st.sampled_from(["cluster", "vault", "file"]), unique=True)
knowledge = st.dictionaries(st.sampled_from(["cluster", "vault", "file"]), st.none() | known_one)
histories = st.lists(st.tuples(sinks, knowledge), min_size=1, max_size=6)


def told(history):
    """What stands there after each of these writes, a second apart; then what was written before."""
    standing, before = [], []
    for second, (named, known) in enumerate(history):
        before = standing
        standing = conditions(named, known, standing, now=f"{second}", generation=1)
    return standing, before


@given(histories)
def test_after_a_write_what_stands_there_is_current(history):
    standing, _ = told(history)
    assert are_current(history[-1][1], standing)
    assert are_current({}, standing)


@given(histories)
def test_there_is_one_condition_for_each_sink_that_is_named_and_ready(history):
    standing, _ = told(history)
    assert [one["type"] for one in standing] == ["Ready", *(f"Synced/{sink}" for sink in history[-1][0])]


@given(histories)
def test_it_is_ready_exactly_while_no_sink_is_known_to_fail(history):
    ready, *synced = told(history)[0]
    failing = [one["type"] for one in synced if one["status"] == "False"]
    assert (ready["status"], ready["reason"]) == (
        ("False", "SinkNotSynced") if failing else ("True", "OutputsShown")
    )
    assert all(kind.removeprefix("Synced/") in ready["message"] for kind in failing)


@given(histories)
def test_a_time_changes_exactly_with_the_status(history):
    standing, before = told(history)
    old = {one["type"]: one for one in before}
    now = f"{len(history) - 1}"
    for one in standing:
        there = old.get(one["type"])
        is_kept = there is not None and there["status"] == one["status"]
        assert one["lastTransitionTime"] == (there["lastTransitionTime"] if is_kept else now)


@given(histories, knowledge)
def test_what_is_known_otherwise_than_it_stands_there_is_not_current(history, known):
    standing, _ = told(history)
    stated = {one["type"]: (one["status"], one["reason"]) for one in standing}
    differs = any(
        stated[f"Synced/{sink}"] != (str(known[sink].ok), known[sink].reason)
        for sink in history[-1][0]
        if known.get(sink) is not None
    )
    assert are_current(known, standing) is not differs


def test_a_long_message_is_cut_to_what_the_definition_takes():
    known = {"vault": Condition(ok=False, reason="Failed", message="x" * 5000)}
    _, vault = conditions(["vault"], known, [], now="", generation=1)
    assert len(vault["message"]) == 1024
