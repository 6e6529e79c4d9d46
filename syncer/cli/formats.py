"""Turns plain data into text: JSON, YAML, and tables that look like Porter's. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import assert_never

import yaml

from syncer.cli.options import OutputFormat

Data = Mapping[str, "Data"] | Sequence["Data"] | str | int | bool | None

_GAP = "  "


def shaped(output: OutputFormat, data: Callable[[], Data], plaintext: Callable[[], str]) -> str:
    """The text for a format; only what the format needs is made."""
    match output:
        case "plaintext":
            return plaintext()
        case "json":
            return json.dumps(data(), indent=2, ensure_ascii=False) + "\n"
        case "yaml":
            return yaml.safe_dump(data(), sort_keys=False, allow_unicode=True)
        case _:
            assert_never(output)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rule, header, rule, and padded columns; what cannot be printed is escaped."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *shown, strict=True)]
    rule = "-" * (sum(widths) + len(_GAP) * (len(widths) + 1))
    return "\n".join([rule, _line(header, widths), rule, *(_line(row, widths) for row in shown)]) + "\n"


def printable(text: str) -> str:
    """Text that does nothing to a terminal: names and plain values come from a database."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return (_GAP + _GAP.join(padded)).rstrip()
