"""A TCP proxy before a real server, under a test's control: bytes are lost, held back or cut as tests say.

It knows no protocol, so TLS passes through: a server whose certificate is for 127.0.0.1 is asked on the
proxy's port. What only makes sense for whole requests is in `http_proxy`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeVar

from tests.servers.processes import free_port

T = TypeVar("T")

_SECONDS: Final = 20  # for a call into the proxy's thread
_PIECE: Final = 65536
_RESET, _POLITE = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)  # SO_LINGER: whether closing sends RST


@dataclass(frozen=True, slots=True)
class PassOn:
    """What a proxy does when nothing is wrong."""


@dataclass(frozen=True, slots=True)
class BlackHole:
    """Connections are accepted, what comes from either side vanishes, and so does who hangs up."""


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """Bytes pass, but that a client has gone is not passed on."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Every piece is held back for so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cut:
    """Both sides are closed after so many bytes of the server's, counted from when this began."""

    after: int


@dataclass(frozen=True, slots=True)
class Reset:
    """Who connects is reset."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nobody listens."""


Mode = PassOn | BlackHole | HalfOpen | Delay | Cut | Reset | Refuse


@dataclass(eq=False, slots=True)
class _Connection:
    """A client's connection, and ours to the server on its behalf."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    lost: bool = False
    """Bytes are missing in the middle of its streams: nothing passes any more, whatever the mode."""
    answered: int = 0
    """Bytes of the server's since the mode began."""

    @property
    def sides(self) -> list[asyncio.StreamWriter]:
        return [self.client] if self.server is None else [self.client, self.server]

    async def close(self) -> None:
        """Sends what is left to be sent, and hangs up."""
        for writer in self.sides:
            _linger(writer.get_extra_info("socket"), _POLITE)
            writer.close()
            await writer.wait_closed()

    def break_off(self) -> None:
        """RST to both sides, unless they are closed."""
        for writer in self.sides:
            writer.transport.abort()


@dataclass(slots=True)
class Counts:
    """So far: connections that were accepted, bytes that were passed on, and bytes that vanished."""

    connections: int = 0
    to_server: int = 0
    to_client: int = 0
    lost: int = 0


