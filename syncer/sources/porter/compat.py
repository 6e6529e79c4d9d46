"""Prints rows byte for byte as Porter's own commands do with `-o json`.

Pure. Porter's encoder is Go's: two spaces of indent, `<`, `>`, `&` and the line separators
escaped, every byte that is no UTF-8 replaced. Which rows there are is decided in `listing`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

from syncer.core.rows import InstallationRow, OutputRow, RunRow

_SHORT: Final = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPED: Final = re.compile('["\\\\\x00-\x1f<>&\u2028\u2029\ud800-\udfff]')
_LARGEST_PLAIN: Final = 1e21
_SMALLEST_PLAIN: Final = 1e-6


def installations_json(rows: Iterable[InstallationRow]) -> bytes:
    """`porter installations list -o json`."""
    return _document([_installation(row) for row in rows])


def runs_json(rows: Iterable[RunRow]) -> bytes:
    """`porter installations runs list NAME -o json`: without a run it is `null`."""
    return _document([_run(row) for row in rows] or None)


def outputs_json(rows: Iterable[OutputRow]) -> bytes:
    """`porter installations outputs list -o json`: the values themselves, sensitive ones too."""
    return _document([_output(row) for row in rows])


def _installation(row: InstallationRow) -> Mapping[str, object]:
    return {
        "schemaType": "Installation",
        "schemaVersion": row.schema_version,
        "id": row.id,
        "name": row.name,
        "namespace": row.namespace,
        **_present(uninstalled=row.uninstalled),
        "bundle": _present(**row.bundle),
        **({} if row.custom is None else {"custom": _sorted(row.custom)}),
        **_present(
            labels=_sorted(row.labels),
            credentialSets=list(row.credential_sets),
            parameterSets=list(row.parameter_sets),
        ),
        "status": row.status,
        "_calculated": {
            "resolvedParameters": None,
            "displayInstallationState": row.state.value,
            **_present(displayInstallationStatus=row.display_status),
        },
    }


def _run(row: RunRow) -> Mapping[str, object]:
    return {
        "id": row.id,
        **_present(bundle=row.bundle),
        "version": row.version,
        "action": row.action,
        "started": row.started,
        "stopped": row.stopped,
        "status": row.status,
    }


def _output(row: OutputRow) -> Mapping[str, object]:
    return {
        "name": row.name,
        "type": row.type,
        "sensitive": row.sensitive,
        "value": "" if row.value is None else row.value.reveal().decode("utf-8", "surrogateescape"),
    }


def _present(**fields: object) -> dict[str, object]:
    """As Go's `omitempty`."""
    return {name: value for name, value in fields.items() if value}


def _document(value: object) -> bytes:
    return ("".join(_pieces(value, "\n")) + "\n").encode()


def _pieces(value: object, line: str) -> Iterator[str]:
    match value:
        case None:
            yield "null"
        case bool():
            yield "true" if value else "false"
        case str():
            yield _text(value)
        case int() | float():
            yield _number(float(value))
        case Mapping():
            fields = [[f"{_text(str(name))}: ", *_pieces(item, f"{line}  ")] for name, item in value.items()]
            yield from _enclosed("{}", fields, line)
        case Sequence():
            yield from _enclosed("[]", [[*_pieces(item, f"{line}  ")] for item in value], line)
        case _:
            yield _text(str(value))


def _enclosed(brackets: str, items: Sequence[Sequence[str]], line: str) -> Iterator[str]:
    yield brackets[0]
    for position, item in enumerate(items):
        yield f"{',' if position else ''}{line}  "
        yield from item
    yield f"{line if items else ''}{brackets[1]}"


def _text(text: str) -> str:
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if "\ud800" <= character <= "\udfff":
        return "\\ufffd"  # what stands for a byte that was no UTF-8
    return _SHORT.get(character) or f"\\u{ord(character):04x}"


def _number(value: float) -> str:
    """As Go prints a float: plain in the middle, else with an exponent of as few digits as it takes."""
    if not math.isfinite(value):
        return "null"
    size = abs(value)
    if size != 0 and not _SMALLEST_PLAIN <= size < _LARGEST_PLAIN:
        mantissa, _, exponent = repr(value).partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent):+d}"
    return format(Decimal(repr(value)), "f").removesuffix(".0")


def _sorted(value: object) -> object:
    """Maps of whatever depth with their keys in Go's order."""
    match value:
        case Mapping():
            return {name: _sorted(value[name]) for name in sorted(value, key=_bytewise)}
        case list():
            return [_sorted(item) for item in value]
        case _:
            return value


def _bytewise(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
