"""Bytes as text, for sinks that keep text: UTF-8 as it is, anything else as base64. Pure.

Whoever stores the text also stores how it is to be read: nothing is ever guessed from it.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from backends.secret_value import SecretValue


@dataclass(frozen=True, slots=True)
class StoredText:
    """A value as a sink keeps it."""

    text: str = field(repr=False)
    is_base64: bool


def stored_text(value: SecretValue) -> StoredText:
    """The bytes as text; lossless."""
    content = value.reveal()
    try:
        return StoredText(content.decode(), is_base64=False)
    except UnicodeDecodeError:
        return StoredText(base64.b64encode(content).decode("ascii"), is_base64=True)


def read_text(text: str, *, is_base64: bool) -> SecretValue | None:
    """The bytes again; None where the text is not of that encoding."""
    try:
        return SecretValue(base64.b64decode(text, validate=True) if is_base64 else text.encode())
    except (binascii.Error, ValueError):
        return None
