"""Entra in trouble, and where a login is sent, against the stand-in."""

from __future__ import annotations

import aiohttp
import pytest
from azure_world import (
    NAME,
    by_secret,
    environment,
    failing,
    options_of,
    planted,
)

from backends.clients.azure import KeyVaultClient
from backends.clients.azure_login import Login
from backends.clients.azure_transport import LoginTransport, NoAnswer, new_session
from backends.errors import AuthenticationFailed, SinkError, SinkUnavailable
from tests.servers.keyvault.faults import Drop, Hold, failed, throttled, web_page

__all__ = ["environment", "planted"]  # fixtures


# --- Entra in trouble


@pytest.mark.fault(52)
@pytest.mark.parametrize(
    "fault",
    [failed(500), failed(503), throttled(30), web_page(502), web_page(200), Drop(), Hold()],
    ids=lambda fault: f"{type(fault).__name__} {getattr(fault, 'status', '')}",
)
async def test_an_endpoint_in_trouble_is_unavailable_and_asked_once(keyvault_server, planted, fault):
    auth, secret = by_secret(keyvault_server)
    options = options_of(keyvault_server, planted, auth, secret=secret, requestTimeout="300ms")
    strikes = keyvault_server.token_service.faults.add(fault, operation="token")
    error = await failing(options, SinkUnavailable, secret)
    assert strikes.hits == 1
    assert error.retry_after == (30 if fault == throttled(30) else None)


@pytest.mark.fault(52)
async def test_an_endpoint_that_is_down_is_unavailable_not_refused(keyvault_server, planted):
    auth, secret = by_secret(keyvault_server)
    options = options_of(keyvault_server, planted, auth, secret=secret)
    with keyvault_server.token_endpoint.refusing():
        error = await failing(options, SinkUnavailable, secret)
    assert error.reason == "log in: the server cannot be reached"


# --- where


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        (None, "login.microsoftonline.com"),
        ("AzurePublic", "login.microsoftonline.com"),
        ("AzureGovernment", "login.microsoftonline.us"),
        ("AzureChina", "login.chinacloudapi.cn"),
        ("https://login.private.example/", "login.private.example"),
    ],
)
async def test_an_authority_is_where_tokens_are_asked_for(
    keyvault_server, planted, environment, authority, host
):
    asked = []

    class Nowhere(LoginTransport):
        async def send(self, request, **_):
            asked.append(request.url)
            raise NoAnswer("nobody is there", sent=False)

    auth, secret = by_secret(keyvault_server)
    options = options_of(keyvault_server, planted, auth, secret=secret, authority=authority)
    async with new_session(None) as session:
        login = Login(options, Nowhere(session, 1), lambda: 0.0)
        with pytest.raises(SinkError):
            await login.get_token("https://vault.azure.net/.default", tenant_id="named-by-the-vault")
    assert asked == [f"https://{host}/{keyvault_server.tenant}/oauth2/v2.0/token"]


async def test_certificates_that_cannot_be_read_are_told(keyvault_server, planted, tmp_path):
    broken = tmp_path / "ca.pem"
    broken.write_text("nothing")
    auth, secret = by_secret(keyvault_server)
    options = options_of(keyvault_server, planted, auth, secret=secret, caFile=str(broken))
    error = await failing(options, AuthenticationFailed)
    assert str(broken) in error.reason


async def test_no_session_is_left_open(keyvault_server, planted):
    auth, secret = by_secret(keyvault_server)
    client = KeyVaultClient(options_of(keyvault_server, planted, auth, secret=secret))
    async with client:
        await client.get(NAME)
    assert isinstance(client._session, aiohttp.ClientSession)
    assert client._session.closed
