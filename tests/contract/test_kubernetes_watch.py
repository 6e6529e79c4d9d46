"""Changes of our Secrets as they happen, on a real kube-apiserver: what others do, what the network does
in between (a TCP proxy), and what the server has forgotten. Servers that answer nonsense are in
`test_kubernetes_watch_trouble.py`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest

from backends.clients.kubernetes_watch import Pace
from backends.contract import Absent, DesiredSecret, FindingLevel, Mark, Owner, Seen, Unchanged, Watches
from backends.errors import Forbidden
from backends.kubernetes_secret.marks import INSTANCE_LABEL
from backends.kubernetes_secret.objects import version_of
from backends.kubernetes_secret.options import KubernetesSinkOptions
from backends.kubernetes_secret.sink import KubernetesSecretSink
from backends.secret_value import SecretValue
from tests.contract.test_kubernetes_client import forget_history, kubeconfig
from tests.servers.connections import all_closed
from tests.servers.tcp_proxy import TcpProxy

SECONDS = 30
CANARY = "canary-5d1be0a7c4"
OWNER = Owner(instance="watching", source="source")
EVERYTHING = Seen(address=None)
VERBS = ["get", "list", "create", "update", "delete"]
BRIEF = Pace(lasting=1, margin=0.5, first_pause=0.05, longest_pause=0.2)
"""A watch of a second; the pauses only have to be short."""
LONG = replace(BRIEF, lasting=600)
SURE = replace(LONG, disbelief=0.0)
"""For a server that is known to have read its roles."""


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
    # Connections that were given up in a black hole end with the proxy only.
    await all_closed()


def grant(cluster, namespace: str | None, *verbs: str, user: str = "syncer") -> str:
    return cluster.grant(user, [{"apiGroups": [""], "resources": ["secrets"], "verbs": verbs}], namespace)


@asynccontextmanager
async def watched(
    options: KubernetesSinkOptions, pace: Pace = LONG, *, tap: Callable[[KubernetesSecretSink], object] = id
) -> AsyncIterator[AsyncIterator[Seen]]:
    """What the sink tells, from where it has begun."""
    async with KubernetesSecretSink(options, watch_pace=pace) as sink:
        tap(sink)
        async with aclosing(sink.watch(OWNER)) as changes:
            assert await told(changes) == EVERYTHING
            yield changes


async def told(changes: AsyncIterator[Seen]) -> Seen:
    async with asyncio.timeout(SECONDS):
        return await anext(changes)


async def told_until(changes: AsyncIterator[Seen], last: Seen) -> list[Seen]:
    """What is told up to this."""
    found = [await told(changes)]
    while found[-1] != last:
        found.append(await told(changes))
    return found


async def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


class Secret:
    """One in the hands of the cluster's administrator. Its methods return what is to be seen of it."""

    def __init__(self, cluster, namespace: str, name: str = "orders", instance: str | None = "watching"):
        self._admin, self._namespace, self._name = cluster.admin, namespace, name
        self._path = f"/api/v1/namespaces/{namespace}/secrets"
        self._labels = {} if instance is None else {INSTANCE_LABEL: instance}

    def create(self) -> Seen:
        metadata = {"name": self._name, "labels": self._labels}
        body = {"metadata": metadata, "stringData": {"password": CANARY}}
        return self._seen(self._admin.request("POST", self._path, body))

    def edit(self, **metadata: object) -> Seen:
        secret = self._admin.secret(self._namespace, self._name)
        data = {"password": base64.b64encode(time.time_ns().to_bytes(8)).decode()}
        body = secret | {"data": data, "metadata": secret["metadata"] | metadata}
        return self._seen(self._admin.request("PUT", f"{self._path}/{self._name}", body))

    def delete(self) -> Seen:
        self._admin.request("DELETE", f"{self._path}/{self._name}")
        return Seen(address=f"{self._namespace}/{self._name}")

    def _seen(self, secret: dict) -> Seen:
        return Seen(address=f"{self._namespace}/{self._name}", version=version_of(secret))


