"""What is said of an installation for a target that shows it.

Left out: selection (test_core_selection) and how a resource looks (tests/contract).
"""

from __future__ import annotations

import json
from dataclasses import replace

from core_world import CONTENTS, KEY, decided, kubernetes, output_set, policy, rule, target, written
from hypothesis import given
from hypothesis import strategies as st

from syncer.core.changes import State, Update
from syncer.core.describing import described
from syncer.core.mapping import Mapped, Unmappable, Wanted, map_target
from syncer.core.model import FromOutput, FromTemplate, OutputSet, Placeholder, Rule, Target

SHOWING = target(sink="resources", shows="cluster", parts=("{namespace}", "{installation}"))
CLUSTER = kubernetes(sink="cluster", parts=("{namespace}", "{installation}-outputs"))


def outputs(**sensitive: bool) -> OutputSet:
    found = output_set({name: name.encode() for name in sensitive})
    changed = {name: replace(one, sensitive=sensitive[name]) for name, one in found.outputs.items()}
    return replace(found, outputs=changed)


def shown(found: OutputSet, *others: Target | Rule) -> tuple[Wanted, list[Mapped]]:
    rules = [one if isinstance(one, Rule) else rule(one, name=f"rule-{one.sink}") for one in others]
    mapped = [
        one
        for each in (*rules, rule(SHOWING))
        for aim in each.targets
        for one in map_target(found, each, aim, policy())
    ]
    answer = list(described(mapped))
    (wanted,) = [one for one in answer if one.target.shows is not None]
    assert isinstance(wanted, Wanted)
    return wanted, answer


def said(wanted: Wanted) -> dict:
    return json.loads(wanted.description)


def test_every_output_is_named_and_only_plain_ones_are_read() -> None:
    wanted, _ = shown(outputs(host=False, password=True))
    assert said(wanted)["outputs"] == [
        {"name": "host", "type": "string", "sensitive": False},
        {"name": "password", "type": "string", "sensitive": True},
    ]
    assert [one.ref.name for one in wanted.used] == ["host"]
    assert wanted.keys == {"host": FromOutput("host")}


def test_an_installation_with_nothing_but_secrets_is_shown_too() -> None:
    wanted, _ = shown(outputs(password=True))
    assert wanted.keys == {}
    assert [one["name"] for one in said(wanted)["outputs"]] == ["password"]


def test_run_result_and_action_are_the_newest_ones() -> None:
    wanted, _ = shown(output_set({"host": b"x"}, number=7))
    assert {name: said(wanted)[name] for name in ("run", "result", "action")} == {
        "run": "run-0007",
        "result": "0007",
        "action": "upgrade",
    }


def test_an_output_is_found_in_the_secret_of_the_sink_that_is_shown() -> None:
    keys = {"PW": FromOutput("password"), "DSN": FromTemplate((Placeholder("host"),))}
    wanted, _ = shown(outputs(host=False, password=True), replace(CLUSTER, keys=keys), target(sink="vault"))
    host, password = said(wanted)["outputs"]
    assert "secret" not in host
    assert password["secret"] == {"address": f"{KEY.namespace}/{KEY.name}-outputs", "key": "PW"}
    assert said(wanted)["sinks"] == ["cluster", "vault"]
    assert "binding" not in said(wanted)


def test_a_secret_of_a_service_binding_type_is_the_binding() -> None:
    wanted, _ = shown(outputs(host=False), replace(CLUSTER, attributes={"type": "servicebinding.io/mysql"}))
    assert said(wanted)["binding"] == f"{KEY.namespace}/{KEY.name}-outputs"


def test_a_target_that_is_held_counts_as_a_sink_and_not_as_a_place() -> None:
    held = replace(CLUSTER, keys={"X": FromOutput("missing")})
    wanted, mapped = shown(outputs(password=True), held)
    assert any(isinstance(one, Unmappable) for one in mapped)
    assert said(wanted)["sinks"] == ["cluster"]
    assert "secret" not in said(wanted)["outputs"][0]


def test_of_two_secrets_the_one_beside_the_resource_is_named() -> None:
    far = kubernetes(sink="cluster", parts=("elsewhere", "{installation}-outputs"))
    wanted, _ = shown(outputs(password=True), rule(far, CLUSTER))
    assert said(wanted)["outputs"][0]["secret"]["address"] == f"{KEY.namespace}/{KEY.name}-outputs"


def test_what_shows_something_else_than_it_should_is_no_drift() -> None:
    one, _ = shown(output_set(CONTENTS), CLUSTER)
    change = decided(one, replace(written(one), intact=False))
    assert isinstance(change, Update)
    assert (change.state, change.reason) == (State.PENDING, "what is shown has changed")


def test_everything_that_is_said_is_part_of_the_revision() -> None:
    first, _ = shown(outputs(password=True), CLUSTER)
    same, _ = shown(outputs(password=True), CLUSTER)
    moved, _ = shown(outputs(password=True), replace(CLUSTER, keys={"PW": FromOutput("password")}))
    plain, _ = shown(outputs(password=False), CLUSTER)
    assert first.revision == same.revision
    assert len({first.revision, moved.revision, plain.revision}) == 3


def test_other_targets_stay_as_they_are() -> None:
    found = outputs(password=True)
    _, mapped = shown(found, CLUSTER)
    (before,) = map_target(found, rule(CLUSTER, name="rule-cluster"), CLUSTER, policy())
    assert mapped[0] == before


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.booleans(), min_size=1, max_size=6))
def test_a_sensitive_output_is_never_read_for_what_is_shown(sensitive: dict[str, bool]) -> None:
    wanted, _ = shown(outputs(**sensitive))
    assert {one.ref.name for one in wanted.used} == {name for name, secret in sensitive.items() if not secret}
    assert {one["name"]: one["sensitive"] for one in said(wanted)["outputs"]} == sensitive
