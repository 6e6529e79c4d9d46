"""ULIDs, as far as they are needed: telling one, and when it says it was made."""

from __future__ import annotations

import re
from typing import Final, TypeGuard

_ULID: Final = re.compile("[0-7][0-9A-HJKMNP-TV-Z]{25}").fullmatch
_TIME_DIGITS: Final = 10
_CROCKFORD: Final = {digit: value for value, digit in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")}


def is_ulid(value: object) -> TypeGuard[str]:
    """26 upper-case Crockford digits that fit in 128 bits: such ids sort by age as text."""
    return type(value) is str and _ULID(value) is not None


def ulid_seconds(ulid: str) -> float:
    """When a ULID says it was made, in seconds since 1970, by the clock of its maker."""
    milliseconds = 0
    for digit in ulid[:_TIME_DIGITS]:
        milliseconds = milliseconds << 5 | _CROCKFORD[digit]
    return milliseconds / 1000
