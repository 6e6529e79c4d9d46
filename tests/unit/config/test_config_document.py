"""What is taken as YAML at all, and that every path knows its line.

Left out: the meaning of the settings.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.clients.surroundings import Surroundings
from syncer.config.document import MAX_BYTES, Document, member, parse_document
from syncer.config.errors import ConfigError, field_text

HERE = Surroundings(folder=Path("/nowhere"), environ={})


def read(text: str | bytes) -> Document:
    return parse_document(text if isinstance(text, bytes) else text.encode(), "c.yaml", HERE)


def refusal(text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return str(caught.value)


def test_plain_data_and_lines() -> None:
    document = read("a: 1\nb:\n  - x\n  - c: {d: yes,\n        e: 1.5}\nf: ~\ng: 2024-01-01\n<<: merge\n")
    assert document.data == {
        "a": 1, "b": ["x", {"c": {"d": True, "e": 1.5}}], "f": None, "g": "2024-01-01", "<<": "merge",
    }  # fmt: skip
    lines = {(): 1, ("a",): 1, ("b",): 2, ("b", 0): 3, ("b", 1): 4, ("b", 1, "c", "e"): 5, ("f",): 6}
    assert {path: document.line(path) for path in lines} == lines


def test_a_setting_that_is_not_there_has_the_line_of_what_is_around_it() -> None:
    assert read("a: 1\nb:\n  c: 1\n").line(("b", "d", 3, "e")) == 2


def test_a_byte_order_mark_is_no_content() -> None:
    assert read(b"\xef\xbb\xbfa: 1\n").data == {"a": 1}


@pytest.mark.bad_input(39)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: !!python/object:os.system x\n", "c.yaml:2: tags (!name) are not allowed"),
        ("a: 1\nb: !!python/object/apply:os.system [x]\n", "c.yaml:2: tags (!name) are not allowed"),
        ("a: 1\nb: !mine {}\n", "c.yaml:2: tags (!name) are not allowed"),
        ("a: &x 1\n", "c.yaml:1: anchors (&name) are not allowed"),
        ("\na: *x\n", "c.yaml:2: aliases (*name) are not allowed"),
        ("a: 1\n---\nb: 1\n", "c.yaml:2: only one document is allowed"),
        ("a: 1\n  b: [\n", "c.yaml:2: is not YAML: mapping values are not allowed in this context"),
        (b"a: 1\nb: \xff\n", "c.yaml:2: is not UTF-8 text"),
        ("é: é\nb: \x01\n" + "c: 1\n" * 20, "c.yaml:2: is not YAML: a control character"),
        ("", "c.yaml:1: the file is empty"),
        ("# nothing\n", "c.yaml:1: the file is empty"),
        ("a" * (MAX_BYTES + 1), f"c.yaml: is larger than {MAX_BYTES} bytes"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_line(text: str | bytes, expected: str) -> None:
    assert refusal(text) == expected


@pytest.mark.bad_input(39)
def test_all_clever_places_are_named_up_to_a_limit() -> None:
    assert refusal("a: &x 1\nb: *x\n").splitlines() == [
        "c.yaml:1: anchors (&name) are not allowed",
        "c.yaml:2: aliases (*name) are not allowed",
    ]
    assert len(refusal("\n".join(f"a{number}: &x 1" for number in range(100))).splitlines()) == 20


@pytest.mark.bad_input(39)
def test_bombs_are_refused_at_once() -> None:
    levels = [f"a{number}: &a{number} [{','.join([f'*a{number - 1}'] * 9)}]" for number in range(1, 30)]
    started = time.monotonic()
    assert "c.yaml:1: anchors" in refusal("a0: &a0 [x]\n" + "\n".join(levels))
    assert "nested more than 32 deep" in refusal("a: " + "[" * 400_000)
    assert "nested more than 32 deep" in refusal("".join(f"{' ' * depth}a:\n" for depth in range(1000)))
    assert time.monotonic() - started < 5


@pytest.mark.bad_input(39)
def test_duplicate_and_odd_keys_are_noted_with_both_lines() -> None:
    document = read("a: 1\nb: 1\na: 2\n5: x\n[p]: y\nyes: z\n")
    assert document.data == {"a": 1, "b": 1}
    with pytest.raises(ConfigError) as caught:
        document.raise_problems()
    named = "a setting's name must be text (put it in quotes)"
    assert str(caught.value).splitlines() == [
        "c.yaml:3: a: is given twice, first on line 1",
        f'c.yaml:4: ["?"]: {named}', f'c.yaml:5: ["?"]: {named}', f'c.yaml:6: ["?"]: {named}',
    ]  # fmt: skip


def test_a_number_too_long_to_convert_stays_text() -> None:
    assert read("a: " + "9" * 5000).data == {"a": "9" * 5000}


def test_members() -> None:
    assert list(member({"a": 1}, "a")) == [1]
    assert list(member(["x"], 0)) == ["x"]
    assert [
        *member({"a": 1}, "b"),
        *member({"a": 1}, 0),
        *member(["x"], 1),
        *member(["x"], "0"),
        *member("x", 0),
    ] == []


def test_paths_as_users_read_them() -> None:
    assert field_text(("rules", 0, "match", "labels", "a/b", "", "x-y", "é\n")) == (
        'rules[0].match.labels["a/b"][""].x-y["\\u00e9\\n"]'
    )
    assert field_text(()) == ""


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_anything_else_parses_or_is_refused(text: str | bytes) -> None:
    with suppress(ConfigError):
        read(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
