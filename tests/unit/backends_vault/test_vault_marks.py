"""Marks as custom metadata, as Vault bounds them: 64 entries, 512 bytes a value, none empty. No server."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import Refused
from backends.marking import mark_fields, parse_mark
from backends.vault.marks import (
    MAX_VALUE,
    PREFIX,
    base64_fields,
    custom_metadata,
    found_fields,
    own_names,
    own_versions,
    taken_back,
)
from tests.unit.backends_vault.vault_values import MARK, OWNER

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80)
optional = st.just("") | texts
versions = st.sets(st.integers(1, 500), max_size=60)
others = st.dictionaries(texts.filter(lambda name: not name.startswith(PREFIX)), texts, max_size=5)
marks = st.builds(
    replace, st.just(MARK), installation=texts, rule=texts, run_id=texts, namespace=optional, output=optional
)


def patched(custom, patch):
    """What a merge patch leaves: null takes away."""
    return {name: text for name, text in {**custom, **patch}.items() if text is not None}


@given(marks, versions, st.lists(texts, max_size=5), others)
def test_a_mark_comes_back_as_it_was_written_and_others_entries_stay(mark, numbers, binary, theirs):
    left = patched(theirs, custom_metadata(mark, numbers, binary, theirs))
    assert parse_mark(found_fields(left), mark.address, OWNER) == (mark, None)
    assert base64_fields(left) == set(binary)
    assert theirs.items() <= left.items()
    assert all(
        text and len(text.encode()) <= MAX_VALUE for name, text in left.items() if name.startswith(PREFIX)
    )


@given(marks, marks, st.lists(texts, min_size=1, max_size=40, unique=True))
def test_a_second_mark_leaves_nothing_of_the_first(first, second, binary):
    custom = patched({}, custom_metadata(first, (1,), binary, {}))
    left = patched(custom, custom_metadata(second, (2,), (), custom))
    assert left == patched({}, custom_metadata(second, (2,), (), {}))


@given(versions)
def test_versions_are_written_as_ranges_and_read_again(numbers):
    custom = patched({}, custom_metadata(MARK, numbers, (), {}))
    assert own_versions(custom) - {0} == numbers


@pytest.mark.parametrize(
    ("numbers", "text"),
    [((), "0"), ((1,), "1"), ((1, 2, 3, 5), "1-3,5"), ((9, 7, 8), "7-9"), ((2, 4), "2,4")],
)
def test_versions_are_written_short(numbers, text):
    assert custom_metadata(MARK, numbers, (), {})[f"{PREFIX}versions"] == text


def test_where_not_all_versions_fit_the_newest_are_kept():
    numbers = range(100_001, 103_000, 2)
    read = own_versions(patched({}, custom_metadata(MARK, numbers, (), {})))
    assert read < set(numbers)
    assert min(read) > max(set(numbers) - read)
    assert len(read) > 60


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("", set()), ("x", set()), ("1-", set()), ("-1", set()), ("1,x,3", {1, 3}), ("5-4", set()), ("١", set()), ("1 ", set()),
     ("2-3", {2, 3}), ("9999999999", set())],
)  # fmt: skip
def test_versions_that_cannot_be_read_prove_nothing(text, numbers):
    assert own_versions({f"{PREFIX}versions": text}) == numbers


def test_a_range_that_no_machine_can_hold_is_cut():
    assert len(own_versions({f"{PREFIX}versions": "1-999999999"})) == 10_001


def test_without_an_entry_there_are_no_versions_and_no_binary_fields():
    assert own_versions({}) == set()
    assert base64_fields({}) == set()


def test_many_names_of_binary_fields_are_spread_over_entries():
    names = [f"output-number-{number}-ключ" for number in range(200)]
    custom = patched({}, custom_metadata(MARK, (1,), names, {}))
    pieces = [name for name in custom if name.startswith(f"{PREFIX}base64")]
    assert len(pieces) > 10
    assert f"{PREFIX}base64-2" in pieces
    assert base64_fields(custom) == set(names)


def test_more_names_of_binary_fields_than_fit_are_refused():
    with pytest.raises(Refused, match="more names of binary outputs than the metadata of a secret takes"):
        custom_metadata(MARK, (1,), ["x" * 500] * 50, {})


@pytest.mark.parametrize("field", ["run_id", "rule", "result_id"])
def test_a_field_that_is_empty_and_could_not_be_read_back_is_refused_by_its_name(field):
    with pytest.raises(Refused, match=f"the mark's {field.replace('_', '-')} is empty"):
        custom_metadata(replace(MARK, **{field: ""}), (1,), (), {})


@pytest.mark.parametrize("field", ["installation", "rule", "instance", "namespace"])
def test_a_field_that_is_too_long_is_refused_by_its_name(field):
    long = replace(MARK, **{field: "ü" * 257})
    with pytest.raises(Refused, match=f"^{MARK.address}: the mark's {field} is too long for metadata$"):
        custom_metadata(long, (1,), (), {})
    custom_metadata(replace(MARK, **{field: "ü" * 256}), (1,), (), {})


@pytest.mark.parametrize(
    "text",
    ["", "no json", "{}", '{"a": 1}', "1", '"a"', "[", "[" * 512, "null", "[[], {}]", '["a"', "9" * 512],
)
def test_names_of_binary_fields_that_somebody_edited_break_nothing(text):
    found = base64_fields({f"{PREFIX}base64": text, f"{PREFIX}base64-2": text})
    assert all(isinstance(name, str) for name in found)


def test_lists_in_lists_over_all_entries_break_nothing():
    custom = {f"{PREFIX}base64": "[" * 512} | {f"{PREFIX}base64-{n}": "[" * 512 for n in range(2, 41)}
    assert base64_fields(custom) == set()


def test_somebody_elses_metadata_are_no_mark():
    theirs = {"team": "theirs", "instance": OWNER.instance, "format": "1", "outputs.porter.sh": "x"}
    assert found_fields(theirs) == {}
    assert own_names(theirs) == []
    assert parse_mark(found_fields(theirs), MARK.address, OWNER) == (None, "no mark")


@pytest.mark.parametrize("missing", sorted(set(mark_fields(MARK)) - {"namespace", "output", "format"}))
def test_a_mark_that_lacks_a_field_is_unreadable(missing):
    custom = patched({}, custom_metadata(MARK, (1,), (), {}))
    del custom[f"{PREFIX}{missing}"]
    assert parse_mark(found_fields(custom), MARK.address, OWNER) == (None, "unreadable mark")


@given(marks, others, st.booleans())
def test_a_claim_is_taken_back_without_a_trace(mark, theirs, marked):
    before = theirs
    if marked:
        before = patched(theirs, custom_metadata(replace(MARK, instance="other"), (1, 2), ("a",), theirs))
    claimed = patched(before, custom_metadata(mark, (), (), before))
    assert claimed != before
    assert patched(claimed, taken_back(claimed, before)) == before


def test_no_entry_holds_what_could_be_guessed_from():
    custom = custom_metadata(MARK, (1,), ("password",), {})
    fields = set(mark_fields(MARK)) | {"versions", "base64"}
    assert {name.removeprefix(PREFIX) for name in custom} <= fields
    assert json.loads(custom[f"{PREFIX}base64"] or "") == ["password"]
