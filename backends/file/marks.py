"""The mark as a file: JSON, beside the values it is the mark of. Pure.

It is there before the values are, so it also names the keys that are to come.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from backends.contract import Mark
from backends.marking import mark_fields

MARK_FILE: Final = "..syncer.json"

UNREADABLE: Final = MappingProxyType({"format": ""})
"""What `marking.parse_mark` takes for a mark that nobody can read."""


def mark_bytes(mark: Mark, keys: Collection[str]) -> bytes:
    content = {**mark_fields(mark), "keys": sorted(keys)}
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


def announced_keys(fields: Mapping[str, object]) -> frozenset[str]:
    """The keys a mark file says its set has, or would have had."""
    keys = fields.get("keys")
    return frozenset(str(key) for key in keys) if isinstance(keys, list) else frozenset()


def found_fields(content: bytes) -> Mapping[str, object]:
    """The fields in a mark file, for `marking.parse_mark` to judge."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return UNREADABLE
    return found if isinstance(found, dict) else UNREADABLE
