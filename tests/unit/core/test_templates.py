"""Templates are plain substitution: what they accept, what they make of bytes, what they say.

Left out: whether a rendered address is legal in a sink, and which variables a target may use
(tests/unit/config).
"""

from __future__ import annotations

import base64
import json
import traceback
from contextlib import suppress
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.secret_value import SecretValue
from syncer.core.model import FromTemplate, Placeholder
from syncer.core.templates import (
    ADDRESS_VARIABLES,
    TemplateError,
    address_variables,
    parse_address,
    parse_value,
    render_address,
    render_value,
)

CANARY = "canary-7f3e"
NAMES = st.text(st.characters(exclude_characters="{}|", codec="utf-8"), min_size=1, max_size=20)


def rendered(template: str, **values: bytes) -> bytes:
    named = {name: SecretValue(value) for name, value in values.items()}
    return render_value(parse_value(template), named).reveal()


# --- addresses


def test_an_address_is_filled_from_metadata() -> None:
    values = {name: name.upper() for name in ADDRESS_VARIABLES}
    text = "a-{namespace}.{installation}_{output}{rule}-{instance}z"
    assert render_address(text, values) == "a-NAMESPACE.INSTALLATION_OUTPUTRULE-INSTANCEz"
    assert address_variables(text) == set(ADDRESS_VARIABLES)
    assert address_variables("fixed") == frozenset()


def test_what_fills_an_address_is_not_read_as_a_template() -> None:
    assert render_address("{namespace}", {"namespace": "{rule}"}) == "{rule}"


@pytest.mark.bad_input(42)
@pytest.mark.parametrize(
    "text",
    [
        "{password}", "{}", "{0}", "{ namespace }", "{namespace.__class__}", "{namespace[0]}", "{namespace!r}",
        "{namespace:>10}", "{namespace|upper}", "{{namespace}}", "{namespace", "namespace}", "}{", "{Namespace}",
        "{namespace}}", "{{", "${namespace()}{",
    ],
)  # fmt: skip
def test_anything_but_a_known_variable_in_braces_is_refused(text: str) -> None:
    with pytest.raises(TemplateError):
        parse_address(text)


