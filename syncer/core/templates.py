"""The two kinds of templates: addresses, filled from metadata, and values, filled from outputs.

Plain substitution with a fixed list of filters; no expressions, functions or loops. Which
variables a target may use, and whether an address is legal in a sink, is checked elsewhere.
Nothing here ever puts a value into a message, and no error that could hold one is chained.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NoReturn
from urllib.parse import quote_from_bytes

from backends.secret_value import SecretValue
from syncer.core.model import FromTemplate, Placeholder

ADDRESS_VARIABLES: Final = ("namespace", "installation", "output", "rule", "instance")
POINTER: Final = "pointer:"
"""Prefix of the one filter that takes an argument, a JSON pointer (RFC 6901)."""

_POINTER_FORM: Final = re.compile(r"(?:/(?:[^~/]|~[01])*)*")


class TemplateError(ValueError):
    """A template that cannot be parsed or filled. `reason` never holds a value."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


# --- addresses -----------------------------------------------------------------------------


def parse_address(text: str) -> tuple[str, ...]:
    """Split one part of an address: text at even positions, variable names at odd ones.

    Raises `TemplateError` for anything in braces that is not exactly one of
    `ADDRESS_VARIABLES`. There is no escape for braces: no sink has them in an address.
    """
    pieces = tuple(re.split(r"\{([^{}]*)\}", text))
    for literal in pieces[::2]:
        if "{" in literal or "}" in literal:
            raise TemplateError("has a brace that is not closed or not opened")
    for variable in pieces[1::2]:
        if variable not in ADDRESS_VARIABLES:
            known = " ".join(f"{{{name}}}" for name in ADDRESS_VARIABLES)
            raise TemplateError(f"only these may be used in an address, written exactly so: {known}")
    return pieces


def address_variables(text: str) -> frozenset[str]:
    """Which variables one part of an address uses. Raises `TemplateError`."""
    return frozenset(parse_address(text)[1::2])


def render_address(text: str, values: Mapping[str, str]) -> str:
    """Fill one part of an address; `values` has an entry for each variable it uses."""
    pieces = parse_address(text)
    return "".join(values[piece] if index % 2 else piece for index, piece in enumerate(pieces))


# --- values --------------------------------------------------------------------------------


def parse_value(text: str) -> FromTemplate:
    """Read a value template: text, `{output}`, `{output|filter|filter}`, `{{` and `}}`.

    An output's name is everything up to the first `|` or `}`, spaces included; names that
    hold a brace or a `|` cannot be used. Raises `TemplateError` with the position, never the
    text: what surrounds a mistake may be a password.
    """
    return FromTemplate(tuple(_join_text(_pieces(text))))


def _pieces(text: str) -> Iterator[str | Placeholder]:
    position = 0
    while position < len(text):
        if text.startswith(("{{", "}}"), position):
            yield text[position]
            position += 2
        elif text[position] == "}":
            raise TemplateError(
                f"the '}}' at character {position + 1} closes nothing (a literal one is '}}}}')"
            )
        elif text[position] == "{":
            end = _closing(text, position)
            yield _placeholder(text[position + 1 : end], position)
            position = end + 1
        else:
            end = _next_brace(text, position)
            yield text[position:end]
            position = end


def _closing(text: str, start: int) -> int:
    end = _next_brace(text, start + 1)
    if not text.startswith("}", end):
        raise TemplateError(f"the '{{' at character {start + 1} is not closed (a literal one is '{{{{')")
    return end


def _next_brace(text: str, position: int) -> int:
    found = re.compile(r"[{}]").search(text, position)
    return len(text) if found is None else found.start()


def _placeholder(inside: str, position: int) -> Placeholder:
    output, *filters = inside.split("|")
    if not output:
        raise TemplateError(f"the placeholder at character {position + 1} names no output")
    if not all(map(_is_filter, filters)):
        known = ", ".join(FILTERS)
        raise TemplateError(
            f"the placeholder at character {position + 1} has a filter that is not one of {known}"
        )
    return Placeholder(output, tuple(filters))


