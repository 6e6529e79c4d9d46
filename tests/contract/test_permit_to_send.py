"""The permit to send: whoever may no longer lead changes nothing at any sink, and says that nothing was sent.

On the real servers, by what these saw. A process that is stopped while it waits for a connection is played
by a gate before the server: what the permit says changes while TLS is held back. Excludes who gives
the permit (tests/unit/engine/test_engine_lease.py).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from azure_world import options_for, sink_for
from test_azure_sink import AzureRig
from test_file_sink import FileRig
from test_kubernetes_client import kubeconfig
from test_kubernetes_sink import RULES, KubernetesRig
from test_memory_sink import MemoryRig
from test_vault_sink import KvV1Rig, KvV2Rig

from backends.clients.azure import KeyVaultClient
from backends.clients.azure_objects import NewSecret
from backends.clients.kubernetes import KubernetesClient, resource_path
from backends.clients.vault import VaultClient
from backends.contract import PER_OUTPUT_KEY, Absent, Unchanged
from backends.errors import OutcomeUnknown, SinkUnavailable
from backends.file.options import FileOptions
from backends.file.sink import FileSink
from backends.kubernetes_secret.options import KubernetesSinkOptions
from backends.kubernetes_secret.sink import KubernetesSecretSink
from backends.memory import MemoryStore
from backends.secret_value import SecretValue
from backends.sending import only_while
from backends.testing import Rig, desired
from backends.vault.sink import VaultSink
from tests.contract.vault_world import options_for as vault_options
from tests.servers.http_proxy import HttpProxy, after, drop, on

NOT_SENT = "not sent: this process may no longer be the leader"


@dataclass
class World:
    """An opened sink, and how many writes its server has seen so far."""

    rig: Rig
    writes: Callable[[], int]


def never() -> bool:
    return False


def times(number: int) -> Callable[[], bool]:
    """A permit for so many writes."""
    left = iter([True] * number)
    return lambda: next(left, False)


@asynccontextmanager
async def memory(request) -> AsyncIterator[World]:
    rig = MemoryRig(MemoryStore())
    yield World(rig, lambda: rig.sink.writes)


@asynccontextmanager
async def file(request) -> AsyncIterator[World]:
    base = request.getfixturevalue("tmp_path") / "out"

    def inode_of_everything() -> int:
        found = [path for path in sorted(base.rglob("*")) if path.name != "..syncer.lock"]
        return hash(tuple((str(path), path.lstat().st_ino, path.lstat().st_mtime_ns) for path in found))

    yield World(FileRig(base), inode_of_everything)


@asynccontextmanager
async def kubernetes(request) -> AsyncIterator[World]:
    cluster, namespace = (request.getfixturevalue(name) for name in ("kube_cluster", "kube_namespace"))
    cluster.grant("syncer", RULES, namespace)
    options = KubernetesSinkOptions(kubeconfig=cluster.kubeconfig("syncer"), namespaces=(namespace,))
    since = cluster.audit.position()
    async with KubernetesSecretSink(options) as sink:
        # Questions for rights are posts too.
        yield World(
            KubernetesRig(sink, cluster, namespace),
            lambda: sum(
                each.resource == "secrets" for each in cluster.audit.writes(since=since, user="syncer")
            ),
        )


def vault(version: int):
    @asynccontextmanager
    async def opened(request) -> AsyncIterator[World]:
        bao = request.getfixturevalue("bao_server")
        mount, path = bao.mount(version), "porter"
        since = bao.audit.position()
        async with VaultSink(vault_options(bao, mount, path, version=version)) as sink:
            rig = (KvV2Rig if version == 2 else KvV1Rig)(sink, bao, mount, path)
            yield World(rig, lambda: len(bao.audit.writes(since=since, prefix=mount)))

    return opened


@asynccontextmanager
async def azure(request) -> AsyncIterator[World]:
    server, key_vault = (request.getfixturevalue(name) for name in ("keyvault_server", "key_vault"))
    async with sink_for(options_for(server, key_vault), key_vault) as sink:
        yield World(AzureRig(sink, key_vault), lambda: key_vault.writes)


WORLDS = {
    "memory": memory,
    "file": file,
    "kubernetes": kubernetes,
    "vault": vault(2),
    "vault version 1": vault(1),
    "azure": azure,
}


@pytest.fixture(params=WORLDS)
async def world(request) -> AsyncIterator[World]:
    async with WORLDS[request.param](request) as opened:
        yield opened


@pytest.mark.fault(55)
async def test_without_the_permit_nothing_is_written_and_everything_read(world):
    rig, sink = world.rig, world.rig.sink
    address = rig.address(1)
    await sink.put(desired(rig, 1), Absent())
    seen = (await sink.observe(rig.owner, [address]))[address]
    there, before = await rig.raw(address), world.writes()
    with only_while(never):
        changed = desired(rig, 1, {PER_OUTPUT_KEY: b"another"}, content_id="another")
        for write in (
            sink.put(changed, Unchanged(seen.version)),
            sink.put(desired(rig, 2), Absent()),
            sink.remove(seen),
        ):
            with pytest.raises(SinkUnavailable) as caught:
                await write
            assert (type(caught.value), caught.value.reason) == (SinkUnavailable, NOT_SENT)
        assert (await sink.observe(rig.owner, [address, rig.address(2)])).keys() == {address}
        assert [one.address async for one in sink.inventory(rig.owner)] == [address]
        assert (await sink.check())[0].detail
    assert (await rig.raw(address), await rig.raw(rig.address(2))) == (there, None)
    assert world.writes() == before
    with only_while(lambda: True):
        await sink.put(changed, Unchanged(seen.version))
        seen = (await sink.observe(rig.owner, [address]))[address]
        await sink.remove(seen)
    assert await sink.observe(rig.owner, [address]) == {}


@pytest.mark.fault(55)
async def test_a_permit_that_ends_between_two_writes_leaves_nothing_unmarked_and_the_next_one_finishes(world):
    rig, sink = world.rig, world.rig.sink
    address = rig.address(1)
    for allowed in itertools.count():
        with only_while(times(allowed)):
            try:
                await sink.put(desired(rig, 1), Absent())
            except SinkUnavailable as refusal:
                reason = refusal.reason
            else:
                break
        assert reason == NOT_SENT
        found = (await sink.observe(rig.owner, [address])).get(address)
        assert found is None or found.ours
        with only_while(lambda: True):
            again = Absent() if found is None else Unchanged(found.version)
            await sink.put(desired(rig, 1), again)
            seen = (await sink.observe(rig.owner, [address]))[address]
            assert seen.data == desired(rig, 1).data
            await sink.remove(seen)
    assert allowed >= 1
    seen = (await sink.observe(rig.owner, [address]))[address]
    assert seen.data == desired(rig, 1).data


# --- on the disk


async def test_without_the_permit_not_even_the_folder_of_the_sink_is_made(tmp_path):
    rig = FileRig(tmp_path / "out")
    with only_while(never), pytest.raises(SinkUnavailable, match="not sent"):
        await rig.sink.put(desired(rig, 1), Absent())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "allowed", [1, 2], ids=["while it waits for the lock", "while it writes the new set"]
)
async def test_a_permit_that_ends_before_the_swap_leaves_the_old_set_and_nothing_of_the_new_one(
    tmp_path, allowed
):
    base, steps = tmp_path / "out", []
    rig = FileRig(base)
    sink = FileSink(FileOptions(path=base), step=steps.append)
    await sink.put(desired(rig, 1), Absent())
    seen = (await sink.observe(rig.owner, [rig.address(1)]))[rig.address(1)]
    there = sorted(base.rglob("*"))
    steps.clear()
    with only_while(times(allowed)), pytest.raises(SinkUnavailable, match="not sent"):
        await sink.put(desired(rig, 1, {PER_OUTPUT_KEY: b"another"}), Unchanged(seen.version))
    assert bool(steps) == (allowed == 2)
    assert not [step for step in steps if step.startswith("swap")]
    assert sorted(base.rglob("*")) == there
    assert (await sink.observe(rig.owner, [rig.address(1)]))[rig.address(1)].data == seen.data


# --- between the read and the write


@pytest.fixture
def proxy(kube_cluster) -> Iterator[HttpProxy]:
    started = HttpProxy.start(kube_cluster.url, kube_cluster.ca_file)
    yield started
    started.stop()


@pytest.fixture
async def client(kube_cluster, proxy, tmp_path) -> AsyncIterator[KubernetesClient]:
    user = {"token": kube_cluster.tokens["admin"]}
    async with KubernetesClient(kubeconfig(tmp_path / "config", proxy.url, user, proxy.ca_file)) as opened:
        yield opened


@pytest.mark.fault(55)
async def test_a_permit_that_ends_while_the_sink_reads_stops_the_write_after_it(
    kube_cluster, kube_namespace, proxy, tmp_path
):
    permitted = True

    def stop(*_: object) -> None:
        nonlocal permitted
        permitted = False

    kube_cluster.grant("syncer", RULES, kube_namespace)
    user = {"token": kube_cluster.tokens["syncer"]}
    login = kubeconfig(tmp_path / "config", proxy.url, user, proxy.ca_file)
    options = KubernetesSinkOptions(kubeconfig=login.kubeconfig, namespaces=(kube_namespace,))
    async with KubernetesSecretSink(options) as sink:
        rig = KubernetesRig(sink, kube_cluster, kube_namespace)
        address = rig.address(1)
        await sink.put(desired(rig, 1), Absent())
        seen = (await sink.observe(rig.owner, [address]))[address]
        there, since = await rig.raw(address), kube_cluster.audit.position()
        proxy.rules.add(on("GET"), after(stop))
        with only_while(lambda: permitted), pytest.raises(SinkUnavailable, match="not sent"):
            await sink.put(desired(rig, 1, {"password": b"another"}), Unchanged(seen.version))
        assert not permitted
        assert await rig.raw(address) == there
        assert [event.verb for event in kube_cluster.audit.events(since=since, user="syncer")] == ["get"]


async def test_a_question_for_rights_needs_no_permit(client):
    with only_while(never):
        assert await client.review_access(verb="list", resource="secrets")


async def test_of_a_write_that_was_sent_once_nobody_says_that_it_was_not(kube_namespace, proxy, client):
    # aiohttp sends a PUT again, of itself, when a connection that was kept breaks.
    path = resource_path("secrets", namespace=kube_namespace)
    stored = await client.post(path, {"metadata": {"name": "a"}})
    rule = proxy.rules.add(on("PUT"), drop())
    with only_while(times(1)), pytest.raises(OutcomeUnknown):
        await client.put(f"{path}/a", stored)
    assert rule.taken == 1


# --- while a connection is made


class Gate:
    """Before a server: a connection is accepted, and nothing passes until the gate is opened."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._writers: set[asyncio.StreamWriter] = set()
        self.knocked = asyncio.Event()
        self.opened = asyncio.Event()
        self.port = 0

    @asynccontextmanager
    async def standing(self) -> AsyncIterator[Gate]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self
            self.drop()

    def shut(self) -> None:
        """For whoever comes from now on; who had passed is thrown out."""
        self.drop()
        self.knocked.clear()
        self.opened.clear()

    def drop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.knocked.set()
        await self.opened.wait()
        there, to = await asyncio.open_connection("127.0.0.1", self._upstream)
        self._writers |= {writer, to}
        await asyncio.gather(_pass_on(reader, to), _pass_on(there, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.transport.abort()


async def refused_behind(gate: Gate, write: Callable[[], object]) -> None:
    permitted = True
    with only_while(lambda: permitted):
        writing = asyncio.create_task(write())
    await gate.knocked.wait()
    permitted = False
    gate.opened.set()
    with pytest.raises(SinkUnavailable) as caught:
        await writing
    assert (type(caught.value), caught.value.reason) == (SinkUnavailable, NOT_SENT)


@pytest.mark.fault(55)
@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
async def test_a_kubernetes_write_that_waits_for_its_connection_is_not_sent_any_more(
    kube_cluster, kube_namespace, tmp_path, method
):
    path = resource_path("secrets", namespace=kube_namespace)
    since = kube_cluster.audit.position()
    async with Gate(kube_cluster.port).standing() as gate:
        user = {"token": kube_cluster.tokens["admin"]}
        url = f"https://127.0.0.1:{gate.port}"
        options = kubeconfig(tmp_path / "config", url, user, kube_cluster.ca_file)
        async with KubernetesClient(options) as client:
            writes = {
                "post": lambda: client.post(path, {"metadata": {"name": "a"}}),
                "put": lambda: client.put(f"{path}/a", {"metadata": {"name": "a"}}),
                "delete": lambda: client.delete(f"{path}/a", uid="a", resource_version="1"),
                "patch": lambda: client.patch(f"{path}/a", {"metadata": {"labels": {"a": "b"}}}),
            }
            await refused_behind(gate, writes[method])
            assert await client.get(f"{path}/a") is None
    events = kube_cluster.audit.events(since=since)
    assert [event.verb for event in events if event.namespace == kube_namespace] == ["get"]


@pytest.mark.fault(55)
@pytest.mark.parametrize("method", ["set", "delete", "recover", "purge"])
async def test_a_key_vault_write_that_waits_for_its_connection_is_not_sent_any_more(
    keyvault_server, key_vault, method
):
    async with Gate(urlsplit(key_vault.url).port).standing() as gate:
        options = options_for(keyvault_server, key_vault, vaultUrl=f"https://127.0.0.1:{gate.port}")
        async with KeyVaultClient(options) as client:
            # The SDK's question for the login's domain is a request of the same method.
            arguments = (NewSecret(value=SecretValue(b"a")),) if method == "set" else ()
            await refused_behind(gate, lambda: getattr(client, method)("a", *arguments))
            assert await client.get("a") is None
    assert key_vault.writes == 0
    assert {request.operation for request in key_vault.requests()} == {"get"}


@pytest.mark.fault(55)
@pytest.mark.parametrize("method", ["write", "patch", "delete"])
async def test_a_vault_write_that_waits_for_its_connection_is_not_sent_any_more(bao_server, method):
    mount = bao_server.mount(2)
    since = bao_server.audit.position()
    async with Gate(bao_server.port).standing() as gate:
        options = vault_options(bao_server, mount, "porter", address=f"https://127.0.0.1:{gate.port}")
        gate.opened.set()  # for the login
        async with VaultClient(options, threads=1) as client:
            await client.capabilities(["sys/health"])
            gate.shut()
            arguments = () if method == "delete" else ({"data": {"a": "b"}},)
            await refused_behind(gate, lambda: getattr(client, method)(f"{mount}/data/porter/a", *arguments))
            await client.capabilities(["sys/health"])
    assert bao_server.audit.writes(since=since, prefix=mount) == ()
