"""Marks as text, and the one judgement whether a marked secret is ours.

Pure. Every sink stores the same fields, each under its own prefix and limits (`marks` of
the sink); the rule what counts as ours is written here once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Final

from backends.contract import Mark, Owner

FORMAT: Final = "1"
"""Version of the mark format. A mark of a newer one is read by nobody here: foreign."""

_FIELDS: Final = {field.name: field.name.replace("_", "-") for field in fields(Mark)}
FIELD_NAMES: Final = ("format", *_FIELDS.values())


def mark_fields(mark: Mark) -> dict[str, str]:
    """The mark as flat text: field name (kebab-case) to value, format version included."""
    return {"format": FORMAT} | {text: getattr(mark, name) for name, text in _FIELDS.items()}


def parse_mark(found: Mapping[str, object], address: str, owner: Owner) -> tuple[Mark | None, str | None]:
    """Read what was found at `address` and judge it: (mark, why it is foreign or None).

    Foreign is: no mark, a newer or unreadable one, another instance's, another address's.
    Another source's mark is still ours: what follows from it is the planner's decision.
    """
    if not any(name in found for name in FIELD_NAMES):
        return None, "no mark"
    version = found.get("format")
    if version != FORMAT:
        return None, f"mark format {version!r} is not known here" if version else "unreadable mark"
    values = {name: found.get(text) for name, text in _FIELDS.items()}
    if not all(isinstance(value, str) for value in values.values()):
        return None, "unreadable mark"
    mark = Mark(**values)  # type: ignore[arg-type]
    if mark.instance != owner.instance:
        return mark, f"marked by instance {mark.instance!r}"
    if mark.address != address:
        return mark, f"its mark names another address, {mark.address!r}"
    return mark, None