def desired(address: str, content: bytes) -> DesiredSecret:
    texts = dict.fromkeys(
        ("rule", "target", "namespace", "installation", "installation_id", "run_id", "result_id"), "x"
    )
    mark = Mark(
        instance=OWNER.instance,
        source=OWNER.source,
        address=address,
        revision="x",
        content_id="x",
        **texts,
    )
    return DesiredSecret(mark=mark, data={"password": SecretValue(content)})


def test_the_sink_says_that_it_tells_of_changes(kube_cluster):
    sink = KubernetesSecretSink(KubernetesSinkOptions(kubeconfig=kube_cluster.kubeconfig()))
    assert isinstance(sink, Watches)


# --- what others do


@pytest.mark.fault(36)
@pytest.mark.fault(37)
async def test_what_others_create_edit_and_delete_is_told_by_version(kube_cluster, kube_namespace, syncer):
    secret = Secret(kube_cluster, kube_namespace)
    async with watched(syncer) as changes:
        for act in (secret.create, secret.edit, secret.delete, secret.create):
            expected = act()
            assert await told(changes) == expected


@pytest.mark.fault(38)
async def test_what_loses_the_instances_label_is_told_as_gone(kube_cluster, kube_namespace, syncer):
    secret = Secret(kube_cluster, kube_namespace)
    created = secret.create()
    async with watched(syncer) as changes:
        secret.edit(labels={})
        assert await told(changes) == Seen(address=created.address)
        again = secret.edit(labels={INSTANCE_LABEL: "watching"})
        assert await told(changes) == again


async def test_what_does_not_carry_the_instances_label_is_not_told(kube_cluster, kube_namespace, syncer):
    theirs = [
        Secret(kube_cluster, kube_namespace, "theirs", instance=None),
        Secret(kube_cluster, kube_namespace, "others", instance="watching-2"),
    ]
    async with watched(syncer) as changes:
        for secret in theirs:
            secret.create()
            secret.edit()
            secret.delete()
        ours = Secret(kube_cluster, kube_namespace).create()
        assert await told(changes) == ours


async def test_an_own_write_is_told_with_the_version_it_returned(kube_cluster, kube_namespace):
    grant(kube_cluster, kube_namespace, *VERBS, "watch")
    options = KubernetesSinkOptions(
        kubeconfig=kube_cluster.kubeconfig("syncer"), namespaces=(kube_namespace,)
    )
    address = f"{kube_namespace}/orders"
    async with KubernetesSecretSink(options) as sink, aclosing(sink.watch(OWNER)) as changes:
        assert await told(changes) == EVERYTHING
        created = await sink.put(desired(address, b"1"), Absent())
        assert await told(changes) == Seen(address=address, version=created)
        replaced = await sink.put(desired(address, b"2"), Unchanged(created))
        assert await told(changes) == Seen(address=address, version=replaced)


async def test_no_value_travels(kube_cluster, kube_namespace, syncer):
    heard: list[object] = []

    def tap(sink: KubernetesSecretSink) -> None:
        exchange = sink._client._exchange

        async def exchanged(*args: object) -> object:
            heard.append(await exchange(*args))
            return heard[-1]

        sink._client._exchange = exchanged
        overhear(sink, heard)

    secret = Secret(kube_cluster, kube_namespace)
    secret.create()
    async with watched(syncer, tap=tap) as changes:
        await told_until(changes, secret.edit())
        await told_until(changes, secret.delete())
        await told_until(changes, secret.create())
    listed, *events = heard
    assert [item["metadata"]["name"] for item in listed["items"]] == ["orders"]
    assert {event["object"]["kind"] for event in events} == {"PartialObjectMetadata"}
    text = json.dumps(heard)
    assert '"data"' not in text
    assert base64.b64encode(CANARY.encode()).decode() not in text


def overhear(sink: KubernetesSecretSink, heard: list) -> None:
    """Note every line of every watch."""
    watch = sink._client.watch

    @asynccontextmanager
    async def overheard(*args: object, **kwargs: object) -> AsyncIterator[AsyncIterator[dict]]:
        async with watch(*args, **kwargs) as lines:
            yield noted(lines)

    async def noted(lines: AsyncIterator[dict]) -> AsyncIterator[dict]:
        async for line in lines:
            heard.append(line)
            yield line

    sink._client.watch = overheard


# --- namespaces


