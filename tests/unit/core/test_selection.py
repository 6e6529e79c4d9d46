"""Which outputs are published: the latest successful ones, of this life, since the last uninstall.

Simulates installations of a few results as a source hands them over. Left out: what makes a
result succeeded, a declaration sensitive or an output internal (tests/unit/sources).
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_world import KEY, LIFE, content_of, digest_of, installation, result, rule
from hypothesis import given
from hypothesis import strategies as st

from syncer.core.model import (
    Declaration,
    Installation,
    InstallationKey,
    InstallationState,
    Match,
    OutputFilter,
    OutputSet,
    Quarantined,
    Result,
    Rule,
    Sensitivity,
)
from syncer.core.selection import Selected, Unborn, Withdrawn, Withheld, matches, select

NAMES = ("host", "port", "admin-password", "ca.crt")
ACTIONS = ("install", "upgrade", "status", "uninstall")


def published(one: Installation, under: Rule | None = None) -> OutputSet:
    selection = select(one, under or rule())
    assert isinstance(selection, Selected)
    return selection.outputs


def origins(one: Installation, under: Rule | None = None) -> dict[str, str]:
    return {name: output.ref.result_id for name, output in published(one, under).outputs.items()}


@st.composite
def histories(draw: st.DrawFn) -> list[Result]:
    """Results by number, oldest first, each with some outputs."""
    steps = draw(
        st.lists(st.tuples(st.sampled_from(ACTIONS), st.sets(st.sampled_from(NAMES))), min_size=1, max_size=8)
    )
    return [
        result(number, *sorted(names), action=action, modifies=action != "status")
        for number, (action, names) in enumerate(steps, start=1)
    ]


@st.composite
def living(draw: st.DrawFn) -> Installation:
    """An installation whose newest modifying result is no uninstall, with only some outputs declared."""
    history = [*draw(histories()), result(90, *draw(st.sets(st.sampled_from(NAMES))), action="upgrade")]
    if draw(st.booleans()):
        history.append(result(91, *draw(st.sets(st.sampled_from(NAMES))), action="status", modifies=False))
    declared = draw(
        st.dictionaries(
            st.sampled_from(NAMES), st.builds(Declaration, sensitive=st.booleans(), type=st.just("string"))
        )
    )
    return installation(*history, declared=declared)


def expected_origins(one: Installation) -> dict[str, str]:
    """The rule in other words: walk from the oldest, later results win, an uninstall forgets all."""
    latest: dict[str, str] = {}
    for step in reversed(one.results):
        if step.action == "uninstall":
            latest.clear()
        latest |= dict.fromkeys(step.outputs, step.id)
    return {name: origin for name, origin in latest.items() if name in one.declared}


@given(living())
def test_each_value_is_from_the_highest_result_that_has_it_since_the_last_uninstall(one: Installation):
    assert origins(one) == expected_origins(one)


@given(living())
def test_without_carry_over_only_the_latest_results_own_outputs_are_taken(one: Installation):
    newest = one.results[0]
    assert origins(one, rule(carry_over=False)) == {
        name: newest.id for name in newest.outputs if name in one.declared
    }


@given(living())
def test_the_set_names_the_newest_result_and_this_life(one: Installation):
    outputs = published(one)
    assert (outputs.key, outputs.id) == (KEY, LIFE)
    assert (outputs.result_id, outputs.run_id) == (one.results[0].id, one.results[0].run_id)


@given(living(), st.randoms(use_true_random=False))
def test_the_order_in_which_outputs_are_listed_does_not_matter(one: Installation, random):
    def shuffled(mapping):
        items = list(mapping.items())
        random.shuffle(items)
        return dict(items)

    other = replace(
        one,
        results=tuple(replace(step, outputs=shuffled(step.outputs)) for step in one.results),
        declared=shuffled(one.declared),
    )
    assert select(other, rule()) == select(one, rule())


@given(
    living(), st.sampled_from(Sensitivity), st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES))
)
def test_filters_take_away_and_never_add(one, sensitivity, include, exclude):
    chosen = OutputFilter(
        include=tuple(sorted(include)), exclude=tuple(sorted(exclude)), sensitivity=sensitivity
    )
    everything = published(one).outputs
    fits = {Sensitivity.ANY: {True, False}, Sensitivity.SENSITIVE: {True}, Sensitivity.PLAIN: {False}}
    assert published(one, rule(outputs=chosen)).outputs == {
        name: output
        for name, output in everything.items()
        if name in include - exclude and output.sensitive in fits[sensitivity]
    }


def test_a_carried_output_keeps_the_digest_and_run_of_the_result_that_made_it():
    output = published(installation(result(1, "ca.crt", action="install"), result(2, "host"))).outputs[
        "ca.crt"
    ]
    assert (output.ref.run_id, output.ref.digest) == ("run-0001", digest_of(content_of(1, "ca.crt")))


def test_include_and_exclude_are_globs_that_heed_case():
    one = installation(result(1, "DB_HOST", "DB_PORT", "db_host", "other"))
    chosen = OutputFilter(include=("DB_*",), exclude=("*_PORT",))
    assert origins(one, rule(outputs=chosen)) == {"DB_HOST": "0001"}


def test_what_a_newer_bundle_no_longer_declares_is_not_published():
    one = installation(
        result(1, "host", "legacy"), declared={"host": Declaration(sensitive=False, type="string")}
    )
    assert set(origins(one)) == {"host"}


def test_nothing_is_carried_across_an_uninstall():
    one = installation(
        result(1, "host", "token"), result(2, action="uninstall"), result(3, "host", action="install")
    )
    assert origins(one) == {"host": "0003"}


@pytest.mark.parametrize(
    ("one", "under", "lacking"),
    [
        (installation(result(1)), rule(), False),
        (installation(result(1, "host")), rule(), False),
        (installation(result(1, "host")), rule(outputs=OutputFilter(exclude=("*",))), True),
        (
            installation(result(1, "host"), result(2, action="status", modifies=False)),
            rule(carry_over=False),
            True,
        ),
    ],
)
def test_an_empty_set_is_told_apart_from_one_that_lacks_what_is_declared(one, under, lacking):
    selection = select(one, under)
    assert isinstance(selection, Selected)
    assert selection.lacking is lacking


@pytest.mark.bad_input(20)
@pytest.mark.parametrize(("newest", "taken_by"), [(True, Sensitivity.SENSITIVE), (False, Sensitivity.PLAIN)])
def test_a_sensitivity_filter_obeys_the_newest_declaration_also_for_carried_outputs(newest, taken_by):
    one = installation(
        result(1, "token"), result(2), declared={"token": Declaration(sensitive=newest, type="string")}
    )
    for sensitivity in (Sensitivity.SENSITIVE, Sensitivity.PLAIN):
        kept = origins(one, rule(outputs=OutputFilter(sensitivity=sensitivity)))
        assert kept == ({"token": "0001"} if sensitivity is taken_by else {})


def test_an_unreadable_installation_is_withheld_with_its_reason():
    assert select(Quarantined(key=KEY, reason="run 7: not a document"), rule()) == Withheld(
        "run 7: not a document"
    )


def test_an_uninstalled_installation_is_withdrawn_whatever_it_has_produced():
    one = installation(result(1, "host"), state=InstallationState.UNINSTALLED)
    assert select(one, rule()) == Withdrawn()


@pytest.mark.parametrize("results", [(), (result(1, "host", action="status", modifies=False),)])
def test_an_installation_no_modifying_run_has_succeeded_for_publishes_nothing_yet(results):
    assert select(installation(*results), rule()) == Unborn()


def test_an_uninstall_the_installation_does_not_admit_concludes_nothing():
    one = installation(result(1, "host"), result(2, action="uninstall"))
    selection = select(one, rule())
    assert isinstance(selection, Withheld)
    assert "uninstall" in selection.reason


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        (Match(), True),
        (Match(namespaces=("sh?p",), installations=("api", "ord*")), True),
        (Match(namespaces=("prod",)), False),
        (Match(installations=("Orders",)), False),
        (Match(labels={"team": "a"}), True),
        (Match(labels={"team": "a", "tier": "1"}), False),
        (Match(labels={"team": "b"}), False),
    ],
)
def test_a_rule_is_for_an_installation_when_namespace_name_and_all_labels_fit(match, fits):
    assert matches(match, KEY, {"team": "a", "extra": "x"}) is fits


def test_the_global_namespace_is_matched_by_a_star_and_by_the_empty_pattern():
    anywhere = InstallationKey("", "orders")
    assert matches(Match(namespaces=("*",)), anywhere, {})
    assert matches(Match(namespaces=("",)), anywhere, {})
    assert not matches(Match(namespaces=("?*",)), anywhere, {})


@pytest.mark.bad_input(33)
def test_odd_labels_are_compared_as_they_are_and_reach_nothing_else():
    labels = {f"label-{number}": "x" * 300 for number in range(1000)}
    labels |= {"outputs.porter.sh/instance": "another", "\u202e": "\x00"}
    assert matches(Match(labels={"\u202e": "\x00"}), KEY, labels)
    step = result(1, "host")
    assert select(installation(step, labels=labels), rule()) == select(installation(step), rule())
