"""The real SDK as a client of the stand-in, for tests; and plain HTTP for what the SDK would never ask."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from datetime import UTC, datetime
from ssl import create_default_context
from typing import Any, Self

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import HttpResponseError
from azure.keyvault.secrets.aio import SecretClient

from tests.servers.keyvault import KeyVaultServer, Vault
from tests.servers.keyvault.tokens import Identity

SCOPE = "https://vault.azure.net/.default"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Known:
    """A credential for tests that are not about logging in."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        return AccessToken(self._token, 2**33)

    async def close(self) -> None:
        return

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return


def client_with(
    server: KeyVaultServer, vault: Vault, credential: AsyncTokenCredential, **options: Any
) -> SecretClient:
    """A client that trusts the server's certificate and retries nothing, unless told otherwise."""
    defaults = {"connection_verify": str(server.ca_file), "retry_total": 0}
    return SecretClient(vault.url, credential, verify_challenge_resource=False, **(defaults | options))


def client_of(
    server: KeyVaultServer, vault: Vault, identity: Identity | None = None, **options: Any
) -> SecretClient:
    """The same, with a token that was not asked for."""
    return client_with(server, vault, Known(server.entra.issue(identity or server.identity)), **options)


def login(server: KeyVaultServer) -> dict[str, Any]:
    """What every credential of azure.identity needs to know of the server."""
    return {
        "authority": server.authority,
        "disable_instance_discovery": True,
        "connection_verify": str(server.ca_file),
        "retry_total": 0,
    }


def refusal(error: HttpResponseError) -> tuple[int | None, str, str | None]:
    """Status, code and inner code of an error as the service wrote them."""
    assert error.response is not None
    body = json.loads(error.response.text())["error"]
    return error.status_code, body["code"], body.get("innererror", {}).get("code")


def header(error: HttpResponseError, name: str) -> str | None:
    """A header of the answer behind an error."""
    headers: dict[str, str] = getattr(error.response, "headers")  # noqa: B009 - its type has none
    return headers.get(name)


async def plainly(
    server: KeyVaultServer,
    url: str,
    *,
    token: str | None = None,
    method: str = "GET",
    body: str | None = None,
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of an answer, without the SDK."""
    return await asyncio.to_thread(_asked, server, url, token, method, body)


def _asked(
    server: KeyVaultServer, url: str, token: str | None, method: str, body: str | None
) -> tuple[int, dict[str, str], Any]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    data = None if body is None else body.encode()
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    context = create_default_context(cafile=str(server.ca_file))
    try:
        with urllib.request.urlopen(request, context=context) as response:
            return response.status, dict(response.headers), json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), json.load(error)
