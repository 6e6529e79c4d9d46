"""A server of the API with a small service of its own, real clients, and a peer that speaks raw HTTP/2."""

from __future__ import annotations

import asyncio
import logging
import struct
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
import structlog
import trustme

from syncer.api.access import AccessUnavailable
from syncer.api.callers import Caller, Permission
from syncer.api.credentials import Credentials
from syncer.api.interceptor import caller_of, deny
from syncer.api.options import ApiOptions, Limits, TlsFiles
from syncer.api.server import ApiServer, Service

CANARY = "canary-7f3a9c51e2"
DEADLINE = 10.0
OK = grpc.StatusCode.OK
HEALTH = "/grpc.health.v1.Health/Check"


class TokenAccess:
    """An `Access`: the tokens that are good, and nobody may do anything."""

    def __init__(self, **tokens: str) -> None:
        self.tokens = tokens
        self.asked = 0
        self.hangs = False
        self.failing = False

    async def caller(self, credentials: Credentials) -> Caller | None:
        self.asked += credentials.token is not None
        if self.hangs:
            await asyncio.Event().wait()
        if self.failing:
            raise AccessUnavailable("the API server is away")
        if credentials.token is None:
            return Caller(credentials.certificate.common_name) if credentials.certificate else None
        name = self.tokens.get(credentials.token.reveal().decode())
        return Caller(name) if name else None

    async def allows(self, caller: Caller, permission: Permission) -> bool:
        return False


