"""Turns any name into one a sink accepts, the same way in every sink.

Pure. A legal name stays as it is; where letters merely have to be lowered, or `_` and `.`
become `-`, nothing is appended; every harder change ends in `-` and eight hex digits of the
original's SHA-256, so that two names do not meet by accident. Meeting on purpose or by
lowering is still possible: collisions are found by the mapping, not here.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from backends.errors import NameRefused

_DIGEST_LENGTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Alphabet:
    """What a sink allows in a name. Character sets are written as inside `[...]`."""

    allowed: str
    edges: str
    """Allowed as the first and the last character."""
    max_length: int
    reserved: str | None = None
    """Names of only allowed characters that are refused all the same (a full-match pattern)."""

    def fits(self, name: str) -> bool:
        if not 0 < len(name) <= self.max_length:
            return False
        if self.reserved is not None and re.fullmatch(self.reserved, name):
            return False
        pattern = f"[{self.edges}](?:[{self.allowed}]*[{self.edges}])?"
        return re.fullmatch(pattern, name, re.ASCII) is not None

    def allows(self, characters: str) -> bool:
        return re.fullmatch(f"[{self.allowed}]+", characters, re.ASCII) is not None


def legal_name(name: str, alphabet: Alphabet) -> str:
    """`name` itself where it is legal, else the nearest legal one.

    Raises `NameRefused` for an empty name: nothing could tell two of them apart.
    """
    if not name:
        raise NameRefused("the name is empty")
    if alphabet.fits(name):
        return name
    softened = _soften(name, alphabet)
    if alphabet.fits(softened):
        return softened
    return _rewrite(name, softened, alphabet)


_DATA_KEY = "-._a-zA-Z0-9"
DATA_KEYS: Final = (
    Alphabet(allowed=_DATA_KEY, edges=_DATA_KEY, max_length=253, reserved=r"\.|\.\..*"),
    Alphabet(allowed=_DATA_KEY, edges="-_a-zA-Z0-9", max_length=253),
)
"""Keys of Kubernetes Secrets and names of files, for `first_legal`. No name made here begins
with `..`: such names are the kubelet's, and the file sink's, own."""


@lru_cache(maxsize=4096)
def first_legal(name: str, alphabets: tuple[Alphabet, ...]) -> str:
    """The nearest name that is legal in the first alphabet that has one.

    A name cut to a reserved one is only freed by a stricter alphabet, hence several. Raises
    `NameRefused` where none helps. NB: thousands of secrets share a few names of keys.
    """
    for alphabet in alphabets:
        candidate = legal_name(name, alphabet)
        if alphabet.fits(candidate):
            return candidate
    raise NameRefused(f"no legal name can be made from {name!r}")


def _soften(name: str, alphabet: Alphabet) -> str:
    softened = name if alphabet.allows("A") else name.lower()
    for character in "_.":
        if not alphabet.allows(character):
            softened = softened.replace(character, "-")
    return softened


def _rewrite(name: str, softened: str, alphabet: Alphabet) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
    stem = re.sub(f"[^{alphabet.allowed}]+", "-", softened, flags=re.ASCII)
    stem = re.sub(f"^[^{alphabet.edges}]+", "", stem, flags=re.ASCII)
    stem = stem[: alphabet.max_length - _DIGEST_LENGTH - 1].rstrip("-")
    return f"{stem}-{digest}" if stem else digest
