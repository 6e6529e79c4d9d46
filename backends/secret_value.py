"""`SecretValue`: the one type a secret has from the moment it is read until it is sent.

It keeps bytes from reaching logs, messages and files by accident. It does not protect
memory: Python cannot reliably wipe bytes (docs/security.md says what that means).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, NoReturn, final

EMPTY_DIGEST: Final = hashlib.sha256(b"").hexdigest()


@final
class SecretValue:
    """Bytes that print as ``***`` and open only by :meth:`reveal`.

    Equality takes constant time. Pickling, hashing, formatting and iterating raise
    ``TypeError``, so that a value cannot slip into a cache key, a message or a dump.
    """

    __slots__ = ("__content",)

    def __init__(self, content: bytes) -> None:
        self.__content = bytes(content)

    def reveal(self) -> bytes:
        """The bytes themselves. Call it where they are sent, nowhere else."""
        return self.__content

    def matches(self, digest: str) -> bool:
        """Whether the bytes hash to this SHA-256 (64 lower-case hex digits)."""
        return hmac.compare_digest(hashlib.sha256(self.__content).hexdigest(), digest)

    def __len__(self) -> int:
        return len(self.__content)

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretValue):
            return NotImplemented
        return hmac.compare_digest(self.__content, other.__content)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> NoReturn:
        raise TypeError("a SecretValue cannot be formatted into text")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a SecretValue cannot be pickled or copied into a dump")

    def __copy__(self) -> SecretValue:
        return self

    def __deepcopy__(self, memo: object) -> SecretValue:
        return self
