"""Finds the kinds of sinks that are installed, ours and third parties'.

A kind is an entry point of the group `syncer.backends`: its name is the `kind` in the
configuration, its object a `contract.SinkKind`. Nothing is imported until it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from backends.contract import SinkKind

GROUP: Final = "syncer.backends"


def kinds() -> Mapping[str, str]:
    """Every kind by its name, with where it would be imported from (`module:object`)."""
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return {point.name: point.value for point in points}


def find_kind(name: str) -> SinkKind:
    """The kind of this name, imported now.

    Raises `LookupError` where there is none, where several packages claim the name, or where it
    cannot be imported, and `TypeError` where it is no such kind. The messages are fit for users.
    """
    points = tuple(entry_points(group=GROUP, name=name))
    if not points:
        raise LookupError(f"there is no kind of sink {name!r}; installed are: {', '.join(kinds()) or 'none'}")
    if len({point.value for point in points}) > 1:
        claims = ", ".join(sorted(point.value for point in points))
        raise LookupError(f"several packages offer the kind of sink {name!r}: {claims}")
    return _loaded(points[0])


def _loaded(point: EntryPoint) -> SinkKind:
    subject = f"the kind of sink {point.name!r} ({point.value})"
    try:
        kind = point.load()
    except (ImportError, AttributeError) as error:
        raise LookupError(f"{subject} cannot be imported: {error}") from error
    if not isinstance(kind, SinkKind):
        raise TypeError(f"{subject} is no backends.contract.SinkKind")
    if kind.kind != point.name:
        raise TypeError(f"{subject} calls itself {kind.kind!r}")
    return kind
