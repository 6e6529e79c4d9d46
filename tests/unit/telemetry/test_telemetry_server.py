"""The address that tells how it goes, over real connections: paths, methods, bad peers, a port that is taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import structlog

from syncer.telemetry import server
from syncer.telemetry.health import Health
from syncer.telemetry.metrics import Metrics
from syncer.telemetry.server import CannotListen, TelemetryServer

CANARY = "canary-7f3a"
DEADLINE = 10.0
HUGE = 50_000_000
"""Bytes: more than what the sockets in between can hold."""
SHUTDOWN = 5.0
"""Seconds that are plenty, and less than any time limit of the library."""


@pytest.fixture
def health() -> Health:
    return Health(sinks=["cluster"], holder=lambda: "pod-1")


def serving(health: Health, address: str = "127.0.0.1:0") -> TelemetryServer:
    return TelemetryServer(address, Metrics(sinks=["cluster"], version="1.2.3"), health)


@pytest.fixture
async def told(health) -> AsyncIterator[TelemetryServer]:
    async with serving(health) as running:
        yield running


async def exchange(running: TelemetryServer, sent: bytes) -> tuple[bytes, dict[str, str], bytes]:
    """Status line, headers and body of the one answer a connection gets."""
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(sent)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    return status, dict(line.decode().split(": ", 1) for line in lines), body


async def ask(
    running: TelemetryServer, path: str, *, method: str = "GET", accept: str = "*/*"
) -> tuple[int, dict[str, str], bytes]:
    request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n".encode()
    status, headers, body = await exchange(running, request)
    return int(status.split()[1]), headers, body


async def test_it_tells_whether_it_is_alive_and_ready_and_why(told, health):
    assert (await ask(told, "/healthz"))[::2] == (200, b"alive\n")
    assert (await ask(told, "/readyz"))[::2] == (503, b"the configuration is not loaded yet\n")
    health.configured()
    health.leading(False)
    assert (await ask(told, "/readyz?verbose"))[::2] == (200, b"standby: leader is pod-1\n")
    health.died("the controller has ended")
    assert (await ask(told, "/healthz"))[::2] == (503, b"the controller has ended\n")


async def test_metrics_come_in_the_format_that_is_asked_for(told):
    status, headers, body = await ask(told, "/metrics")
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b'porter_outputs_syncer_build_info{version="1.2.3"} 1.0\n' in body
    status, headers, body = await ask(told, "/metrics", accept="application/openmetrics-text;version=1.0.0")
    assert (status, headers["Content-Type"].partition(";")[0]) == (200, "application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text;version=x", "text/plain;version=1.x", ";;,="]
)
async def test_no_accept_header_is_too_odd(told, accept):
    assert (await ask(told, "/metrics", accept=accept))[0] == 200


async def test_a_page_that_cannot_be_made_is_a_failure_without_its_text(health):
    class Broken:
        def page(self, accept: str = "") -> tuple[bytes, str]:
            raise ValueError(CANARY)

    with structlog.testing.capture_logs() as lines:
        async with TelemetryServer("127.0.0.1:0", Broken(), health) as running:
            assert (await ask(running, "/metrics"))[::2] == (500, b"failed; the log says more\n")
    assert [line["exc_type"] for line in lines] == ["ValueError"]
    assert CANARY not in str(lines)


@pytest.mark.parametrize(
    "path", ["/", "/metrics/", "/healthz/x", "/debug/pprof", "/%2e%2e/healthz", "//healthz"]
)
async def test_there_is_nothing_else(told, path):
    for method in ("GET", "POST"):
        assert (await ask(told, path, method=method))[::2] == (404, b"not found\n")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_it_is_for_reading_only(told, path):
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        status, headers, _ = await ask(told, path, method=method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")


async def test_head_has_the_headers_and_no_body(told):
    status, headers, body = await ask(told, "/healthz", method="HEAD")
    assert (status, headers["Content-Length"], body) == (200, "6", b"")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"200"),
        (b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nBroken\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"400"),
    ],
)
async def test_no_answer_tells_a_version_and_nobody_can_fill_the_log(told, sent, code, caplog):
    status, headers, body = await exchange(told, sent)
    assert code in status
    assert headers["Server"] == "porter-outputs-syncer"
    assert b"aiohttp" not in body
    assert not caplog.records


async def test_a_port_that_is_taken_is_one_clear_line(told, health):
    address = f"127.0.0.1:{told.port}"
    with pytest.raises(CannotListen) as caught:
        await serving(health, address).__aenter__()
    assert str(caught.value) == f"cannot listen on {address}: address already in use"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "address", ["8080", ":8080", "localhost", "localhost:", "localhost:x", "h:99999", "h:-1"]
)
async def test_an_address_without_host_or_port_is_told(health, address):
    with pytest.raises(CannotListen, match="not of the form host:port"):
        await serving(health, address).__aenter__()


async def test_a_host_that_is_not_ours_is_told(health):
    with pytest.raises(CannotListen, match=r"^cannot listen on 192\.0\.2\.1:0: [^:\n]+$"):
        await serving(health, "192.0.2.1:0").__aenter__()


async def test_it_listens_on_version_6_as_well(health):
    try:
        async with serving(health, "[::1]:0") as running:
            assert running.port > 0
    except CannotListen as error:
        pytest.skip(str(error))


async def test_after_the_end_nobody_listens(health):
    async with serving(health) as running:
        port = running.port
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.fault(59)
@pytest.mark.parametrize(
    "sent", [b"", b"GET /metr", b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nx"]
)
async def test_a_peer_that_never_finishes_is_cut_after_a_while(health, monkeypatch, sent):
    monkeypatch.setattr(server, "LONGEST", 0.05)
    async with asyncio.timeout(SHUTDOWN), serving(health) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(sent)
        await until_cut(reader)
        writer.close()


@pytest.mark.fault(59)
@pytest.mark.parametrize("sent", [b"", b"GET /metr"])
async def test_a_peer_that_never_finishes_does_not_hold_up_the_end(health, sent):
    async with asyncio.timeout(SHUTDOWN):
        async with serving(health) as running:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(sent)
            await ask(running, "/healthz")
        await until_cut(reader)
        writer.close()


@pytest.mark.fault(59)
async def test_a_peer_that_reads_nothing_does_not_hold_up_the_end(health):
    class Huge:
        def __init__(self) -> None:
            self.asked = asyncio.Event()

        def page(self, accept: str = "") -> tuple[bytes, str]:
            self.asked.set()
            return b"x" * HUGE, "text/plain"

    pages = Huge()
    async with asyncio.timeout(SHUTDOWN):
        async with TelemetryServer("127.0.0.1:0", pages, health) as running:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port, limit=1)
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            await pages.asked.wait()
        assert await until_cut(reader) < HUGE
        writer.close()


async def until_cut(reader: asyncio.StreamReader) -> int:
    """How many bytes come before the connection ends."""
    count = 0
    try:
        while piece := await reader.read(65536):
            count += len(piece)
    except ConnectionResetError:
        pass
    return count