@dataclass(slots=True)
class _State:
    mode: Mode = PassOn()
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when another mode begins."""


class TcpProxy:
    """One running proxy; `start` makes it, `stop` ends it. A mode holds for all connections, old and new."""

    def __init__(self, host: str, port: int) -> None:
        self.port = free_port()
        self.counts = Counts()
        self._upstream = (host, port)
        self._state = _State()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy", daemon=True)
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: socket.socket | None = None

    @classmethod
    def start(cls, host: str, port: int) -> Self:
        """Stands before this address on a port of its own of 127.0.0.1."""
        proxy = cls(host, port)
        proxy._thread.start()
        proxy._call(proxy._switch(PassOn()))
        return proxy

    @property
    def open(self) -> int:
        """How many clients are connected, as far as they have not hung up."""
        return len(self._connections)

    def stop(self) -> None:
        """Breaks every connection and ends."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SECONDS)
        self._loop.close()

    def reset_connections(self) -> None:
        """RST to everybody who is connected now; who comes later is served."""
        self._call(self._break_all())

    # --- modes, each until the end of its block

    @contextmanager
    def black_hole(self) -> Iterator[None]:
        """Accepts, swallows, answers nothing. A connection that lost something never works again."""
        with self._during(BlackHole()):
            yield

    @contextmanager
    def half_open(self) -> Iterator[None]:
        """The server is not told of clients that go away, not even afterwards."""
        with self._during(HalfOpen()):
            yield

    @contextmanager
    def delayed(self, seconds: float) -> Iterator[None]:
        """Holds back every piece, in both directions, for so long or until the end of the block."""
        with self._during(Delay(seconds)):
            yield

    @contextmanager
    def cut_after(self, count: int) -> Iterator[None]:
        """Passes on so many bytes of each connection's answers, and closes it."""
        with self._during(Cut(count)):
            yield

    @contextmanager
    def resetting(self) -> Iterator[None]:
        """RST to everybody who is connected, and to everybody who comes."""
        with self._during(Reset()):
            yield

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """As if the server's process were gone: RST to everybody, and nobody listens."""
        with self._during(Refuse()):
            yield

    @contextmanager
    def _during(self, mode: Mode) -> Iterator[None]:
        before = self._state.mode
        self._call(self._switch(mode))
        try:
            yield
        finally:
            if self._thread.is_alive():
                self._call(self._switch(before))

    # --- in the proxy's thread

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_SECONDS)

    async def _switch(self, mode: Mode) -> None:
        self._state.over.set()
        self._state = _State(mode)
        for connection in self._connections:
            connection.answered = 0
        if isinstance(mode, Refuse):
            self._stop_listening()
        elif self._listening is None:
            self._listen()
        if isinstance(mode, Reset | Refuse):
            await self._break_all()

    def _listen(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._listening.setblocking(False)
        self._loop.add_reader(self._listening, self._accept, self._listening)

    def _stop_listening(self) -> None:
        if self._listening is not None:
            self._loop.remove_reader(self._listening)
            self._listening.close()
            self._listening = None

    def _accept(self, listening: socket.socket) -> None:
        # NB: by hand: asyncio's server forgets a connection that it accepts while it is closed.
        with suppress(BlockingIOError):
            client, _ = listening.accept()
            client.setblocking(False)
            _linger(client, _RESET)
            self.counts.connections += 1
            task = self._loop.create_task(self._serve(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: client.close())

    async def _break_all(self) -> None:
        for connection in tuple(self._connections):
            connection.break_off()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _close(self) -> None:
        self._stop_listening()
        await self._break_all()

    async def _serve(self, client: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=client)
        connection = _Connection(writer)
        self._connections.add(connection)
        try:
            await self._join(connection, reader)
            await connection.close()
        except* (OSError, asyncio.CancelledError):
            # NB: not raised again, or the loop complains of a connection that failed.
            pass
        finally:
            connection.break_off()
            self._connections.discard(connection)

    async def _join(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        match self._state.mode:
            case Reset() | Refuse():
                raise ConnectionResetError
            case BlackHole():
                while piece := await self._read(connection, reader):
                    await self._goes_on(connection, piece)
                return
        answers, connection.server = await asyncio.open_connection(*self._upstream)
        _linger(connection.server.get_extra_info("socket"), _RESET)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pass_questions(connection, reader, connection.server))
            group.create_task(self._pass_answers(connection, answers))

    async def _pass_questions(
        self, connection: _Connection, reader: asyncio.StreamReader, server: asyncio.StreamWriter
    ) -> None:
        while piece := await self._read(connection, reader):
            if await self._goes_on(connection, piece):
                server.write(piece)
                await server.drain()
                self.counts.to_server += len(piece)
        if isinstance(self._state.mode, HalfOpen):
            connection.lost = True
        if await self._goes_on(connection):
            server.write_eof()

    async def _pass_answers(self, connection: _Connection, answers: asyncio.StreamReader) -> None:
        while piece := await answers.read(_PIECE):
            if await self._goes_on(connection, piece):
                await self._answer(connection, piece)
        if await self._goes_on(connection):
            connection.client.write_eof()

    async def _answer(self, connection: _Connection, piece: bytes) -> None:
        mode = self._state.mode
        left = mode.after - connection.answered if isinstance(mode, Cut) else len(piece)
        try:
            connection.client.write(piece[:left])
            await connection.client.drain()
        except OSError:
            if not self._hides_hangups(connection):
                raise
            connection.lost = True
            return
        connection.answered += len(piece[:left])
        self.counts.to_client += len(piece[:left])
        if isinstance(mode, Cut) and connection.answered >= mode.after:
            await connection.close()
            raise ConnectionAbortedError

    async def _read(self, connection: _Connection, reader: asyncio.StreamReader) -> bytes:
        """A client that breaks off has hung up as well, where that is not to be passed on."""
        try:
            return await reader.read(_PIECE)
        except OSError:
            if self._hides_hangups(connection):
                return b""
            raise

    def _hides_hangups(self, connection: _Connection) -> bool:
        return connection.lost or isinstance(self._state.mode, BlackHole | HalfOpen)

    async def _goes_on(self, connection: _Connection, piece: bytes = b"") -> bool:
        """Whether this, read just now, is passed on (empty: a hang-up); returns when it is time for it."""
        state = self._state
        if isinstance(state.mode, BlackHole):
            connection.lost = True
        if isinstance(state.mode, Delay):
            with suppress(TimeoutError):
                await asyncio.wait_for(state.over.wait(), state.mode.seconds)
        if connection.lost:
            self.counts.lost += len(piece)
        return not connection.lost


def _linger(connection: socket.socket, how: bytes) -> None:
    # NB: one that is reset already takes no option.
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, how)
