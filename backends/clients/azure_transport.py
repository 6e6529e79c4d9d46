"""How requests to Azure travel: one aiohttp session, one TLS context, a time for each request.

The SDK's own transport underneath, with what it blurs told apart: a request that was never sent, and
one whose answer is missing. Nothing is retried and no redirect followed here.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from azure.core.exceptions import AzureError
from azure.core.pipeline.transport import AioHttpTransport

from backends.clients.azure_errors import asked_pause, login_refusal
from backends.clients.permit import PermittedRequest
from backends.clients.proxies import environment_proxy
from backends.clients.rate import Kind, Pacer
from backends.errors import AuthenticationFailed, SinkError, SinkUnavailable
from backends.sending import only_while

_CONNECTIONS: Final = 64
_CONNECT_TIMEOUT: Final = 10.0


class NoAnswer(Exception):
    """A request without an answer. `why` is ours and fit for users."""

    def __init__(self, why: str, *, sent: bool) -> None:
        super().__init__(why)
        self.why = why
        self.sent = sent
        """False: it surely never reached the server, or not with what it was to do."""


def new_session(ca_file: Path | None) -> aiohttp.ClientSession:
    """A session for vault and login. Raises `AuthenticationFailed` where `ca_file` cannot be used."""
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ValueError):
            raise AuthenticationFailed(f"the certificates in {str(ca_file)!r} cannot be used") from None
    connector = aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=context)
    # As the SDK makes its own: it unpacks answers itself.
    session = aiohttp.ClientSession(
        connector=connector,
        request_class=PermittedRequest,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )
    # Otherwise aiohttp silently sends a PUT or DELETE again when its connection breaks: a second version
    # would be made, or what somebody wrote in between deleted. It has no public switch.
    session._retry_connection = False  # noqa: SLF001
    return session


class Transport(AioHttpTransport):  # type: ignore[misc]  # exported lazily, hence untyped
    """Over a session that somebody else closes. Raises `NoAnswer` and nothing else."""

    def __init__(self, session: aiohttp.ClientSession, seconds: float) -> None:
        super().__init__(session=session, session_owner=False, use_env_settings=False)
        self._seconds = seconds

    async def send(self, request: Any, **_: Any) -> Any:  # the SDK's options are not for us
        try:
            async with asyncio.timeout(self._seconds):
                return await super().send(
                    request,
                    stream=False,
                    proxy=_proxy(request.url),
                    connection_timeout=_CONNECT_TIMEOUT,
                    read_timeout=self._seconds,
                )
        except AzureError as error:
            raise _broken(error.inner_exception or error) from None
        except (aiohttp.ClientError, OSError) as error:
            raise _broken(error) from None


class LoginTransport(Transport):
    """The login's, one request at a time: what the last one came to is kept.

    The library's own errors do not tell a refusal from an endpoint in trouble.
    """

    def __init__(self, session: aiohttp.ClientSession, seconds: float) -> None:
        super().__init__(session, seconds)
        self.outcome: SinkError | None = None
        """What it means if the login has failed by now; None: nothing was sent."""

    def begin(self) -> None:
        """Another login begins."""
        self.outcome = None

    async def send(self, request: Any, **_: Any) -> Any:
        try:
            with only_while(lambda: True):  # a login writes nothing
                response = await super().send(request)
        except NoAnswer as error:
            self.outcome = SinkUnavailable(f"log in: {error.why}")
            raise
        self.outcome = login_refusal(response.status_code, asked_pause(response.headers, time.time()))
        return response


class PacedTransport(Transport):
    """The vault's: each request, the SDK's own ones included, waits for its turn. Raises `Throttled`, too."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        seconds: float,
        pacer: Pacer,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(session, seconds)
        self._pacer = pacer
        self._now = now

    async def send(self, request: Any, **_: Any) -> Any:
        async with self._pacer.turn(Kind.CREATE if request.method == "PUT" else Kind.OTHER) as turn:
            try:
                response = await super().send(request)
            except NoAnswer as error:
                # Without a token it only asked for the vault's challenge, and had no body.
                sent = error.sent and "Authorization" in request.headers
                raise NoAnswer(error.why, sent=sent) from None
            refused = response.status_code == HTTPStatus.TOO_MANY_REQUESTS
            turn.answered(refused=refused, asked=asked_pause(response.headers, self._now()))
            return response


@lru_cache(maxsize=64)
def _proxy_for(scheme: str, host: str) -> str | None:
    return environment_proxy(f"{scheme}://{host}")


def _proxy(url: str) -> str | None:
    """The environment's proxy, but none for http: that is the machine's own identity endpoint."""
    parts = urlsplit(url)
    return _proxy_for(parts.scheme, parts.netloc) if parts.scheme == "https" else None


def _broken(error: BaseException) -> NoAnswer:
    """NB: what the SDK calls a request error may well have been sent, hence its cause is looked at."""
    match error:
        case aiohttp.ClientSSLError():
            return NoAnswer("the server's certificate is not trusted, or TLS failed", sent=False)
        case aiohttp.ConnectionTimeoutError() | aiohttp.ClientConnectorError():
            return NoAnswer("the server cannot be reached", sent=False)
        case TimeoutError():
            return NoAnswer("there was no answer in time", sent=True)
        case _:
            return NoAnswer(f"the connection broke ({type(error).__name__})", sent=True)
