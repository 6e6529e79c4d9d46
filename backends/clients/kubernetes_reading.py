"""What comes back over the wire, as objects; and what it means that it does not.

The only place that knows how aiohttp fails.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any, Final

import aiohttp

from backends.clients.kubernetes_errors import Call, no_answer
from backends.errors import SinkError

Json = dict[str, Any]

_LONGEST_LINE: Final = 4 * 1024 * 1024
"""Bytes: metadata takes a fraction of it, a server gone mad all the memory there is."""


def parsed_body(content: bytes) -> object:
    try:
        parsed: object = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return parsed


def broken(call: Call, error: Exception) -> SinkError:
    match error:
        case aiohttp.ClientSSLError():
            return no_answer(
                call, sent=False, why="the API server's certificate is not trusted, or TLS failed"
            )
        case aiohttp.ConnectionTimeoutError() | aiohttp.ClientConnectorError():
            return no_answer(call, sent=False, why="the API server cannot be reached")
        case TimeoutError():
            return no_answer(call, sent=True, why="there was no answer in time")
        case _:
            return no_answer(call, sent=True, why=f"the connection broke ({type(error).__name__})")


async def lines_of(call: Call, response: aiohttp.ClientResponse) -> AsyncGenerator[Json, None]:
    """One object of each line. NB: aiohttp's own reading by lines refuses long ones."""
    rest = bytearray()
    try:
        async for piece in response.content.iter_any():
            *ends, last = piece.split(b"\n")
            for end in ends:
                line = bytes(rest + end)
                rest.clear()
                yield _object_of(call, line)
            rest += last
            if len(rest) > _LONGEST_LINE:
                raise no_answer(call, sent=True, why="a line of the answer does not end")
    except (aiohttp.ClientError, OSError) as error:
        raise broken(call, error) from None
    if rest:
        raise no_answer(call, sent=True, why="the last line of the answer is cut")


def _object_of(call: Call, line: bytes) -> Json:
    parsed = parsed_body(line)
    if not isinstance(parsed, dict):
        raise no_answer(call, sent=True, why="a line of the answer is no object")
    return parsed
