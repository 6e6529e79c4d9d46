"""Values as the fields of a KV secret: text as it is, bytes as base64, and whatever somebody else put there."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.secret_value import SecretValue
from backends.vault.fields import decoded, encoded

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
contents = st.dictionaries(
    names, st.binary(max_size=60) | st.text(max_size=60).map(lambda t: t.encode("utf-8", "replace"))
)


def values(data):
    return {name: SecretValue(content) for name, content in data.items()}


@given(contents)
def test_bytes_come_back_as_they_were_written(data):
    fields = encoded(values(data))
    sent = json.loads(json.dumps(fields.texts))
    assert decoded(sent, fields.base64) == values(data)


def test_text_stays_text_and_what_is_none_is_named():
    fields = encoded(values({"z": b"\xff", "text": "ü\n\0".encode(), "a": b"\x80", "empty": b""}))
    assert fields.texts == {"z": "/w==", "text": "ü\n\0", "a": "gA==", "empty": ""}
    assert fields.base64 == ("a", "z")


def test_no_repr_shows_a_value():
    assert "canary" not in repr(encoded(values({"password": b"canary"})))


@pytest.mark.parametrize(
    ("found", "content"),
    [("text", b"text"), (1, b"1"), (None, b"None"), ({"a": "b"}, b"{'a': 'b'}"), ("\ud800", b"\xed\xa0\x80")],
)
def test_what_somebody_else_wrote_is_taken_as_it_is(found, content):
    assert decoded({"k": found}, ()) == {"k": SecretValue(content)}


@pytest.mark.parametrize("found", ["no base64!", "ключ", "a"])
def test_what_should_be_base64_and_is_not_is_taken_as_text(found):
    assert decoded({"k": found}, {"k"}) == {"k": SecretValue(found.encode())}
    assert decoded({"k": base64.b64encode(b"\xff").decode()}, {"k"}) == {"k": SecretValue(b"\xff")}


def test_lists_in_lists_in_lists_break_nothing():
    deep: list[object] = []
    for _ in range(5_000):
        deep = [deep]
    assert decoded({"k": deep}, ()) == {"k": SecretValue(b"")}
