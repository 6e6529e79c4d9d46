"""What a watch misses, and how soon it knows: restarts, forgotten history, connections that break or fall
silent (a TCP proxy before a real kube-apiserver); and what is left of one that is closed.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest
from kube_watch_world import (
    BRIEF,
    EVERYTHING,
    OWNER,
    SECONDS,
    Secret,
    eventually,
    grant,
    overhear,
    told,
    told_until,
    watched,
)

from backends.kubernetes_secret.options import KubernetesSinkOptions
from backends.kubernetes_secret.sink import KubernetesSecretSink
from tests.contract.test_kubernetes_client import forget_history, kubeconfig
from tests.servers.connections import all_closed
from tests.servers.tcp_proxy import TcpProxy


@pytest.fixture
def syncer(kube_cluster, kube_namespace) -> KubernetesSinkOptions:
    """A login that may list and watch in one namespace, and nothing else."""
    grant(kube_cluster, kube_namespace, "list", "watch")
    return KubernetesSinkOptions(kubeconfig=kube_cluster.kubeconfig("syncer"), namespaces=(kube_namespace,))


@pytest.fixture
async def proxied(kube_cluster, kube_namespace, tmp_path):
    """A proxy, and the administrator's login through it; requests have a second."""
    proxy = TcpProxy.start("127.0.0.1", kube_cluster.port)
    user = {"token": kube_cluster.tokens["admin"]}
    server = f"https://127.0.0.1:{proxy.port}"
    login = kubeconfig(tmp_path / "proxied", server, user, kube_cluster.ca_file).kubeconfig
    yield (
        proxy,
        KubernetesSinkOptions(kubeconfig=login, namespaces=(kube_namespace,), request_timeout=1.0),
    )
    proxy.stop()


# --- gaps


@pytest.mark.fault(25)
@pytest.mark.fault(29)
async def test_after_a_restart_of_the_server_everything_may_have_changed(
    kube_cluster, kube_namespace, syncer
):
    async with watched(syncer) as changes:
        kube_cluster.stop_apiserver()
        waiting = asyncio.ensure_future(told(changes))
        await asyncio.to_thread(kube_cluster.start_apiserver)
        assert await waiting == EVERYTHING
        secret = Secret(kube_cluster, kube_namespace)
        secret.create()
        await told_until(changes, secret.edit())


@pytest.mark.fault(29)
async def test_what_the_server_has_forgotten_may_be_anything(kube_cluster, kube_namespace, syncer):
    """Between two watches, so that the second one begins at what is forgotten."""
    secret, heard = Secret(kube_cluster, kube_namespace), []
    begun = iter(range(1_000_000))

    def before_a_watch() -> float:
        if next(begun) == 1:
            secret.create()
            secret.delete()
            forget_history(kube_cluster.etcd_url)
            kube_cluster.restart_apiserver()
        return 0.0

    pace = replace(BRIEF, random=before_a_watch)
    async with watched(syncer, pace, tap=lambda sink: overhear(sink, heard)) as changes:
        assert await told(changes) == EVERYTHING
        await told_until(changes, secret.create())
    assert [line["object"]["code"] for line in heard if line["type"] == "ERROR"] == [410]


@pytest.mark.fault(29)
async def test_a_server_that_fell_silent_is_given_up_and_found_again(kube_cluster, kube_namespace, proxied):
    proxy, options = proxied
    secret = Secret(kube_cluster, kube_namespace)
    async with watched(options, BRIEF) as changes:
        before = proxy.counts.connections
        with proxy.black_hole():
            secret.create()
            await eventually(lambda: proxy.counts.connections > before)
        assert await told(changes) == EVERYTHING
        await told_until(changes, secret.edit())


@pytest.mark.fault(29)
async def test_a_connection_that_breaks_is_a_gap(kube_cluster, kube_namespace, proxied):
    proxy, options = proxied
    async with watched(options) as changes:
        proxy.reset_connections()
        assert await told(changes) == EVERYTHING
        with proxy.refusing():
            created = Secret(kube_cluster, kube_namespace).create()
        found = await told_until(changes, EVERYTHING)
        assert created not in found


async def test_from_one_watch_to_the_next_nothing_is_missed_and_nothing_compared(
    kube_cluster, kube_namespace, syncer
):
    begun: list[None] = []

    def before_a_watch() -> float:
        begun.append(None)
        return 0.0

    secret = Secret(kube_cluster, kube_namespace)
    expected = [secret.create()]
    async with watched(syncer, replace(BRIEF, random=before_a_watch)) as changes:
        for number in range(1, 4):
            expected = secret.edit()
            assert await told(changes) == expected
            await eventually(lambda number=number: len(begun) > number)


@pytest.mark.fault(40)
async def test_an_expired_token_is_renewed_without_a_gap(kube_cluster, kube_namespace, syncer):
    begun, sinks = [], []

    def before_a_watch() -> float:
        begun.append(None)
        if len(begun) == 2:
            sinks[0]._client._configuration.api_key["BearerToken"] = "Bearer expired"
        return 0.0

    secret = Secret(kube_cluster, kube_namespace)
    secret.create()
    pace = replace(BRIEF, random=before_a_watch)
    async with watched(syncer, pace, tap=sinks.append) as changes:
        await eventually(lambda: len(begun) == 2)
        expected = secret.edit()
        assert await told(changes) == expected
        assert sinks[0]._client._configuration.api_key["BearerToken"] != "Bearer expired"


# --- the end


@pytest.mark.parametrize("how", ["closed", "cancelled"])
async def test_whoever_stops_listening_leaves_no_task_and_no_connection(proxied, how):
    proxy, options = proxied
    tasks = asyncio.all_tasks()
    async with KubernetesSecretSink(options) as sink:
        await sink._client.get("/version")
        changes = sink.watch(OWNER)
        assert await told(changes) == EVERYTHING
        await eventually(lambda: proxy.open == 2)
        if how == "closed":
            await changes.aclose()
        else:
            waiting = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert asyncio.all_tasks() == tasks
        await eventually(lambda: proxy.open == 1)


async def test_whoever_stops_listening_to_a_silent_server_does_not_wait_for_it(proxied):
    proxy, options = proxied
    with ExitStack() as until_the_end:
        async with watched(options):
            until_the_end.enter_context(proxy.black_hole())
        began = time.monotonic()
        await all_closed()
        assert time.monotonic() - began < 2


async def test_watches_take_no_connection_from_requests(kube_cluster, kube_namespace):
    spaces = tuple(f"{kube_namespace}-{number}" for number in range(70))
    options = KubernetesSinkOptions(kubeconfig=kube_cluster.kubeconfig(), namespaces=spaces)
    since = kube_cluster.audit.position()

    def begun() -> int:
        return len(kube_cluster.audit.events(since=since, user="admin", verbs=["watch"]))

    async with watched(options), KubernetesSecretSink(options) as sink:
        await eventually(lambda: begun() >= 70)
        async with asyncio.timeout(SECONDS):
            assert await sink.observe(OWNER, [f"{spaces[0]}/orders"]) == {}
