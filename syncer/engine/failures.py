"""What may be said of a failure, and how long what nobody expected is left alone."""

from __future__ import annotations

from typing import Final

from backends.errors import SinkError
from syncer.core.errors import SourceError

SLOW: Final = 30.0
"""Seconds at least until what a right is missing for, or nobody expected, is tried again."""


def reason_of(error: BaseException) -> str:
    """One sentence, fit for users. NB: what a library says of its errors may quote a value."""
    if isinstance(error, SinkError | SourceError):
        return error.reason
    return f"unexpected {type(error).__name__}; its details may hold secrets and are not shown"
