"""Tables, JSON and YAML made of plain data, whatever characters are in it."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from syncer.cli.formats import printable, shaped, table

CELLS = st.text(st.characters(codec=None), max_size=8)


def test_a_table_looks_like_porters():
    assert table(("NAME", "TYPE"), [("a", "string"), ("longer", "")]).splitlines() == [
        "------------------",
        "  NAME    TYPE",
        "------------------",
        "  a       string",
        "  longer",
    ]


@given(st.lists(st.tuples(CELLS, CELLS)))
def test_every_row_is_one_line_that_does_nothing_to_a_terminal(rows):
    lines = table(("A", "B"), rows).split("\n")
    assert len(lines) == 3 + len(rows) + 1
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("naïve 漢", "naïve 漢"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb", "a\\nb"),
        ("\u202e", "\\u202e"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_cannot_be_printed_is_escaped(text, shown):
    assert printable(text) == shown


def test_only_the_format_asked_for_is_made():
    def never():
        pytest.fail("not asked for")

    data = [{"name": "naïve", "keys": [1, None, True]}]
    assert shaped("plaintext", never, lambda: "text") == "text"
    assert json.loads(shaped("json", lambda: data, never)) == data
    assert yaml.safe_load(shaped("yaml", lambda: data, never)) == data
    assert "naïve" in shaped("json", lambda: data, never)
    assert "naïve" in shaped("yaml", lambda: data, never)
