"""Installations, runs and outputs as Porter's tables show them, and as our own data. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from backends.secret_value import SecretValue
from syncer.cli.formats import Data, shaped, table
from syncer.cli.options import OutputFormat
from syncer.core.rows import InstallationRow, OutputRow, RunRow

MASK: Final = "******"
_LONGEST_VALUE: Final = 60
"""Characters of a value in a table, as in Porter's."""
_UNITS: Final = ((3600, "hour"), (60, "minute"), (1, "second"))
_DAY: Final = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownOutput:
    """One output as it is printed."""

    name: str
    type: str
    sensitive: bool
    value: SecretValue | None
    """None: not to be shown, or not to be had; then `reason` says why."""
    reason: str = ""


def of_porter(output: OutputFormat, printed: bytes, plaintext: Callable[[], str]) -> str | bytes:
    """What Porter prints, byte for byte in JSON; the other formats are made to look like it."""
    if output == "json":
        return printed
    return shaped(output, lambda: json.loads(printed), plaintext)


def installations_text(rows: Sequence[InstallationRow], now: float | None) -> str:
    """`now` in seconds since 1970 gives "5 minutes ago"; None the time as it is stored."""
    return table(
        ("NAMESPACE", "NAME", "VERSION", "STATE", "STATUS", "MODIFIED"),
        [
            (
                row.namespace,
                row.name,
                row.status["bundleVersion"] or "",
                row.state.value,
                row.display_status,
                when(row.status["modified"], now),
            )
            for row in rows
        ],
    )


def runs_text(rows: Sequence[RunRow], now: float | None) -> str:
    """`now` as for `installations_text`."""
    return table(
        ("Run ID", "Action", "Started", "Stopped", "Status"),
        [(row.id, row.action, when(row.started, now), when(row.stopped, now), row.status) for row in rows],
    )


def outputs_text(rows: Sequence[ShownOutput]) -> str:
    """Values are cut, binary ones only described."""
    return table(("Name", "Type", "Value"), [(row.name, row.type, _cell(row)) for row in rows])


def outputs_data(rows: Sequence[ShownOutput]) -> Data:
    """Values as text, or in base64 with `encoding` where they are none."""
    return [_output(row) for row in rows]


def masked(row: OutputRow) -> OutputRow:
    """The same row in the same shape, without the value."""
    if not row.sensitive:
        return row
    return OutputRow(name=row.name, type=row.type, sensitive=True, value=SecretValue(MASK.encode()))


def when(text: str | None, now: float | None) -> str:
    """A stored time as Porter shows it: relative within a day, else the date."""
    if text is None or now is None:
        return text or ""
    try:
        age = int(now - datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        return text
    if not 0 <= age < _DAY:
        return text[:10]
    if age == 0:
        return "now"
    size, unit = next(one for one in _UNITS if age >= one[0])
    count = age // size
    return f"{count} {unit}{'' if count == 1 else 's'} ago"


def _output(row: ShownOutput) -> Data:
    shown: dict[str, Data] = {"name": row.name, "type": row.type, "sensitive": row.sensitive}
    if row.value is None:
        return {**shown, "value": None, "reason": row.reason} if row.reason else {**shown, "value": MASK}
    content = row.value.reveal()
    try:
        return {**shown, "value": content.decode()}
    except UnicodeDecodeError:
        return {**shown, "value": base64.b64encode(content).decode(), "encoding": "base64"}


def _cell(row: ShownOutput) -> str:
    if row.value is None:
        return f"<{row.reason}>" if row.reason else MASK
    try:
        text = row.value.reveal().decode()
    except UnicodeDecodeError:
        return f"<{len(row.value)} bytes that are no text>"
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."
