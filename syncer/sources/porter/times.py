"""Times as Porter writes them: RFC 3339 text in the writer's own offset, down to nanoseconds.

Pure. `datetime` knows microseconds only, hence plain numbers. Times tell an installation's state
and order what Porter's commands print; results are never ordered by them.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

ZERO: Final = "0001-01-01T00:00:00Z"
"""What Go writes for a time that was never set."""

_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)", re.ASCII
)
_NANO: Final = 1_000_000_000
_LIMITS: Final = (23, 59, 59)


def nanoseconds(value: object) -> int | None:
    """A number that grows with time, equal for one moment in two offsets; None if it is no time."""
    match = _RFC3339.fullmatch(value) if type(value) is str else None
    if match is None:
        return None
    year, month, day, *clock = (int(match[group]) for group in range(1, 7))
    if any(part > limit for part, limit in zip(clock, _LIMITS, strict=True)):
        return None
    try:
        days = date(year, month, day).toordinal()
    except ValueError:
        return None
    hour, minute, second = clock
    seconds = ((days * 24 + hour) * 60 + minute) * 60 + second - _offset_seconds(match[8])
    return seconds * _NANO + int((match[7] or "0").ljust(9, "0"))


def normalised(value: object) -> str:
    """The same time as Go prints it: no trailing zeros, `Z` for offset zero; `ZERO` for none."""
    if type(value) is not str or (match := _RFC3339.fullmatch(value)) is None:
        return ZERO
    fraction = (match[7] or "").rstrip("0")
    offset = match[8] if _offset_seconds(match[8]) else "Z"
    return f"{value[:19]}{'.' + fraction if fraction else ''}{offset}"


def _offset_seconds(offset: str) -> int:
    if offset == "Z":
        return 0
    seconds = int(offset[1:3]) * 3600 + int(offset[4:6]) * 60
    return -seconds if offset[0] == "-" else seconds