async def test_a_role_in_each_namespace_is_enough_and_all_are_told_as_one(kube_cluster, kube_namespace):
    spaces = (f"{kube_namespace}-a", f"{kube_namespace}-b")
    for space in spaces:
        kube_cluster.admin.create_namespace(space)
        grant(kube_cluster, space, "list", "watch")
    kube_cluster.admin.create_namespace(f"{kube_namespace}-c")
    options = KubernetesSinkOptions(kubeconfig=kube_cluster.kubeconfig("syncer"), namespaces=spaces)
    since = kube_cluster.audit.position()
    async with watched(options) as changes:
        Secret(kube_cluster, f"{kube_namespace}-c").create()
        for space in spaces:
            # Each says for itself that it begins, and what comes before that need not be told.
            secret = Secret(kube_cluster, space)
            secret.create()
            found = await told_until(changes, secret.edit())
            assert {seen.address for seen in found} <= {None, f"{space}/orders"}
    assert watched_scopes(kube_cluster, since) == sorted(spaces)


async def test_without_namespaces_the_whole_cluster_takes_one_watch(kube_cluster, kube_namespace):
    role = grant(kube_cluster, None, "list", "watch")
    since = kube_cluster.audit.position()
    try:
        async with watched(KubernetesSinkOptions(kubeconfig=kube_cluster.kubeconfig("syncer"))) as changes:
            created = Secret(kube_cluster, kube_namespace).create()
            assert await told(changes) == created
    finally:
        kube_cluster.revoke(role)
    assert watched_scopes(kube_cluster, since) == [""]


def watched_scopes(cluster, since: int) -> list[str]:
    events = cluster.audit.events(since=since, user="syncer", verbs=["watch"])
    return sorted(event.namespace for event in events)


# --- rights


async def test_without_the_right_to_watch_it_says_only_so_and_ends(kube_cluster, kube_namespace):
    grant(kube_cluster, kube_namespace, *VERBS, user="reader")
    options = KubernetesSinkOptions(
        kubeconfig=kube_cluster.kubeconfig("reader"), namespaces=(kube_namespace,)
    )
    where = f"secrets in namespace {kube_namespace}"
    async with KubernetesSecretSink(options, watch_pace=SURE) as sink:
        with pytest.raises(Forbidden, match=f"^the right to watch {where} is missing$"):
            await told(sink.watch(OWNER))
        good, missing = await sink.check()
    assert (good.level, missing.level) == (FindingLevel.OK, FindingLevel.WARNING)
    detail = "the right to watch is missing: changes by others are found by the sweep only"
    assert (missing.subject, missing.detail) == (where, detail)


async def test_with_the_right_to_watch_the_check_has_nothing_to_say(kube_cluster, kube_namespace):
    grant(kube_cluster, kube_namespace, *VERBS, "watch", user="reader")
    options = KubernetesSinkOptions(
        kubeconfig=kube_cluster.kubeconfig("reader"), namespaces=(kube_namespace,)
    )
    async with KubernetesSecretSink(options) as sink:
        (finding,) = await sink.check()
    assert finding.level is FindingLevel.OK


async def test_without_the_right_to_list_it_says_so_and_ends(kube_cluster, kube_namespace):
    grant(kube_cluster, kube_namespace, "watch", user="reader")
    options = KubernetesSinkOptions(
        kubeconfig=kube_cluster.kubeconfig("reader"), namespaces=(kube_namespace,)
    )
    async with KubernetesSecretSink(options, watch_pace=SURE) as sink:
        with pytest.raises(Forbidden, match=r"^the right to list "):
            await told(sink.watch(OWNER))


@pytest.mark.fault(35)
async def test_a_right_that_is_taken_away_ends_it_with_the_next_watch(kube_cluster, kube_namespace):
    role = grant(kube_cluster, kube_namespace, "list", "watch", user="reader")
    options = KubernetesSinkOptions(
        kubeconfig=kube_cluster.kubeconfig("reader"), namespaces=(kube_namespace,)
    )
    async with watched(options, replace(SURE, lasting=1)) as changes:
        kube_cluster.revoke(role, kube_namespace)
        with pytest.raises(Forbidden):
            await told(changes)


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
