"""The contract suite on an OpenBao that a proxy makes one like HashiCorp Vault, see `vault_likeness`."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from backends.contract import Absent
from backends.errors import PreconditionFailed
from backends.testing import OpenRig, Rig, SinkContract
from backends.vault.sink import VaultSink
from tests.contract.test_vault_sink import KvV2Rig
from tests.contract.vault_likeness import act_as_vault
from tests.contract.vault_rows import Place, desired, listed, look, refused
from tests.contract.vault_world import options_for
from tests.servers.http_proxy import HttpProxy, Rule, before, on
from tests.servers.openbao import BaoServer


@pytest.fixture(scope="module")
def proxy(bao_server) -> Iterator[HttpProxy]:
    started = HttpProxy.start(bao_server.url, bao_server.ca_file)
    act_as_vault(started)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def mount(bao_server) -> str:
    return bao_server.mount(2)


def opener(bao: BaoServer, proxy: HttpProxy, mount: str) -> OpenRig:
    """The sink asks through the proxy, somebody else asks directly."""
    path = f"porter/{secrets.token_hex(5)}"
    reached = {"address": proxy.url, "caFile": str(proxy.ca_file)}

    @asynccontextmanager
    async def opened() -> AsyncIterator[Rig]:
        async with VaultSink(options_for(bao, mount, path, **reached), page_size=16) as sink:
            yield KvV2Rig(sink, bao, mount, path)

    return opened


class TestKvV2AsInVault(SinkContract):
    @pytest.fixture
    def open_rig(self, bao_server, proxy, mount):
        return opener(bao_server, proxy, mount)


async def test_the_sink_finds_out_that_it_is_not_openbao(bao_server, proxy, mount):
    place = Place(bao_server, mount)
    position = proxy.position()
    async with place.sink(address=proxy.url, caFile=str(proxy.ca_file)) as sink:
        place.write({"k": "theirs-canary"})
        await listed(sink)
        await listed(sink)
        assert sink._engine._claims_atomically is False
    asked = [seen for seen in proxy.since(position) if "/detailed-metadata/" in seen.path]
    assert [seen.status for seen in asked] == [404]


async def test_a_claim_over_bytes_that_may_be_ours_stays_where_it_could_be_taken_from_them(
    bao_server, proxy, mount
):
    place = Place(bao_server, mount)
    async with place.sink(address=proxy.url, caFile=str(proxy.ca_file)) as sink:
        # Another process of this instance had claimed it before, and writes its bytes now.
        write = before(lambda _: place.write({"password": "ours, of the other process"}))
        rule = Rule(on("POST", path=f"/data/{place.address()}$"), write, 1)
        proxy.rules._rules = (rule, *proxy.rules)
        with refused(PreconditionFailed):
            await sink.put(desired(place), Absent())
        proxy.rules.remove(rule)
        assert place.marked()
        seen = await look(sink, place)
        assert (seen.ours, seen.intact) == (True, False)
