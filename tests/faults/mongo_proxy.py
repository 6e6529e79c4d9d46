"""A proxy before MongoDB that reads what passes: a test names commands, and what becomes of them.

Simulates a server that fails in the middle of being read, for one client and not for the others. Excludes
what concerns bytes and connections alone (tests/servers/tcp_proxy.py), compression and exhaust cursors.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeVar

import bson

from tests.servers.connections import all_closed
from tests.servers.processes import free_port

T = TypeVar("T")

_SECONDS: Final = 20  # for a call into the proxy's thread
_HEADER: Final = struct.Struct("<iiii")  # length, number, number of the question, kind
_MESSAGE: Final = 2013  # OP_MSG; drivers say hello in an older form


@dataclass(frozen=True, slots=True)
class Command:
    """What a client asked; `name` is "" for what is no command, as drivers say hello."""

    name: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def collection(self) -> str:
        found = self.body.get("collection" if self.name == "getMore" else self.name)
        return found if isinstance(found, str) else ""

    @property
    def streams(self) -> bool:
        """Whether it is about a change stream: only those are waited at."""
        stages = self.body.get("pipeline") or [{}]
        return "$changeStream" in stages[0] or (self.name == "getMore" and "maxTimeMS" in self.body)


GoOn = Callable[[], Awaitable[bytes]]
"""Asks the server, and answers its message."""
Action = Callable[[bytes, GoOn], Awaitable[bytes]]
"""Gets the client's message, and answers the one that is to be its answer."""


class BrokenOffError(Exception):
    """The connection is to be closed after these bytes."""


@dataclass(slots=True)
class Rule:
    """One rule, with what became of it."""

    match: Callable[[Command], bool]
    action: Action
    times: int | None
    taken: list[Command] = field(default_factory=list)
    """What it was applied to."""

    def takes(self, command: Command) -> bool:
        """Whether it applies, counting down."""
        if len(self.taken) == self.times or not self.match(command):
            return False
        self.taken.append(command)
        return True


class MongoProxy:
    """One running proxy; `start` makes it, `stop` ends it. A rule holds until the end of its block."""

    def __init__(self, host: str, port: int) -> None:
        self.port = free_port()
        self.commands: list[Command] = []
        """All there were."""
        self._upstream = (host, port)
        self._rules: list[Rule] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mongo-proxy", daemon=True)
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    @classmethod
    def start(cls, host: str, port: int) -> Self:
        """Stands before this address on a port of its own of 127.0.0.1."""
        proxy = cls(host, port)
        proxy._thread.start()
        proxy._call(proxy._open())
        return proxy

    def stop(self) -> None:
        """Breaks every connection and ends."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SECONDS)
        self._loop.close()

    # --- rules; a command is named by its name ("" is any), its collection, and whether it is a change stream's

    @contextmanager
    def refusing(self, name: str = "", collection: str = "", *, code: int, **more: Any) -> Iterator[Rule]:
        """The server answers an error with this code."""

        async def act(asked: bytes, _: GoOn) -> bytes:
            return _failure(asked, code)

        with self._applied(name, collection, act, **more) as rule:
            yield rule

    @contextmanager
    def dropping(self, name: str = "", collection: str = "", **more: Any) -> Iterator[Rule]:
        """The connection is lost, and the server never hears of it."""

        async def act(_asked: bytes, _: GoOn) -> bytes:
            raise BrokenOffError(b"")

        with self._applied(name, collection, act, **more) as rule:
            yield rule

    @contextmanager
    def cutting(self, name: str = "", collection: str = "", **more: Any) -> Iterator[Rule]:
        """The connection is lost in the middle of the answer."""

        async def act(_asked: bytes, go_on: GoOn) -> bytes:
            answer = await go_on()
            raise BrokenOffError(answer[: len(answer) // 2])

        with self._applied(name, collection, act, **more) as rule:
            yield rule

    @contextmanager
    def holding(self, name: str = "", collection: str = "", **more: Any) -> Iterator[Rule]:
        """The server hears of it at the end of the block."""
        over = asyncio.Event()

        async def act(_asked: bytes, go_on: GoOn) -> bytes:
            await over.wait()
            return await go_on()

        with self._applied(name, collection, act, **more) as rule:
            try:
                yield rule
            finally:
                self._loop.call_soon_threadsafe(over.set)

    @contextmanager
    def _applied(
        self, name: str, collection: str, action: Action, *, streams: bool = False, times: int | None = None
    ) -> Iterator[Rule]:
        def match(command: Command) -> bool:
            named = name in ("", command.name) and collection in ("", command.collection)
            return bool(command.name) and named and command.streams is streams

        rule = Rule(match, action, times)
        self._rules = [*self._rules, rule]
        try:
            yield rule
        finally:
            self._rules = [one for one in self._rules if one is not rule]

    # --- in the proxy's thread

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_SECONDS)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _close(self) -> None:
        self._server.close()
        connections = tuple(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await self._server.wait_closed()
        await all_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        server: asyncio.StreamWriter | None = None
        try:
            answers, server = await asyncio.open_connection(*self._upstream)
            while True:
                asked = await _read(reader)
                writer.write(await self._answer(asked, answers, server))
                await writer.drain()
        except BrokenOffError as broken:
            writer.write(broken.args[0])
            writer.close()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # NB: not raised again, or the loop complains of a connection that failed.
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            for one in (writer, *([server] if server else [])):
                one.close()
                with suppress(OSError, asyncio.CancelledError):
                    await one.wait_closed()

    async def _answer(
        self, asked: bytes, answers: asyncio.StreamReader, server: asyncio.StreamWriter
    ) -> bytes:
        async def go_on() -> bytes:
            server.write(asked)
            await server.drain()
            return await _read(answers)

        command = _command(asked)
        self.commands.append(command)
        rule = next((one for one in self._rules if one.takes(command)), None)
        return await (go_on() if rule is None else rule.action(asked, go_on))


async def _read(reader: asyncio.StreamReader) -> bytes:
    header = await reader.readexactly(_HEADER.size)
    length, *_ = _HEADER.unpack(header)
    return header + await reader.readexactly(length - _HEADER.size)


def _command(message: bytes) -> Command:
    """NB: the first section holds the command; others hold documents to be written."""
    *_, kind = _HEADER.unpack_from(message)
    if kind != _MESSAGE:
        return Command()
    start = _HEADER.size + 5  # flags, and the kind of the section
    (length,) = struct.unpack_from("<i", message, start)
    body = bson.decode(message[start : start + length])
    return Command(next(iter(body)), body)


def _failure(asked: bytes, code: int) -> bytes:
    _, number, *_ = _HEADER.unpack_from(asked)
    body = bson.encode({"ok": 0.0, "code": code, "errmsg": "because a test asked for it"})
    content = b"\0" * 5 + body
    return _HEADER.pack(_HEADER.size + len(content), 1, number, _MESSAGE) + content
