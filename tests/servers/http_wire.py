"""HTTP/1.1 as a proxy of tests needs it: whole requests in, whole answers out, any method.

A parser of our own, because that of aiohttp knows a fixed set of methods, and LIST is not among them.
Leaves out trailers, upgrades and streaming.
"""

from __future__ import annotations

import json
from asyncio import IncompleteReadError, StreamReader
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.client import responses
from typing import Any, Self

Headers = tuple[tuple[str, str], ...]

_OF_THE_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "expect"})
_WITHOUT_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it came in; number 1 is the proxy's first."""

    number: int
    method: str
    path: str
    """As sent, so percent-encoded, without the query."""

    query: str = field(repr=False)
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    def with_json(self, body: object) -> Self:
        """The same with another body."""
        return replace(self, body=json.dumps(body).encode())


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; the headers lack those of the connection."""

    status: int
    headers: Headers = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, status: int, body: object = None, headers: Mapping[str, str] | None = None) -> Self:
        """A JSON answer, or one of bytes, or an empty one."""
        named = tuple((headers or {}).items())
        if body is None:
            return cls(status, named)
        if isinstance(body, bytes):
            return cls(status, named, body)
        return cls(status, (("Content-Type", "application/json"), *named), json.dumps(body).encode())

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    def with_json(self, body: object) -> Self:
        """The same with another body."""
        return replace(self, body=json.dumps(body).encode())


def passed_on(headers: Headers) -> Headers:
    """Without those that are about one connection."""
    return tuple((name, value) for name, value in headers if name.lower() not in _OF_THE_CONNECTION)


async def read_request(reader: StreamReader) -> Asked | None:
    """The next request of a connection, not yet numbered; None where the client has closed it."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, _ = first.split(" ")
    path, _, query = target.partition("?")
    pairs = (line.partition(":") for line in lines)
    headers = tuple((name, value.strip()) for name, _, value in pairs)
    body = await _read_body(reader, {name.lower(): value for name, value in headers})
    return Asked(number=0, method=method, path=path, query=query, headers=headers, body=body)


def wire_of(reply: Reply, *, head_only: bool) -> bytes:
    """What goes to the client."""
    phrase = responses.get(reply.status, "Status")
    lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{n}: {v}" for n, v in passed_on(reply.headers))]
    if reply.status not in _WITHOUT_BODY:
        lines.append(f"Content-Length: {len(reply.body)}")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head if head_only or reply.status in _WITHOUT_BODY else head + reply.body


async def _read_body(reader: StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    parts: list[bytes] = []
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(len(b"\r\n"))
    await reader.readuntil(b"\r\n")
    return b"".join(parts)
