"""What is wrong with a configuration file, all of it at once.

Messages name files, lines, settings and what is allowed; never what was given, since that
may be a password in the wrong place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

FieldPath = tuple[str | int, ...]
"""Where a setting is: keys and positions from the top of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake, printed as `file:line: field: message`."""

    file: str
    line: int | None
    """Counted from 1; None where the file could not be read at all."""
    field: str
    """As `rules[0].targets[1].name`; empty for the file as a whole."""
    message: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (where, self.field, self.message) if part)


class ConfigError(Exception):
    """A configuration that cannot be used; one line of the message for each problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line or 0))
        super().__init__("\n".join(map(str, self.problems)))


def field_text(path: FieldPath) -> str:
    """A path as a user reads it: `rules[0].match.labels["a/b"]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step)}]"
    return text
