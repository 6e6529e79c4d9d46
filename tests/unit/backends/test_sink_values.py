"""What crosses between engine and sinks: secret values, marks, errors, preconditions. Pure."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import fields, replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import errors
from backends.contract import Absent, Mark, ObservedSecret, Owner, TakeOver, Unchanged, Version
from backends.errors import ForeignSecret, PreconditionFailed, Retry, SinkError, SinkUnavailable
from backends.file.marks import announced_keys, found_fields, mark_bytes
from backends.marking import FIELD_NAMES, FORMAT, mark_fields, parse_mark
from backends.preconditions import owner_of, require_removable, require_writable
from backends.secret_value import EMPTY_DIGEST, SecretValue

# --- secret values


@pytest.mark.parametrize("show", [repr, str, "{}".format, "%s".__mod__], ids=["repr", "str", "format", "%"])
def test_a_value_never_becomes_text(show: object) -> None:
    assert callable(show)
    try:
        shown = show(SecretValue(b"canary"))
    except TypeError as error:
        shown = str(error)
    assert "canary" not in shown


@pytest.mark.parametrize(
    "misuse",
    [
        lambda value: f"{value}",
        lambda value: f"{value:>10}",
        lambda value: json.dumps({"value": value}),
        pickle.dumps,
        lambda value: pickle.dumps(value, protocol=0),
        hash,
        lambda value: {value: 1},
        list,
        bytes,
        lambda value: value + b"",
        lambda value: value[0],
        lambda value: value < SecretValue(b"x"),
        int,
    ],
)
def test_a_value_refuses_what_could_copy_it_somewhere(misuse: object) -> None:
    assert callable(misuse)
    with pytest.raises(TypeError) as caught:
        misuse(SecretValue(b"canary"))
    assert "canary" not in str(caught.value)


def test_a_value_has_no_attributes_to_dump() -> None:
    value = SecretValue(b"canary")
    with pytest.raises(TypeError):
        vars(value)
    with pytest.raises(AttributeError):
        value.note = "x"  # type: ignore[attr-defined]


@given(st.binary(), st.binary())
def test_values_are_equal_when_their_bytes_are(first: bytes, second: bytes) -> None:
    value = SecretValue(first)
    assert (value == SecretValue(second)) is (first == second)
    assert value != first
    assert value.reveal() == first
    assert len(value) == len(first)
    assert value.matches(sha256(first).hexdigest())
    assert value.matches(sha256(second).hexdigest()) is (first == second)


def test_an_empty_value_is_a_value() -> None:
    assert SecretValue(b"")
    assert SecretValue(b"").matches(EMPTY_DIGEST)


def test_copies_of_a_value_are_itself() -> None:
    value = SecretValue(bytearray(b"canary"))
    assert copy.copy(value) is value
    assert copy.deepcopy({"key": value})["key"] is value


# --- marks

texts = st.text()
marks = st.builds(Mark, **{field.name: texts for field in fields(Mark)})


def owner(mark: Mark) -> Owner:
    return Owner(instance=mark.instance, source=mark.source)


@given(marks)
def test_a_mark_comes_back_and_is_ours(mark: Mark) -> None:
    assert parse_mark(mark_fields(mark), mark.address, owner(mark)) == (mark, None)


@given(marks, st.sets(texts))
def test_a_mark_comes_back_from_its_file(mark: Mark, keys: set[str]) -> None:
    found = found_fields(mark_bytes(mark, keys))
    assert parse_mark(found, mark.address, owner(mark)) == (mark, None)
    assert announced_keys(found) == keys


@given(marks)
def test_a_mark_of_another_source_is_ours_still(mark: Mark) -> None:
    other = Owner(instance=mark.instance, source=mark.source + "x")
    assert parse_mark(mark_fields(mark), mark.address, other) == (mark, None)


@given(marks, st.sampled_from(FIELD_NAMES))
def test_a_mark_that_lost_a_field_is_foreign(mark: Mark, lost: str) -> None:
    found = {name: text for name, text in mark_fields(mark).items() if name != lost}
    assert parse_mark(found, mark.address, owner(mark)) == (None, "unreadable mark")


@given(marks, st.sampled_from(FIELD_NAMES), st.one_of(st.none(), st.integers(), st.lists(st.text())))
def test_a_field_that_is_no_text_makes_a_mark_foreign(mark: Mark, name: str, value: object) -> None:
    parsed, foreign = parse_mark(mark_fields(mark) | {name: value}, mark.address, owner(mark))
    assert parsed is None
    assert foreign


@given(marks, texts)
def test_only_this_format_is_read(mark: Mark, version: str) -> None:
    parsed, foreign = parse_mark(mark_fields(mark) | {"format": version}, mark.address, owner(mark))
    assert (parsed is None, foreign is None) == (version != FORMAT, version == FORMAT)


@given(marks, texts)
def test_another_instance_and_another_address_are_foreign(mark: Mark, other: str) -> None:
    somebody = Owner(instance=mark.instance + other + "x", source=mark.source)
    parsed, foreign = parse_mark(mark_fields(mark), mark.address, somebody)
    assert parsed == mark
    assert foreign == f"marked by instance {mark.instance!r}"
    parsed, foreign = parse_mark(mark_fields(mark), mark.address + other + "x", owner(mark))
    assert parsed == mark
    assert foreign
    assert "another address" in foreign


def test_what_has_no_field_of_a_mark_is_not_marked() -> None:
    somebody = Owner(instance="a", source="b")
    assert parse_mark({}, "x", somebody) == (None, "no mark")
    assert parse_mark({"name": "x"}, "x", somebody) == (None, "no mark")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"1", b"\xff\xfe", b"[" * 200_000])
def test_a_file_that_is_no_mark_is_unreadable_and_raises_nothing(content: bytes) -> None:
    found = found_fields(content)
    assert parse_mark(found, "x", Owner(instance="a", source="b")) == (None, "unreadable mark")
    assert announced_keys(found) == frozenset()


# --- errors


def test_the_drawn_tree_of_errors_is_the_tree() -> None:
    assert errors.__doc__ is not None
    classes = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)
    ]
    assert len(classes) == 12
    for each in classes:
        assert each.__name__ in errors.__doc__
        assert each.__doc__


@pytest.mark.parametrize(
    ("error", "retry"),
    [
        (errors.SinkUnavailable, Retry.BACKOFF),
        (errors.Throttled, Retry.BACKOFF),
        (errors.AuthenticationFailed, Retry.SLOWLY),
        (errors.Forbidden, Retry.BACKOFF),
        (errors.PreconditionFailed, Retry.OBSERVE),
        (errors.OutcomeUnknown, Retry.OBSERVE),
        (errors.Refused, Retry.HOLD),
        (errors.ForeignSecret, Retry.HOLD),
        (errors.TargetUnavailable, Retry.HOLD),
        (errors.TooLarge, Retry.HOLD),
    ],
)
def test_an_error_says_how_it_is_retried(error: type[SinkError], retry: Retry) -> None:
    assert error.retry is retry
    raised = error("a reason", retry_after=1.5)
    assert (str(raised), raised.reason, raised.retry_after) == ("a reason", "a reason", 1.5)


def test_throttling_counts_as_unavailable_and_a_wrong_name_is_no_sink_error() -> None:
    assert issubclass(errors.Throttled, SinkUnavailable)
    assert not issubclass(errors.NameRefused, SinkError)


# --- preconditions

MARK = Mark(**dict.fromkeys((field.name for field in fields(Mark)), "x"))
OURS = ObservedSecret(address="x", version=Version("1"), mark=MARK, foreign=None)
FOREIGN = replace(OURS, foreign="no mark", mark=None)


@pytest.mark.parametrize(
    ("current", "expect", "error"),
    [
        (None, Absent(), None),
        (OURS, Absent(), PreconditionFailed),
        (FOREIGN, Absent(), ForeignSecret),
        (None, Unchanged(Version("1")), PreconditionFailed),
        (OURS, Unchanged(Version("1")), None),
        (OURS, Unchanged(Version("0")), PreconditionFailed),
        (FOREIGN, Unchanged(Version("1")), ForeignSecret),
        (None, TakeOver(Version("1")), PreconditionFailed),
        (FOREIGN, TakeOver(Version("1")), None),
        (FOREIGN, TakeOver(Version("0")), PreconditionFailed),
    ],
)
def test_an_expectation_decides_over_what_is_written(
    current: ObservedSecret | None, expect: Absent | Unchanged | TakeOver, error: type[SinkError] | None
) -> None:
    if error is None:
        require_writable(current, "x", expect)
        return
    with pytest.raises(error):
        require_writable(current, "x", expect)


def test_only_what_is_ours_and_unchanged_is_removed() -> None:
    require_removable(OURS, OURS)
    assert owner_of(OURS) == Owner(instance="x", source="x")
    with pytest.raises(PreconditionFailed):
        require_removable(replace(OURS, version=Version("2")), OURS)
    for foreign in (FOREIGN, replace(OURS, foreign="marked by instance 'y'")):
        with pytest.raises(ForeignSecret):
            require_removable(foreign, OURS)
        with pytest.raises(ForeignSecret):
            owner_of(foreign)
    with pytest.raises(ForeignSecret):
        owner_of(replace(OURS, mark=None))
