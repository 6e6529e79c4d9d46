"""A proxy before a real server, under a test's control: it loses, holds back and rewrites what tests say.

HTTPS on both sides, each with an authority of its own; bodies are passed on whole, so no watches. A
client's certificate ends here. What can be done to requests is in `http_rules`.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp
import trustme
from multidict import CIMultiDict
from yarl import URL

from tests.servers.connections import all_closed
from tests.servers.http_rules import (
    BlackHole,
    DroppedError,
    Rule,
    Rules,
    after,
    answer,
    before,
    delay,
    drop,
    drop_reply,
    everything,
    on,
    rewrite_reply,
    rewrite_request,
)
from tests.servers.http_wire import Asked, Reply, passed_on, read_request, wire_of

__all__ = [
    "Asked",
    "BlackHole",
    "HttpProxy",
    "Reply",
    "Rule",
    "Seen",
    "after",
    "answer",
    "before",
    "delay",
    "drop",
    "drop_reply",
    "everything",
    "on",
    "rewrite_reply",
    "rewrite_request",
]

T = TypeVar("T")

_SECONDS = 20  # for a call into the proxy's thread
_NONE_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One line of the log. `status` is what the client was answered, None while, or as, it was not."""

    number: int
    method: str
    path: str
    query: str
    status: int | None


class HttpProxy:
    """One running proxy; `start` makes it, `stop` ends it. For any thread; see `Rules.add`."""

    def __init__(self, upstream: str, upstream_ca_file: Path | None) -> None:
        self.rules = Rules()
        self.port = 0
        self._upstream = upstream.rstrip("/")
        self._upstream_ca_file = upstream_ca_file
        self._scratch = tempfile.TemporaryDirectory(prefix="http-proxy-")
        self._log: dict[int, Seen] = {}
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="http-proxy", daemon=True)
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self._session: aiohttp.ClientSession

    @classmethod
    def start(cls, upstream: str, upstream_ca_file: Path | None = None) -> Self:
        """Stands before this address on a port of its own."""
        proxy = cls(upstream, upstream_ca_file)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(proxy.ca_file)
        proxy._thread.start()
        proxy._call(proxy._open(_listening(authority)))
        return proxy

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> Path:
        """PEM of the certificate authority that signed the proxy's certificate."""
        return Path(self._scratch.name, "ca.crt")

    @property
    def log(self) -> tuple[Seen, ...]:
        """All requests so far, in the order they came in."""
        with self._lock:
            return tuple(self._log.values())

    def position(self) -> int:
        """The number of the last request: give it to `since`."""
        with self._lock:
            return len(self._log)

    def since(self, number: int) -> tuple[Seen, ...]:
        """The requests that came after this one."""
        return tuple(seen for seen in self.log if seen.number > number)

    def stop(self) -> None:
        """Breaks every connection and ends."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SECONDS)
        self._loop.close()
        self._scratch.cleanup()

    def drop_connections(self) -> None:
        """Breaks every connection there is, in the middle of whatever is asked on it."""
        self._call(self._cancel_connections())

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_SECONDS)

    async def _open(self, tls: ssl.SSLContext) -> None:
        trusted: ssl.SSLContext | bool = True
        if self._upstream_ca_file is not None:
            trusted = ssl.create_default_context(cafile=str(self._upstream_ca_file))
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=trusted),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_NONE_ADDED,
        )
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        await self._cancel_connections()
        await self._session.close()
        await self._server.wait_closed()
        await all_closed()
        await self._loop.shutdown_default_executor()

    async def _cancel_connections(self) -> None:
        connections = tuple(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while (asked := await read_request(reader)) is not None:
                reply = await self._reply(asked)
                writer.write(wire_of(reply, head_only=asked.method == "HEAD"))
                await writer.drain()
        except (DroppedError, ConnectionError, aiohttp.ClientError, asyncio.CancelledError):
            # NB: not raised again, or the loop complains of a connection that failed.
            pass
        finally:
            self._connections.discard(task)
            writer.transport.abort()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _reply(self, unnumbered: Asked) -> Reply:
        with self._lock:
            asked = replace(unnumbered, number=len(self._log) + 1)
            seen = Seen(
                number=asked.number, method=asked.method, path=asked.path, query=asked.query, status=None
            )
            self._log[asked.number] = seen
        reply = await self._through(asked, iter(self.rules))
        with self._lock:
            self._log[asked.number] = replace(seen, status=reply.status)
        return reply

    async def _through(self, asked: Asked, rules: Iterator[Rule]) -> Reply:
        for rule in rules:
            if rule.takes(asked):
                return await rule.action(asked, lambda changed: self._through(changed, rules))
        return await self._ask_upstream(asked)

    async def _ask_upstream(self, asked: Asked) -> Reply:
        """An upstream that breaks off breaks our client's connection: it sees what it would see there."""
        headers = CIMultiDict(pair for pair in passed_on(asked.headers) if pair[0].lower() != "host")
        url = URL(f"{self._upstream}{asked.target}", encoded=True)
        # NB: aiohttp warns of large bodies unless they are files.
        body = BytesIO(asked.body) if asked.body else None
        async with self._session.request(
            asked.method, url, headers=headers, data=body, allow_redirects=False
        ) as found:
            content = await found.read()
            given = ((n.decode("latin-1"), v.decode("latin-1")) for n, v in found.raw_headers)
            return Reply(found.status, passed_on(tuple(given)), content)


def _listening(authority: trustme.CA) -> ssl.SSLContext:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(tls)
    return tls