def _is_filter(name: str) -> bool:
    if name.startswith(POINTER):
        return _POINTER_FORM.fullmatch(name.removeprefix(POINTER)) is not None
    return name in _SIMPLE_FILTERS


def _join_text(pieces: Iterator[str | Placeholder]) -> Iterator[str | Placeholder]:
    text = ""
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
            continue
        if text:
            yield text
        text = ""
        yield piece
    if text:
        yield text


def render_value(template: FromTemplate, values: Mapping[str, SecretValue]) -> SecretValue:
    """Fill a value template with outputs of one installation, byte for byte.

    Raises `TemplateError` naming the output, and the filter that could not work on it.
    """
    return SecretValue(b"".join(_filled(piece, values) for piece in template.pieces))


def _filled(piece: str | Placeholder, values: Mapping[str, SecretValue]) -> bytes:
    if isinstance(piece, str):
        return piece.encode()
    if piece.output not in values:
        raise TemplateError(f"output {piece.output!r} is not there")
    content = values[piece.output].reveal()
    for name in piece.filters:
        try:
            content = _apply(name, content)
        except (ValueError, RecursionError) as error:
            why = error.reason if isinstance(error, TemplateError) else _WHY[name.partition(":")[0]]
            # NB: never chained, decoding errors carry the bytes they failed on
            raise TemplateError(f"output {piece.output!r}, filter {name!r}: {why}") from None
    return content


# --- filters -------------------------------------------------------------------------------

_NOT_TEXT: Final = "the value is not UTF-8 text"
_WHY: Final = {
    "json": _NOT_TEXT,
    "upper": _NOT_TEXT,
    "lower": _NOT_TEXT,
    "pointer": "the value is not JSON",
}
_SIMPLE_FILTERS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "base64": base64.b64encode,
    "urlencode": lambda content: quote_from_bytes(content, safe="").encode(),
    "json": lambda content: json.dumps(content.decode(), ensure_ascii=False).encode(),
    "trim": bytes.strip,
    "upper": lambda content: content.decode().upper().encode(),
    "lower": lambda content: content.decode().lower().encode(),
}
FILTERS: Final = (*_SIMPLE_FILTERS, f"{POINTER}/a/b")
"""As a user writes them."""


def _apply(name: str, content: bytes) -> bytes:
    if name.startswith(POINTER):
        return _point(content, name.removeprefix(POINTER)).encode()
    return _SIMPLE_FILTERS[name](content)


class _Number(str):
    """A JSON number as it was written: converting it could round a password of digits."""

    __slots__ = ()


_Json = dict[str, "_Json"] | list["_Json"] | str | bool | None


def _point(content: bytes, pointer: str) -> str:
    """The value at a JSON pointer: a text as it is, anything else as compact JSON."""
    node: _Json = json.loads(
        content.decode(),
        parse_int=_Number,
        parse_float=_Number,
        parse_constant=_refuse_constant,
        object_pairs_hook=_unambiguous,
    )
    for token in pointer.split("/")[1:]:
        node = _child(node, token.replace("~1", "/").replace("~0", "~"))
    return node if isinstance(node, str) else _compact(node)


def _child(node: _Json, token: str) -> _Json:
    if isinstance(node, dict) and token in node:
        return node[token]
    index = re.fullmatch(r"0|[1-9][0-9]{0,8}", token)
    if isinstance(node, list) and index and int(token) < len(node):
        return node[int(token)]
    raise TemplateError("the JSON has nothing there")


def _compact(node: _Json) -> str:
    match node:
        case dict():
            return "{" + ",".join(f"{_compact(key)}:{_compact(child)}" for key, child in node.items()) + "}"
        case list():
            return "[" + ",".join(map(_compact, node)) + "]"
        case _Number():
            return node
        case _:
            return json.dumps(node, ensure_ascii=False)


def _unambiguous(pairs: list[tuple[str, _Json]]) -> dict[str, _Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise TemplateError("the JSON has the same name twice")
    return members


def _refuse_constant(_: str) -> NoReturn:
    raise TemplateError("the value is not JSON")
