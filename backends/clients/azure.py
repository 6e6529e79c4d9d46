"""The one client of Azure Key Vault: login, TLS, pace, paging, errors.

The SDK signs requests in and speaks the vault's challenges; its typed calls are left out: their deletes
and recoveries wait for seconds in loops of their own, and their errors quote answers. Knows nothing of
marks; retries nothing, since whoever calls knows better what may be repeated.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote
from weakref import WeakKeyDictionary

import aiohttp
from azure.core.rest import HttpRequest
from azure.core.settings import settings
from azure.keyvault.secrets.aio import SecretClient

from backends.clients.azure_errors import (
    Answer,
    Call,
    Operation,
    asked_pause,
    no_answer,
    read_answer,
    refusal,
)
from backends.clients.azure_login import Login
from backends.clients.azure_objects import (
    Json,
    NewSecret,
    Unreadable,
    VaultSecret,
    next_path,
    read_page,
    read_secret,
    set_body,
)
from backends.clients.azure_options import AzureOptions
from backends.clients.azure_transport import LoginTransport, NoAnswer, PacedTransport, new_session
from backends.clients.rate import Kind, Limit, Pacer
from backends.errors import AuthenticationFailed, SinkError

PAGE_SIZE: Final = 25
"""Secrets in a page of a list: the most the service gives."""

LIMITS: Final = {Kind.CREATE: Limit(requests=240, burst=16), Kind.OTHER: Limit(requests=3200, burst=200)}
"""80 % of what the service takes for one vault in 10 seconds, for everybody: 300 creates, 4000 others."""

_API_VERSION: Final = "7.4"  # old enough for every cloud; the SDK's default moves with its releases

_pacers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Pacer]] = WeakKeyDictionary()


def shared_pacer(vault_url: str, patience: float) -> Pacer:
    """The one pacer of a vault for all its clients of the running event loop."""
    pacers = _pacers.setdefault(asyncio.get_running_loop(), {})
    return pacers.setdefault(vault_url, Pacer(LIMITS, clock=time.monotonic, patience=patience))


class KeyVaultClient:
    """An async context manager. Entering it reads what the login takes, and sends nothing.

    Every method raises `SinkError`s only: `AuthenticationFailed`, `Forbidden` (naming the right),
    `NameTaken`, `SecretDisabled`, `Throttled`, `SinkUnavailable`, `Refused`; of a write that was sent
    and not answered `OutcomeUnknown`.
    """

    def __init__(self, options: AzureOptions, *, pacer: Pacer | None = None) -> None:
        _silence_library()
        self._options = options
        self._pacer = pacer
        self._session: aiohttp.ClientSession
        self._login: Login
        self._client: SecretClient

    async def __aenter__(self) -> Self:
        options, seconds = self._options, self._options.request_timeout
        pacer = self._pacer or shared_pacer(options.vault_url, seconds)
        self._session = new_session(options.ca_file)
        try:
            self._login = Login(options, LoginTransport(self._session, seconds), time.monotonic)
        except SinkError:
            await self._session.close()
            raise
        self._client = SecretClient(
            options.vault_url,
            self._login,
            api_version=_API_VERSION,
            verify_challenge_resource=options.verify_challenge_resource,
            transport=PacedTransport(self._session, seconds, pacer),
            user_agent="porter-outputs-syncer",
            retry_total=0,
            permit_redirects=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def get(self, name: str, version: str | None = None) -> VaultSecret | None:
        """The secret with its value, its latest version by default; None where the vault has none.

        Raises `SecretDisabled` for a version that is disabled.
        """
        return await self._read(
            Call(Operation.GET, name), f"/secrets/{_quoted(name)}/{_quoted(version or '')}"
        )

    async def get_deleted(self, name: str) -> VaultSecret | None:
        """The deleted secret that holds the name, without its value; None where there is none (yet)."""
        return await self._read(Call(Operation.GET_DELETED, name), f"/deletedsecrets/{_quoted(name)}")

    def list_secrets(self, page_size: int = PAGE_SIZE) -> AsyncGenerator[list[VaultSecret], None]:
        """Every secret's latest version, without values, page by page; a list that is cut raises."""
        return self._pages(Call(Operation.LIST), "/secrets", page_size)

    def list_versions(self, name: str, page_size: int = PAGE_SIZE) -> AsyncGenerator[list[VaultSecret], None]:
        """Every version of a secret, without values, in no order. Of an absent secret: none."""
        return self._pages(Call(Operation.VERSIONS, name), f"/secrets/{_quoted(name)}/versions", page_size)

    async def set(self, name: str, new: NewSecret) -> VaultSecret:
        """Write a new version, and the secret where there is none. `NameTaken` (409) is told apart."""
        call = Call(Operation.SET, name)
        answer = await self._send(call, "PUT", f"/secrets/{_quoted(name)}", body=set_body(new))
        return self._secret(call, answer)

    async def delete(self, name: str) -> bool:
        """Delete it with all versions, softly; answered before it is done. False: there was none."""
        return await self._done(Call(Operation.DELETE, name), "DELETE", f"/secrets/{_quoted(name)}")

    async def recover(self, name: str) -> bool:
        """Bring a deleted secret back as it was; answered before it is done. False: there was none."""
        return await self._done(
            Call(Operation.RECOVER, name), "POST", f"/deletedsecrets/{_quoted(name)}/recover"
        )

    async def purge(self, name: str) -> bool:
        """Destroy a deleted secret for good; answered before it is done. False: there was none."""
        return await self._done(Call(Operation.PURGE, name), "DELETE", f"/deletedsecrets/{_quoted(name)}")

    async def _read(self, call: Call, path: str) -> VaultSecret | None:
        answer = await self._send(call, "GET", path)
        if isinstance(answer, Answer) and answer.not_found:
            return None
        return self._secret(call, answer)

    async def _pages(self, call: Call, path: str, page_size: int) -> AsyncGenerator[list[VaultSecret], None]:
        target: str | None = f"{path}?maxresults={page_size}"
        while target is not None:
            answer = await self._send(call, "GET", target)
            if isinstance(answer, Answer):
                if answer.not_found and call.name:
                    return
                raise refusal(call, answer)
            try:
                page, link = read_page(answer)
                target = None if link is None else next_path(link, self._options.vault_url)
            except Unreadable:
                raise no_answer(call, sent=True, why="the answer is not a key vault's") from None
            yield page

    async def _done(self, call: Call, method: str, path: str) -> bool:
        answer = await self._send(call, method, path)
        if isinstance(answer, Answer) and not answer.not_found:
            raise refusal(call, answer)
        return not isinstance(answer, Answer)

    def _secret(self, call: Call, answer: Json | Answer) -> VaultSecret:
        if isinstance(answer, Answer):
            raise refusal(call, answer)
        try:
            return read_secret(answer)
        except Unreadable:
            raise no_answer(call, sent=True, why="the answer is not a key vault's") from None

    async def _send(self, call: Call, method: str, path: str, *, body: Json | None = None) -> Json | Answer:
        """The object that was answered ({} for none), or the refusal. A refused token is replaced once."""
        request = HttpRequest(method, path) if body is None else HttpRequest(method, path, json=body)
        since = time.monotonic()
        answer = await self._exchange(call, request)
        is_refused = isinstance(answer, Answer) and answer.status == HTTPStatus.UNAUTHORIZED
        if is_refused and self._login.forget(since):
            return await self._exchange(call, request)
        return answer

    async def _exchange(self, call: Call, request: HttpRequest) -> Json | Answer:
        try:
            response: Any = await self._client.send_request(request)
            status, headers, content = response.status_code, response.headers, response.content
        except SinkError:
            raise
        except NoAnswer as error:
            raise no_answer(call, sent=error.sent, why=error.why) from None
        except ValueError:
            reason = f"{call}: the vault asks for a token of another domain (verifyChallengeResource)"
            raise AuthenticationFailed(reason) from None
        except Exception as error:  # noqa: BLE001  # the SDK's, whatever they are: their texts quote answers
            why = f"the answer cannot be read ({type(error).__name__})"
            raise no_answer(call, sent=True, why=why) from None
        parsed = _parsed(content)
        if status == HTTPStatus.NO_CONTENT:
            return {}
        if status != HTTPStatus.OK:
            return read_answer(status, parsed, asked_pause(headers, time.time()))
        if not isinstance(parsed, dict):
            raise no_answer(call, sent=True, why="the answer is not a key vault's")
        return parsed


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _parsed(content: bytes) -> object:
    try:
        parsed: object = json.loads(content)
    except (ValueError, RecursionError):  # NB: the second for lists in lists in lists
        return None
    return parsed


def _silence_library() -> None:
    """Keep the libraries from logging and tracing: they quote the texts of failed logins.

    Holds whatever the root logger's level is: a level of its own, and none that any record has.
    """
    for name in ("azure", "msal"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    settings.tracing_enabled = False
