"""A server for the tests of this folder; its vaults stand at noon of one day until a test moves them on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from azure.keyvault.secrets.aio import SecretClient

from tests.servers.keyvault import Clock, KeyVaultServer, Vault
from tests.servers.keyvault.sdk import NOON, client_of


@pytest.fixture(scope="module")
def server() -> Iterator[KeyVaultServer]:
    server = KeyVaultServer.start()
    yield server
    server.stop()


@pytest.fixture
def vault(server: KeyVaultServer) -> Iterator[Vault]:
    vault = server.new_vault(clock=Clock(NOON.timestamp()))
    yield vault
    vault.close()


@pytest.fixture
async def client(server: KeyVaultServer, vault: Vault) -> AsyncIterator[SecretClient]:
    async with client_of(server, vault) as client:
        yield client
