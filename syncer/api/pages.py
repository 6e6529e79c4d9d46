"""Page tokens: where a list goes on, for one caller and one request only.

A token holds a place, not a right: whoever presents one is asked for his rights as with any request. It is
signed with a key that lives as long as the process, so one of another process is refused like a forged one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import Final

from syncer.api.callers import Caller

DEFAULT_SIZE: Final = 100
LARGEST_SIZE: Final = 1000
_SEAL: Final = 16
"""Bytes of the signature that a token begins with."""


class BadPageToken(Exception):
    """It was not given out for this caller and request by this process."""

    def __init__(self) -> None:
        super().__init__("page_token is none that was given to you for this request: begin with an empty one")


class BadPageSize(Exception):
    """It is negative."""

    def __init__(self) -> None:
        super().__init__("page_size is negative")


class PageTokens:
    """Gives tokens out and reads them again. `key` is random bytes nobody else knows."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def issue(self, caller: Caller, request: bytes, place: tuple[str, ...]) -> str:
        """`request` is what the list depends on, in bytes; `place` what its next page is behind."""
        content = json.dumps(place).encode()
        return base64.urlsafe_b64encode(self._seal(caller, request, content) + content).decode()

    def read(self, token: str, caller: Caller, request: bytes) -> tuple[str, ...] | None:
        """The place it was issued for; None for an empty token. Raises `BadPageToken`."""
        if not token:
            return None
        try:
            sealed = base64.urlsafe_b64decode(token)
        except (binascii.Error, ValueError):
            raise BadPageToken from None
        if base64.urlsafe_b64encode(sealed).decode() != token:  # base64 has several spellings of the same
            raise BadPageToken
        seal, content = sealed[:_SEAL], sealed[_SEAL:]
        if not hmac.compare_digest(seal, self._seal(caller, request, content)):
            raise BadPageToken
        return tuple(json.loads(content))

    def _seal(self, caller: Caller, request: bytes, content: bytes) -> bytes:
        who = json.dumps([caller.name, caller.uid]).encode()
        parts = b"".join(len(part).to_bytes(8) + part for part in (who, request, content))
        return hmac.new(self._key, parts, hashlib.sha256).digest()[:_SEAL]


def page_size(asked: int) -> int:
    """How many a page holds when so many were asked for. Raises `BadPageSize`."""
    if asked < 0:
        raise BadPageSize
    return min(asked, LARGEST_SIZE) or DEFAULT_SIZE
