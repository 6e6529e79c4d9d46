"""Durations as people write them: `2s`, `10m`, `1h30m`, `500ms`."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

LONGEST: Final = 1_000_000.0
"""Seconds; about eleven and a half days."""

PATTERN: Final = r"^(?=[0-9])([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?([0-9]{1,9}ms)?$"
_SECONDS: Final = (3600.0, 60.0, 1.0, 0.001)


def _seconds(text: object) -> float:
    match = re.fullmatch(PATTERN, text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("should be a duration with its unit, such as 30s, 10m, 1h30m or 500ms")
    counts = (int(re.sub("[a-z]", "", group)) if group else 0 for group in match.groups())
    seconds = sum(count * unit for count, unit in zip(counts, _SECONDS, strict=True))
    if seconds > LONGEST:
        raise ValueError(f"should be at most {LONGEST:.0f}s")
    return seconds


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("should be longer than 0s")
    return seconds


def duration_text(seconds: float) -> str:
    """The shortest way to write a duration: 600.0 is `10m`."""
    rest = round(seconds * 1000)
    text = ""
    for unit, thousandths in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, thousandths)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


DurationOrNone = Annotated[
    float,
    BeforeValidator(_seconds),
    WithJsonSchema({"type": "string", "pattern": PATTERN}),
]
"""Seconds, from text; may be 0s."""

Duration = Annotated[DurationOrNone, AfterValidator(_positive)]
"""Seconds, from text; more than 0s."""