@given(st.lists(st.sampled_from([*(f"{{{name}}}" for name in ADDRESS_VARIABLES), "a", "-", "/", "é", ".."])))
def test_a_variable_that_stands_for_itself_changes_nothing(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert render_address(text, {name: f"{{{name}}}" for name in ADDRESS_VARIABLES}) == text


# --- value templates


def test_a_dsn_is_composed_of_outputs() -> None:
    found = rendered(
        "mysql://app:{password|urlencode}@{host}:{port}/", password=b"a b/@", host=b"db", port=b"3306"
    )
    assert found == b"mysql://app:a%20b%2F%40@db:3306/"


def test_an_output_name_is_all_up_to_a_bar_or_brace() -> None:
    assert parse_value("{tls/key número 1|trim|base64}x") == FromTemplate(
        (Placeholder("tls/key número 1", ("trim", "base64")), "x")
    )


def test_doubled_braces_are_literal() -> None:
    assert parse_value("{{{a}}}") == FromTemplate(("{", Placeholder("a"), "}"))
    assert parse_value("{{a}}") == FromTemplate(("{a}",))
    assert parse_value("") == FromTemplate(())


@pytest.mark.parametrize(
    "text",
    ["{", "}", "{a", "a}", "{a}}", "{{a}", "{a{b}}", "{}", "{|trim}", "{a|}", "{a|reverse}", "{a|trim }",
     "{a|pointer}", "{a|pointer:b}", "{a|pointer:/~2}", "{a|upper()}"],
)  # fmt: skip
def test_a_broken_value_template_is_refused_by_position(text: str) -> None:
    with pytest.raises(TemplateError, match=r"character [1-4]\b"):
        parse_value(text)


def test_a_parse_error_does_not_repeat_the_template() -> None:
    with pytest.raises(TemplateError) as caught:
        parse_value(f"mysql://{CANARY}:{{{CANARY}|{CANARY}}}")
    assert CANARY not in str(caught.value)


@given(
    st.lists(st.one_of(NAMES.map(Placeholder), st.text(st.characters(codec="utf-8"), min_size=1)), max_size=6)
)
def test_parsing_reads_back_what_was_written(pieces: list[str | Placeholder]) -> None:
    text = "".join(
        piece.replace("{", "{{").replace("}", "}}") if isinstance(piece, str) else f"{{{piece.output}}}"
        for piece in pieces
    )
    values = {piece.output: f"<{piece.output}>" for piece in pieces if isinstance(piece, Placeholder)}
    expected = "".join(piece if isinstance(piece, str) else values[piece.output] for piece in pieces)
    secrets = {name: SecretValue(value.encode()) for name, value in values.items()}
    assert render_value(parse_value(text), secrets).reveal() == expected.encode()


@given(st.text())
def test_any_text_parses_or_is_refused_as_a_template(text: str) -> None:
    with suppress(TemplateError):
        parse_value(text)


# --- filters


@given(st.binary())
def test_without_a_filter_bytes_stay_as_they_are(content: bytes) -> None:
    assert rendered("{a}", a=content) == content


@given(st.binary())
def test_byte_filters_lose_nothing(content: bytes) -> None:
    assert base64.b64decode(rendered("{a|base64}", a=content), validate=True) == content
    encoded = rendered("{a|urlencode}", a=content)
    assert unquote_to_bytes(encoded) == content
    assert set(encoded) <= set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%")


@given(st.text(st.characters(codec="utf-8")))
def test_json_gives_a_string_literal_with_its_quotes(text: str) -> None:
    assert json.loads(rendered("{a|json}", a=text.encode())) == text
    assert json.loads(rendered('{{"k": {a|json}}}', a=text.encode())) == {"k": text}


def test_trim_takes_ascii_whitespace_at_both_ends_only() -> None:
    assert rendered("{a|trim}", a=b" \r\n\ta b\n\x0b\x0c\n") == b"a b"
    assert rendered("{a|trim}", a="\u00a0x\u00a0".encode()) == "\u00a0x\u00a0".encode()


def test_upper_and_lower_know_letters_beyond_ascii() -> None:
    assert rendered("{a|upper}{a|lower}", a="Größe".encode()) == "GRÖSSEgröße".encode()


def test_filters_apply_from_left_to_right() -> None:
    assert rendered("{a|base64|lower}", a=b"Hi") == b"sgk="
    assert rendered("{a|lower|base64}", a=b"Hi") == base64.b64encode(b"hi")


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("/user/name", "ann é"),
        ("/ports/1", "3307"),
        ("/ports", "[3306,3307]"),
        ("/user", '{"name":"ann é","admin":true}'),
        ("/digits", "12345678901234567890.10e2"),
        ("/nothing", "null"),
        ("/a~1b/~0", "escaped"),
        ("/~01", "escaped twice"),
        ("/", "empty name"),
        ("/empty", ""),
    ],
)
def test_pointer_takes_one_value_out_of_json(pointer: str, expected: str) -> None:
    content = (
        '{"user": {"name": "ann é", "admin": true}, "ports": [3306, 3307], "digits": 12345678901234567890.10e2,'
        ' "nothing": null, "a/b": {"~": "escaped"}, "~1": "escaped twice", "": "empty name", "empty": ""}'
    )
    assert rendered(f"{{a|pointer:{pointer}}}", a=content.encode()).decode() == expected


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner)))  # fmt: skip
def test_a_pointer_to_the_whole_keeps_the_value(value: object) -> None:
    found = rendered("{a|pointer:}", a=json.dumps(value).encode()).decode()
    assert (found if isinstance(value, str) else json.loads(found)) == value


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("json", b"\xff" + CANARY.encode()),
        ("upper", b"\xff" + CANARY.encode()),
        ("lower", b"\xff" + CANARY.encode()),
        ("pointer:/a", b"\xff" + CANARY.encode()),
        ("pointer:/a", f'{{"b": "{CANARY}"}}'.encode()),
        ("pointer:/a", f'{{"a": "{CANARY}", "a": 1}}'.encode()),
        ("pointer:/a", f'"{CANARY}'.encode()),
        ("pointer:/a/00", f'{{"a": ["{CANARY}"]}}'.encode()),
        ("pointer:/a/1", f'{{"a": ["{CANARY}"]}}'.encode()),
        ("pointer:/a", f'{{"a": ["{CANARY}", NaN]}}'.encode()),
        ("pointer:/a", CANARY.encode() + b"[" * 200_000),
        ("pointer:", b"[" * 200_000),
    ],
)
def test_a_filter_that_fails_names_output_and_filter_never_the_value(name: str, content: bytes) -> None:
    with pytest.raises(TemplateError) as caught:
        rendered(f"{{admin-password|{name}}}", **{"admin-password": content})
    assert "'admin-password'" in caught.value.reason
    assert f"'{name}'" in caught.value.reason
    assert CANARY not in "".join(traceback.format_exception(caught.value, chain=True))
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None


def test_an_output_that_is_not_there_is_named() -> None:
    with pytest.raises(TemplateError, match="'host'"):
        rendered("{host}", port=b"1")
