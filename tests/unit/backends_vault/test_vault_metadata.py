"""What metadata of KV v2 say: which versions live, whose they are, what the version token depends on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import SinkUnavailable
from backends.secret_value import SecretValue
from backends.vault.marks import PREFIX, custom_metadata
from backends.vault.metadata import Metadata, observed, parse_metadata, version_of
from tests.unit.backends_vault.vault_values import MARK, OWNER, answer, version

NOW = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
PAST, FUTURE = "2026-05-31T23:59:59.999999999Z", "2026-06-01T00:00:00.000001Z"


def parsed(versions=None, custom=None, **more) -> Metadata:
    return parse_metadata(answer(versions, custom, **more), now=NOW)


def marked(*numbers: int) -> dict[str, str]:
    return {name: text for name, text in custom_metadata(MARK, numbers, (), {}).items() if text is not None}


def test_versions_are_live_deleted_or_destroyed():
    versions = {
        "1": version(destroyed=True),
        "2": version(deleted=PAST),
        "3": version(deleted=FUTURE),
        "4": version(),
    }
    there = parsed(versions)
    assert (there.current, there.kept, there.live) == (4, {2, 3, 4}, {3, 4})
    assert there.is_live


@pytest.mark.parametrize("state", [version(destroyed=True), version(deleted=PAST)])
def test_what_can_be_read_no_more_is_not_live(state):
    there = parsed({"1": version(), "2": state}, marked(1, 2))
    assert not there.is_live
    assert not there.is_proven


def test_a_deletion_that_is_set_for_later_does_not_count_yet():
    assert parsed({"1": version(deleted=FUTURE)}, marked(1)).is_proven


def test_a_version_of_an_older_metadata_answer_is_none():
    there = parsed({}, None)
    assert (there.current, there.live, there.kept, there.custom) == (0, set(), set(), {})
    assert not there.is_live
    assert parse_metadata({"versions": None, "current_version": 0}, now=NOW) == there


@pytest.mark.parametrize(
    ("numbers", "proven", "own"),
    [((1, 2), True, {1, 2}), ((1,), False, {1}), ((), False, set()), ((2, 9), True, {2})],
)
def test_a_mark_proves_the_versions_it_names_and_no_others(numbers, proven, own):
    there = parsed({"1": version(), "2": version()}, marked(*numbers))
    assert (there.is_proven, there.own) == (proven, own)


def test_a_destroyed_version_is_nobodys():
    assert parsed({"1": version(destroyed=True), "2": version()}, marked(1, 2)).own == {2}


def test_openbao_counts_the_metadata_and_vault_does_not():
    assert parsed(current_metadata_version=3).revision == 3
    assert parsed(current_metadata_version=0).revision == 0
    assert parsed().revision is None
    assert parsed(current_metadata_version="3").revision is None


@given(st.integers(0, 10**9 - 1), st.booleans())
def test_times_are_read_in_whatever_precision_the_server_writes(nanoseconds, past):
    fraction = f".{nanoseconds:09}".rstrip("0").rstrip(".")
    time = f"{2025 if past else 2027}-06-01T00:00:00{fraction}Z"
    assert parsed({"1": version(deleted=time)}).is_live is not past


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"versions": {}},
        {"versions": [1], "current_version": 1},
        {"versions": {"x": version()}, "current_version": 1},
        {"versions": {"1": {}}, "current_version": 1},
        {"versions": {"1": None}, "current_version": 1},
        {"versions": {"1": version(deleted="yesterday")}, "current_version": 1},
        {"versions": {}, "current_version": None},
        {"versions": {}, "current_version": float("inf")},
        {"versions": {}, "current_version": 1, "custom_metadata": "text"},
    ],
)
def test_what_is_no_answer_about_metadata_is_unavailable_and_not_absent(data):
    with pytest.raises(SinkUnavailable, match="the answer is not that of a KV v2 engine") as caught:
        parse_metadata(data, now=NOW)
    assert caught.value.__suppress_context__


def test_ours_is_observed_with_its_values_and_intact():
    data = {"password": SecretValue(b"x")}
    seen = observed(MARK.address, parsed(custom=marked(1)), OWNER, data)
    assert (seen.mark, seen.foreign, seen.data, seen.intact) == (MARK, None, data, True)


def test_a_version_of_somebody_elses_under_our_mark_is_ours_but_not_intact():
    seen = observed(MARK.address, parsed({"1": version(), "2": version()}, marked(1)), OWNER, None)
    assert (seen.ours, seen.intact) == (True, False)


@pytest.mark.parametrize("custom", [None, {"team": "theirs"}, {f"{PREFIX}format": "99"}])
def test_of_what_is_foreign_no_value_is_shown(custom):
    seen = observed(MARK.address, parsed(custom=custom), OWNER, {"password": SecretValue(b"x")})
    assert not seen.ours
    assert (seen.data, seen.intact) == (None, False)


def test_a_copied_mark_is_foreign():
    seen = observed("porter/shop/copy", parsed(custom=marked(1)), OWNER, None)
    assert seen.foreign == "its mark names another address, 'porter/shop/orders'"


def test_the_version_token_changes_with_whatever_a_write_depends_on():
    base = Metadata(current=2, live=frozenset({1, 2}), kept=frozenset({1, 2}), custom={"a": "b"}, revision=1)
    changed = [
        base,
        replace(base, current=3),
        replace(base, live=frozenset({1})),
        replace(base, live=frozenset({1}), kept=frozenset({1})),
        replace(base, custom={"a": "c"}),
        replace(base, custom={}),
    ]
    assert len({version_of(one).token for one in changed}) == len(changed)


def test_the_version_token_is_the_same_for_the_same_however_it_was_read():
    base = Metadata(
        current=2, live=frozenset({1, 2}), kept=frozenset({1, 2}), custom={"a": "1", "b": "2"}, revision=7
    )
    pruned = replace(
        base, live=frozenset({2}), kept=frozenset({2}), custom={"b": "2", "a": "1"}, revision=None
    )
    assert version_of(base) == version_of(pruned)
