"""The marks of KV v1: a secret of its own beside the one it is about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.marking import mark_fields
from backends.secret_value import SecretValue
from backends.vault.sidecars import Pair, observed, sidecar, version_of
from tests.unit.backends_vault.vault_values import MARK, OWNER

KEY = b"key"
DATA = {"password": "canary"}
json_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
)


def seen(data=DATA, beside=None, address=MARK.address):
    beside = sidecar(MARK, ()) if beside is None else beside
    return observed(address, Pair(data=data, sidecar=beside), OWNER, KEY)


def test_nothing_is_there_only_where_both_are_absent():
    assert Pair(data=None, sidecar=None).is_absent
    assert not Pair(data={}, sidecar=None).is_absent
    assert not Pair(data=None, sidecar={}).is_absent


def test_a_mark_comes_back_with_the_values():
    found = seen({"password": "canary", "key": "/w=="}, sidecar(MARK, ["key"]))
    assert (found.mark, found.foreign, found.intact) == (MARK, None, True)
    assert found.data == {"password": SecretValue(b"canary"), "key": SecretValue(b"\xff")}


def test_data_without_a_mark_are_foreign_and_not_shown():
    found = observed(MARK.address, Pair(data=DATA, sidecar=None), OWNER, KEY)
    assert (found.foreign, found.mark, found.data, found.intact) == ("no mark", None, None, False)


def test_a_mark_without_data_is_ours_and_not_intact():
    found = observed(MARK.address, Pair(data=None, sidecar=sidecar(MARK, ())), OWNER, KEY)
    assert (found.ours, found.data, found.intact) == (True, {}, False)


def test_a_copied_mark_is_foreign():
    assert "names another address" in (seen(address="porter/shop/copy").foreign or "")


@pytest.mark.parametrize("names", [None, "password", 1, {"password": 1}])
def test_names_of_binary_fields_that_somebody_edited_break_nothing(names):
    assert seen(beside={**mark_fields(MARK), "base64": names}).data == {"password": SecretValue(b"canary")}


@given(st.dictionaries(st.sampled_from([*mark_fields(MARK), "base64", "other"]), json_values))
def test_whatever_is_in_a_sidecar_is_judged(beside):
    assert seen(beside=beside).ours is (beside == sidecar(MARK, ()))


def test_the_version_changes_with_either_and_with_nothing_else():
    pairs = [
        (DATA, {"a": 1}),
        ({"password": "other"}, {"a": 1}),
        (DATA, {"a": 2}),
        (None, {"a": 1}),
        (DATA, None),
    ]
    assert len({version_of(Pair(data=data, sidecar=beside), KEY).token for data, beside in pairs}) == len(
        pairs
    )
    swapped = [Pair(data={"a": "1", "b": "2"}, sidecar=None), Pair(data={"b": "2", "a": "1"}, sidecar=None)]
    assert len({version_of(pair, KEY).token for pair in swapped}) == 1


def test_lists_in_lists_in_lists_break_nothing():
    deep: list[object] = []
    for _ in range(5_000):
        deep = [deep]
    found = seen({"password": deep})
    assert (found.ours, found.data) == (True, {"password": SecretValue(b"")})


def test_the_version_cannot_be_compared_with_a_guess():
    pair = Pair(data=DATA, sidecar=None)
    assert version_of(pair, b"one") != version_of(pair, b"other")
    assert "canary" not in f"{pair!r} {version_of(pair, KEY)!r}"
