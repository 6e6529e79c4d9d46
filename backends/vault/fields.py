"""Values as the fields of a KV secret, which are text. Pure.

A value leaves for text, and comes back from it, here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from backends.secret_value import SecretValue
from backends.texts import read_text, stored_text


@dataclass(frozen=True, slots=True)
class Fields:
    """What is sent, and which fields of it are base64."""

    texts: Mapping[str, str] = field(repr=False)
    base64: tuple[str, ...]
    """Sorted names."""


def encoded(data: Mapping[str, SecretValue]) -> Fields:
    stored = {key: stored_text(value) for key, value in data.items()}
    binary = sorted(key for key, one in stored.items() if one.is_base64)
    return Fields({key: one.text for key, one in stored.items()}, tuple(binary))


def decoded(found: Mapping[str, object], base64: Collection[str]) -> dict[str, SecretValue]:
    """Fields that somebody may have changed: what is not as we write it is taken as it is."""
    return {key: _decoded(value, is_base64=key in base64) for key, value in found.items()}


def _decoded(value: object, *, is_base64: bool) -> SecretValue:
    text = value if isinstance(value, str) else _shown(value)
    return read_text(text, is_base64=is_base64) or SecretValue(text.encode("utf-8", "surrogatepass"))


def _shown(value: object) -> str:
    try:
        return repr(value)
    except RecursionError:
        return ""
