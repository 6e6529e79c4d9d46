"""Legal names of secrets in a key vault; a name is an address. Pure.

Azure compares names without case, so two that differ in case alone are one address.
"""

from __future__ import annotations

from typing import Final

from backends.errors import NameRefused
from backends.naming import Alphabet, first_legal

MAX_NAME: Final = 127

_LETTERS: Final = "-0-9a-zA-Z"
_NAMES: Final = (Alphabet(allowed=_LETTERS, edges=_LETTERS, max_length=MAX_NAME),)


class AzureKeyVaultNaming:
    """How this sink names things."""

    global_namespace: str | None = None

    def address(self, parts: tuple[str, ...]) -> str:
        """The secret's name. Raises `NameRefused`."""
        (name,) = parts
        return first_legal(name, _NAMES)

    def key(self, name: str) -> str:
        """As it is: a secret holds one value, and has no keys."""
        return name

    def same(self, address: str) -> str:
        return address.lower()


def same_name(one: str, other: str) -> bool:
    """Whether a vault takes both for the same name; what is no legal name is nobody's."""
    return _NAMES[0].fits(one) and _NAMES[0].fits(other) and one.lower() == other.lower()


def require_legal(name: str) -> None:
    """Raises `NameRefused` for what no secret can be called."""
    if not _NAMES[0].fits(name):
        raise NameRefused(f"{name!r} is not the name of a key vault's secret")
