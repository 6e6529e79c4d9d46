"""Where aiohttp asks for the permit to send: after its last wait for a connection.

What is refused there never left: aiohttp (3.14) keeps the headers back until the first of the body.
"""

from __future__ import annotations

import io
from typing import Final

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import Connection

from backends.errors import SinkUnavailable
from backends.sending import may_send

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class PermittedBody(aiohttp.BytesIOPayload):
    """The body of a write. NB: aiohttp wraps whatever is raised here, hence `refusal`."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self.refusal: SinkUnavailable | None = None
        """Set where it was not sent."""
        self._left = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        try:
            may_send()
        except SinkUnavailable as refusal:
            # Not the first attempt (aiohttp makes a second one where a connection breaks): who knows.
            self.refusal = None if self._left else refusal
            raise
        self._left = True
        await super().write_with_length(writer, content_length)


class PermittedRequest(aiohttp.ClientRequest):
    """A request that may have no body. Raises `SinkUnavailable` for a write that is not sent."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        if self.method not in _READS:
            may_send()
        return await super().send(conn)