@dataclass
class Recorder:
    """An `ApiObserver`."""

    requests: list[tuple[str, str]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def request(self, method: str, code: str, seconds: float) -> None:
        self.requests.append((method.rpartition("/")[2], code))
        self.seconds.append(seconds)

    def sensitive_read(
        self, caller: str, namespace: str, installation: str, names: Sequence[str]
    ) -> None: ...


class Echo:
    """The service `test.Echo`; its messages are plain bytes."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.ended: list[str] = []
        self.let_go = asyncio.Event()

    async def say(self, request: bytes, context: object) -> bytes:
        return request

    async def who(self, request: bytes, context: object) -> bytes:
        return caller_of(context).name.encode()

    async def big(self, request: bytes, context: object) -> bytes:
        return bytes(int(request))

    async def wait(self, request: bytes, context: object) -> bytes:
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        finally:
            self.inside -= 1
        return b"done"

    async def fail(self, request: bytes, context: object) -> bytes:
        raise ValueError(CANARY)

    async def slow_inside(self, request: bytes, context: object) -> bytes:
        raise TimeoutError(CANARY)

    async def refuse(self, request: bytes, context: Any) -> bytes:
        await deny(context)

    async def not_found(self, request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such page")
        return b""

    def register(self, server: Any) -> None:
        methods = {
            "Say": self.say,
            "Who": self.who,
            "Big": self.big,
            "Wait": self.wait,
            "Fail": self.fail,
            "SlowInside": self.slow_inside,
            "Refuse": self.refuse,
            "NotFound": self.not_found,
        }
        handlers = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
        handlers["Picky"] = grpc.unary_unary_rpc_method_handler(self.say, request_deserializer=_picky)
        handlers["Unsendable"] = grpc.unary_unary_rpc_method_handler(self.say, response_serializer=_picky)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))


def _picky(message: bytes) -> bytes:
    raise ValueError(CANARY)


@dataclass
class World:
    """What a test has in its hands."""

    server: ApiServer
    echo: Echo
    access: Any
    seen: Recorder

    @property
    def port(self) -> int:
        return self.server.port

    @asynccontextmanager
    async def channel(
        self, authority: trustme.CA | None = None, **client: bytes
    ) -> AsyncIterator[grpc.aio.Channel]:
        address = f"127.0.0.1:{self.port}"
        own = [("grpc.use_local_subchannel_pool", 1)]
        if authority is None:
            async with grpc.aio.insecure_channel(address, own) as channel:
                yield channel
        else:
            credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes(), **client)
            async with grpc.aio.secure_channel(address, credentials, own) as channel:
                yield channel

    async def ask(self, method: str, request: bytes = b"", **how: Any) -> tuple[grpc.StatusCode, str | bytes]:
        async with self.channel() as channel:
            return await ask(channel, method, request, **how)


async def ask(
    channel: grpc.aio.Channel,
    method: str,
    request: bytes = b"",
    *,
    token: str | None = "good",
    metadata: Sequence[tuple[str, str | bytes]] = (),
    within: float | None = DEADLINE,
) -> tuple[grpc.StatusCode, str | bytes]:
    """Status, and the answer, or the text of the status."""
    path = method if method.startswith("/") else f"/test.Echo/{method}"
    login = () if token is None else (("authorization", f"Bearer {token}"),)
    try:
        answer = await channel.unary_unary(path)(request, timeout=within, metadata=(*login, *metadata))
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return OK, answer


@asynccontextmanager
async def serving(
    access: Any = None,
    *,
    listen: str = "127.0.0.1:0",
    tls: TlsFiles | None = None,
    reflection: bool = False,
    **limits: Any,
) -> AsyncIterator[World]:
    access = access or TokenAccess(good="alice")
    echo, seen = Echo(), Recorder()
    options = ApiOptions(listen=listen, tls=tls, reflection=reflection, limits=Limits(**limits))
    service = Service(name="test.Echo", register=echo.register)
    async with ApiServer(options, [service], access=access, observer=seen) as server:
        yield World(server, echo, access, seen)


async def until(fact: Any) -> None:
    """Wait for it; a test that waits in vain fails."""
    async with asyncio.timeout(DEADLINE):
        while not fact():  # noqa: ASYNC110  # threads know no asyncio.Event
            await asyncio.sleep(0.01)


def api_threads() -> int:
    return sum(thread.name.startswith("api") for thread in threading.enumerate())


async def until_code(world: World, wanted: grpc.StatusCode) -> None:
    """Ask until this is the answer."""
    async with asyncio.timeout(DEADLINE):
        while (await world.ask("Say", within=1.0))[0] is not wanted:
            pass


@pytest.fixture(autouse=True)
def canary_free(caplog, capfd):
    """Whatever happens: neither a token nor the text of an exception is told anywhere."""
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as lines:
        yield lines
    logged = [caplog.handler.format(record) for record in caplog.get_records("call")]
    told = "".join([*logged, str(lines), *capfd.readouterr()])
    assert CANARY not in told
    assert "Bearer" not in told


class RawPeer:
    """A client that keeps to no rules: frames as they are written here."""

    PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def connected(cls, port: int, *, window: int | None = None) -> AsyncIterator[RawPeer]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        settings = b"" if window is None else struct.pack(">HI", 4, window)
        writer.write(cls.PREFACE + frame(4, 0, 0, settings))
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    def headers(self, stream: int, path: bytes, *more: tuple[bytes, bytes]) -> None:
        usual = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x")]
        kind = [(b"te", b"trailers"), (b"content-type", b"application/grpc")]
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in (*usual, *kind, *more))
        self.writer.write(frame(1, 4, stream, block))

    def message(self, stream: int, content: bytes, *, compressed: bool = False) -> None:
        body = struct.pack(">BI", compressed, len(content)) + content
        self.writer.write(frame(0, 1, stream, body))

    def reset(self, stream: int) -> None:
        self.writer.write(frame(3, 0, stream, struct.pack(">I", 8)))

    async def received(self, *wanted: bytes) -> bytes:
        """All that came until one of these was in it, or the connection was closed."""
        content = b""
        async with asyncio.timeout(DEADLINE):
            while not any(one in content for one in wanted):
                try:
                    more = await self.reader.read(65536)
                except ConnectionError:
                    break
                if not more:
                    break
                content += more
        return content


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _text(content: bytes) -> bytes:
    assert len(content) < 127
    return bytes([len(content)]) + content


LOGIN = (b"authorization", b"Bearer good")
