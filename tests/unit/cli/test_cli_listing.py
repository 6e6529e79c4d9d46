"""Rows of installations, runs and outputs as text and data; no source is read."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.secret_value import SecretValue
from syncer.cli.listing import MASK, ShownOutput, masked, outputs_data, outputs_text, when
from syncer.core.rows import OutputRow

NOON = "2026-11-24T12:00:00Z"
AT_NOON = 1795521600.0


def shown(content: bytes | None, reason: str = "") -> ShownOutput:
    value = None if content is None else SecretValue(content)
    return ShownOutput(name="x", type="string", sensitive=True, value=value, reason=reason)


@given(st.binary())
def test_values_survive_json_whatever_they_are(content):
    [row] = outputs_data([shown(content)])
    if "encoding" in row:
        assert row["encoding"] == "base64"
        assert base64.b64decode(row["value"]) == content
    else:
        assert row["value"].encode() == content


def test_a_value_not_shown_is_masked_and_one_not_to_be_had_says_why():
    assert outputs_data([shown(None), shown(None, "is lost")]) == [
        {"name": "x", "type": "string", "sensitive": True, "value": MASK},
        {"name": "x", "type": "string", "sensitive": True, "value": None, "reason": "is lost"},
    ]
    assert outputs_text([shown(None), shown(None, "is lost")]).splitlines()[3:] == [
        "  x     string  ******",
        "  x     string  <is lost>",
    ]


def test_long_and_binary_values_are_cut_in_a_table():
    lines = outputs_text([shown(b"a" * 60), shown(b"a" * 61), shown(b"\xff\xfe")]).splitlines()[3:]
    assert lines[0].endswith("  " + "a" * 60)
    assert lines[1].endswith("  " + "a" * 57 + "...")
    assert lines[2].endswith("  <2 bytes that are no text>")


@pytest.mark.parametrize(("sensitive", "value"), [(True, MASK.encode()), (False, b"plain")])
def test_porters_rows_are_masked_in_their_own_shape(sensitive, value):
    row = masked(OutputRow(name="x", type="string", sensitive=sensitive, value=SecretValue(b"plain")))
    assert (row.name, row.sensitive, row.value.reveal()) == ("x", sensitive, value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "now"),
        (1, "1 second ago"),
        (59, "59 seconds ago"),
        (60, "1 minute ago"),
        (3599, "59 minutes ago"),
        (3600, "1 hour ago"),
        (86399, "23 hours ago"),
        (86400, "2026-11-24"),
        (-5, "2026-11-24"),
    ],
)
def test_times_are_relative_within_a_day(seconds, text):
    assert when(NOON, AT_NOON + seconds) == text


def test_times_are_stored_text_where_nobody_watches():
    assert when(NOON, None) == NOON
    assert when(None, AT_NOON) == ""
    assert when("soon", AT_NOON) == "soon"
