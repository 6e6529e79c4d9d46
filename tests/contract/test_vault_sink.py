"""The contract suite on a real OpenBao, with a token that may do what the shipped policy says and no more.

Once for each version of the KV engine, and for mounts with settings of their own. What only Vault does
(sealing, foreign versions, lost answers) is in `test_vault_secrets.py`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from backends.contract import Owner
from backends.secret_value import SecretValue
from backends.testing import OpenRig, Raw, Rig, SinkContract
from backends.texts import stored_text
from backends.vault import KIND
from backends.vault.options import KV1_CAPABILITIES
from backends.vault.sink import VaultSink
from tests.contract.vault_world import THEIRS, options_for
from tests.servers.openbao import BaoServer

MARK = "outputs.porter.sh/"
SMALL_PAGE = 16


class KvV2Rig(Rig):
    """Somebody else has a root token."""

    def __init__(self, sink: VaultSink, bao: BaoServer, mount: str, path: str) -> None:
        super().__init__(sink=sink, kind=KIND, owner=Owner(instance=f"rig of {path}", source="source"))
        self._bao = bao
        self._mount = mount
        self._path = path

    def address(self, number: int) -> str:
        return f"{self._path}/shop/orders-{number}"

    async def plant_foreign(self, address: str, data: Mapping[str, bytes]) -> None:
        self._bao.write(f"{self._mount}/data/{address}", {"data": texts(data)})
        self._bao.write(f"{self._mount}/metadata/{address}", {"custom_metadata": THEIRS})

    async def tamper(self, address: str, data: Mapping[str, bytes]) -> None:
        self._bao.write(f"{self._mount}/data/{address}", {"data": texts(data)})

    async def rewrite_mark(self, address: str, fields: Mapping[str, str]) -> None:
        custom = self._metadata(address)["custom_metadata"]
        others = {
            name: text for name, text in custom.items() if name.removeprefix(MARK) in ("versions", "base64")
        }
        written = {f"{MARK}{name}": text for name, text in fields.items() if text}
        self._bao.write(f"{self._mount}/metadata/{address}", {"custom_metadata": others | written})

    async def raw(self, address: str) -> Raw | None:
        metadata = self._bao.read(f"{self._mount}/metadata/{address}")
        if metadata is None:
            return None
        found = self._bao.read(f"{self._mount}/data/{address}")
        custom = metadata["custom_metadata"] or {}
        base64 = json.loads(custom.get(f"{MARK}base64", "[]"))
        data = {} if found is None else contents(found["data"], base64)
        return Raw(data=data, state=repr((metadata["current_version"], metadata["versions"], custom)))

    def _metadata(self, address: str) -> dict:
        found = self._bao.read(f"{self._mount}/metadata/{address}")
        assert found is not None
        return found


class KvV1Rig(Rig):
    """The same where marks are secrets of their own."""

    def __init__(self, sink: VaultSink, bao: BaoServer, mount: str, path: str) -> None:
        kind = replace(KIND, capabilities=KV1_CAPABILITIES)
        super().__init__(sink=sink, kind=kind, owner=Owner(instance=f"rig of {path}", source="source"))
        self._bao = bao
        self._mount = mount
        self._path = path

    def address(self, number: int) -> str:
        return f"{self._path}/shop/orders-{number}"

    async def plant_foreign(self, address: str, data: Mapping[str, bytes]) -> None:
        self._bao.write(f"{self._mount}/{address}", texts(data))

    async def tamper(self, address: str, data: Mapping[str, bytes]) -> None:
        self._bao.write(f"{self._mount}/{address}", texts(data))

    async def rewrite_mark(self, address: str, fields: Mapping[str, str]) -> None:
        if fields:
            self._bao.write(self._sidecar(address), dict(fields))
        else:
            self._bao.delete(self._sidecar(address))

    async def raw(self, address: str) -> Raw | None:
        found, sidecar = self._bao.read(f"{self._mount}/{address}"), self._bao.read(self._sidecar(address))
        if found is None and sidecar is None:
            return None
        data = contents(found or {}, (sidecar or {}).get("base64", []))
        return Raw(data=data, state=repr((found, sidecar)))

    def _sidecar(self, address: str) -> str:
        return f"{self._mount}/{self._path}/.syncer/{address.removeprefix(f'{self._path}/')}"


def texts(data: Mapping[str, bytes]) -> dict[str, str]:
    return {key: stored_text(SecretValue(content)).text for key, content in data.items()}


def contents(found: Mapping[str, str], base64: list[str]) -> dict[str, bytes]:
    import base64 as codec  # noqa: PLC0415

    return {key: codec.b64decode(text) if key in base64 else text.encode() for key, text in found.items()}


def opener(rig: type[KvV2Rig | KvV1Rig], bao: BaoServer, mount: str) -> OpenRig:
    path = f"porter/{secrets.token_hex(5)}"

    @asynccontextmanager
    async def opened() -> AsyncIterator[Rig]:
        async with VaultSink(
            options_for(bao, mount, path, version=1 if rig is KvV1Rig else 2), page_size=SMALL_PAGE
        ) as sink:
            yield rig(sink, bao, mount, path)

    return opened


class TestKvV2(SinkContract):
    @pytest.fixture
    def open_rig(self, bao_server):
        return opener(KvV2Rig, bao_server, bao_server.mount(2))


class TestKvV2WhereACheckAndSetIsRequired(SinkContract):
    @pytest.fixture
    def open_rig(self, bao_server):
        return opener(StrictRig, bao_server, bao_server.mount(2, cas_required=True))


class TestKvV1(SinkContract):
    @pytest.fixture
    def open_rig(self, bao_server):
        return opener(KvV1Rig, bao_server, bao_server.mount(1))


class StrictRig(KvV2Rig):
    """Somebody else has to say which version they write over."""

    async def plant_foreign(self, address: str, data: Mapping[str, bytes]) -> None:
        body = {"data": texts(data), "options": {"cas": 0}}
        self._bao.write(f"{self._mount}/data/{address}", body)
        self._bao.write(f"{self._mount}/metadata/{address}", {"custom_metadata": THEIRS})

    async def tamper(self, address: str, data: Mapping[str, bytes]) -> None:
        current = self._metadata(address)["current_version"]
        self._bao.write(f"{self._mount}/data/{address}", {"data": texts(data), "options": {"cas": current}})
