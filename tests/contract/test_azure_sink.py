"""The contract suite on a stand-in for Azure Key Vault, as an identity with no right but the documented ones.

What only a key vault does (soft delete, throttling, casing, races) is in `test_azure_secrets.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

import pytest
from azure_world import options_for

from backends.azure_keyvault import KIND
from backends.azure_keyvault.marks import PREFIX, field_tags
from backends.azure_keyvault.sink import AzureKeyVaultSink
from backends.contract import PER_OUTPUT_KEY
from backends.secret_value import SecretValue
from backends.testing import Raw, Rig, SinkContract
from backends.texts import read_text, stored_text
from tests.servers.keyvault import Vault

SMALL_PAGE = 7


class AzureRig(Rig):
    """Somebody else has the vault itself in hands."""

    attributes = MappingProxyType(
        {
            "content-type": "text/x-dsn",
            "expires": "2099-12-31T23:59:59Z",
            "not-before": "2020-01-01T00:00:00Z",
            "tag:team": "orders",
        }
    )

    def __init__(self, sink: AzureKeyVaultSink, vault: Vault) -> None:
        super().__init__(sink=sink, kind=KIND)
        self._vault = vault

    def address(self, number: int) -> str:
        return f"shop-Orders-{number}-dsn"

    async def plant_foreign(self, address: str, data: Mapping[str, bytes]) -> None:
        self._put(address, data, {"theirs": "yes"})

    async def tamper(self, address: str, data: Mapping[str, bytes]) -> None:
        found = self._vault.read(address)
        assert found is not None
        self._put(address, data, dict(found.tags or {}))

    async def rewrite_mark(self, address: str, fields: Mapping[str, str]) -> None:
        found = self._vault.read(address)
        assert found is not None
        others = {name: text for name, text in (found.tags or {}).items() if not name.startswith(PREFIX)}
        self._vault.set_tags(address, others | field_tags(fields, address))

    async def raw(self, address: str) -> Raw | None:
        found = self._vault.read(address)
        if found is None:
            return None
        value = read_text(found.value, is_base64=(found.tags or {}).get("file-encoding") == "base64")
        assert value is not None
        state = f"{found.version} {found.updated} {sorted((found.tags or {}).items())}"
        return Raw(data={PER_OUTPUT_KEY: value.reveal()}, state=state)

    def _put(self, address: str, data: Mapping[str, bytes], tags: Mapping[str, str]) -> None:
        stored = stored_text(SecretValue(data[PER_OUTPUT_KEY]))
        encoding = {"file-encoding": "base64"} if stored.is_base64 else {}
        self._vault.put(address, stored.text, tags={**tags, **encoding})


class TestAzureKeyVault(SinkContract):
    @pytest.fixture
    def open_rig(self, keyvault_server):
        vault = keyvault_server.new_vault()

        @asynccontextmanager
        async def opened() -> AsyncIterator[Rig]:
            options = options_for(keyvault_server, vault)
            async with AzureKeyVaultSink(options, page_size=SMALL_PAGE) as sink:
                yield AzureRig(sink, vault)

        yield opened
        vault.close()
