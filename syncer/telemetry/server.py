"""The one address that tells how it goes: `/healthz`, `/readyz`, `/metrics`, and nothing else.

Plain HTTP without a login: there is no value and no name of an installation in any answer. One request for
each connection, and none lives long, so that no peer can keep the process from ending.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Final, Protocol, Self

import structlog
from aiohttp import web

from syncer.telemetry.health import Verdict

LONGEST: Final = 30.0
"""Seconds after which a connection is cut, whatever the peer does with it."""
_SHUTDOWN: Final = 0.5
_READS: Final = ("GET", "HEAD")

_Page = Callable[[web.BaseRequest], web.Response]


class CannotListen(Exception):
    """The address cannot be used; the message says which one and why, in one line."""


class MetricsPage(Protocol):
    def page(self, accept: str = "") -> tuple[bytes, str]:
        """What to show, and its content type."""
        ...


class Verdicts(Protocol):
    def alive(self) -> Verdict: ...

    def ready(self) -> Verdict: ...


class TelemetryServer:
    """Listens while it is entered. `address` is `host:port`, where port 0 means any free one."""

    def __init__(self, address: str, metrics: MetricsPage, health: Verdicts) -> None:
        self._address = address
        self._metrics = metrics
        self._log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("syncer")
        self._pages: Mapping[str, _Page] = {
            "/healthz": lambda _: _told(health.alive()),
            "/readyz": lambda _: _told(health.ready()),
            "/metrics": self._scrape,
        }
        self._http: web.Server
        self._listener: asyncio.Server

    async def __aenter__(self) -> Self:
        """Raises `CannotListen`."""
        loop = asyncio.get_running_loop()
        host, port = _split(self._address)
        make_request = partial(_Request, loop=loop)
        self._http = web.Server(
            self._answer, request_factory=make_request, access_log=None, logger=_silent_logger()
        )
        try:
            self._listener = await loop.create_server(self._connection, host, port)
        except OSError as error:
            why = (error.strerror or type(error).__name__).rpartition(": ")[2]
            raise CannotListen(f"cannot listen on {self._address}: {why}") from None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()
        connections = [(one, one.transport) for one in self._http.connections]
        try:
            await self._http.shutdown(_SHUTDOWN)
        finally:
            for _, transport in connections:
                if transport is not None:
                    transport.abort()  # what a peer does not fetch is not waited for

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    def _connection(self) -> asyncio.BaseProtocol:
        connection = self._http()

        def cut() -> None:
            if connection.transport is not None:
                connection.transport.abort()

        asyncio.get_running_loop().call_later(LONGEST, cut)
        return connection

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        page = self._pages.get(request.path)
        if page is None:
            answer = _line(HTTPStatus.NOT_FOUND, "not found")
        elif request.method not in _READS:
            answer = _line(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD")
            answer.headers["Allow"] = ", ".join(_READS)
        else:
            answer = self._shown(page, request)
        answer.force_close()
        return answer

    def _shown(self, page: _Page, request: web.BaseRequest) -> web.Response:
        try:
            return page(request)
        except Exception as error:  # noqa: BLE001  # its text could quote anything
            self._log.error("page failed", path=request.path, exc_type=type(error).__name__)
            return _line(HTTPStatus.INTERNAL_SERVER_ERROR, "failed; the log says more")

    def _scrape(self, request: web.BaseRequest) -> web.Response:
        body, content_type = self._metrics.page(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})


class _Request(web.BaseRequest):
    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        """NB: also of answers to what is no HTTP; else each would tell Python's and aiohttp's version."""
        response.headers["Server"] = "porter-outputs-syncer"


def _silent_logger() -> logging.Logger:
    """For aiohttp, which logs an error for whatever somebody sends that is no HTTP."""
    logger = logging.getLogger("aiohttp.telemetry")
    logger.setLevel(logging.CRITICAL + 1)
    return logger


def _told(verdict: Verdict) -> web.Response:
    return _line(HTTPStatus.OK if verdict.good else HTTPStatus.SERVICE_UNAVAILABLE, verdict.why)


def _line(status: HTTPStatus, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n")


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and int(port) < 2**16):
        raise CannotListen(f"cannot listen on {address}: not of the form host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)
