"""A secret store that is gone, slow, closed or wrong: rows 12 to 14 of the catalogue.

Simulates Porter's `kubernetes.secrets` plugin on a real API server, with a proxy before it for the syncer
alone. Excludes keys that lead nowhere (test_faults_source_outputs.py) and the other plugins' stores.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.faults.other_sinks import VaultPlace
from tests.servers.http_proxy import BlackHole, HttpProxy, Reply, answer, drop, everything, rewrite_reply
from tests.servers.kubernetes import KubeCluster
from tests.servers.porter import Porter
from tests.servers.tcp_proxy import TcpProxy

FIRST = {"host": b"db-1.shop.internal", "password": b"correct horse"}
SECOND = {"host": b"db-2.shop.internal", "password": b"battery staple"}
READER = "reader"
SOON = 5.0
"""Seconds until a change is in both sinks, whatever others wait for; on a machine that does a lot beside."""
BOUND = 10.0
"""Seconds until it is known that a store hangs, and whoever needs it is put off."""
SINKS = ("cluster", "files")


@dataclass(kw_only=True)
class PorterOnKubernetes(Porter):
    """Its sensitive values are Secrets of one namespace."""

    cluster: KubeCluster
    space: str

    def store(self, key: str, value: bytes) -> None:
        """As the plugin does, names included: what is not legal becomes `-`."""
        metadata = {"name": re.sub("[^a-z0-9.-]+", "-", key.lower()), "namespace": self.space}
        data = {"value": base64.b64encode(value).decode()}
        self.cluster.admin.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})


@pytest.fixture
def space(kube_cluster, kube_namespace):
    """The namespace of Porter's Secrets, which the syncer may read."""
    name = f"{kube_namespace}-porter"
    kube_cluster.admin.create_namespace(name)
    kube_cluster.grant(READER, [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}], name)
    return name


@pytest.fixture
def porter(porter, kube_cluster, space):
    return PorterOnKubernetes(
        database=porter.database, secrets=porter.secrets, cluster=kube_cluster, space=space
    )


@pytest.fixture
def store(kube_cluster):
    """The API server as the syncer reaches Porter's Secrets."""
    proxy = HttpProxy.start(kube_cluster.url, kube_cluster.ca_file)
    yield proxy
    proxy.stop()


@pytest.fixture
def secrets(kube_cluster, store, space, tmp_path):
    """How the configuration says so; a request may take two seconds."""
    config = json.loads(kube_cluster.kubeconfig(READER).read_text())
    config["clusters"][0]["cluster"] = {"server": store.url, "certificate-authority": str(store.ca_file)}
    path = tmp_path / "porter.kubeconfig"
    path.write_text(json.dumps(config))
    return {"kind": "kubernetes", "namespace": space, "kubeconfig": str(path), "requestTimeout": "2s"}


@pytest.fixture
def syncer(secrets, start, estate):
    """One that has written `orders`, and `plain`, which has nothing in the store."""
    install(estate, "orders")
    install(estate, "plain", sensitive=[])
    syncer = start(estate.document(source=estate.source(secrets=secrets)))
    syncer.until(lambda: all(estate.everywhere(name, FIRST) for name in ("orders", "plain")))
    return syncer


def install(estate, name, *, sensitive=("password",)):
    estate.porter.install("shop", name, FIRST, sensitive=sensitive).finish()


def upgrade(estate, name, outputs, *, sensitive=("password",)):
    estate.porter.upgrade("shop", name, outputs, sensitive=sensitive).finish()


def held(syncer, reason):
    """Until each sink says why it keeps what it has."""
    for sink in SINKS:
        syncer.until(lambda sink=sink: any(one["reason"] == reason for one in holds(syncer, sink)))


def holds(syncer, sink):
    return syncer.logged("reconciled", installation="shop/orders", sink=sink, outcome="held")


@contextmanager
def trouble(store, action):
    """Inside the block every request meets this."""
    with store.rules.applied(everything, action) as rule:
        try:
            yield rule
        finally:
            if isinstance(action, BlackHole):
                action.release()


# --- row 12


@pytest.mark.fault(12)
@pytest.mark.parametrize(
    "action",
    [drop(), answer(503), answer(403, {"kind": "Status", "code": 403}), BlackHole()],
    ids=["down", "overloaded", "forbidden", "slow"],
)
def test_without_the_store_only_who_needs_it_waits(syncer, estate, store, action):
    before = estate.state()["orders-outputs"]
    with trouble(store, action) as rule:
        upgrade(estate, "orders", SECOND)
        syncer.until(lambda: rule.taken)
        upgrade(estate, "plain", SECOND, sensitive=[])
        syncer.until(lambda: estate.everywhere("plain", SECOND), SOON)
        for sink in SINKS:
            syncer.until(lambda sink=sink: holds(syncer, sink))
            told = holds(syncer, sink)[-1]["reason"]
            assert told.startswith("output 'password': secret store unavailable: ")
        assert estate.state()["orders-outputs"] == before
        assert syncer.metric("source_up") == 1
    syncer.until(lambda: estate.everywhere("orders", SECOND))


@pytest.mark.fault(12)
def test_however_many_wait_for_a_hanging_store_the_others_go_on(secrets, start, estate, store):
    several = [f"orders-{number}" for number in range(4)]
    for name in several:
        install(estate, name)
    install(estate, "plain", sensitive=[])
    patient = {**secrets, "requestTimeout": "25s"}
    syncer = start(estate.document(source=estate.source(secrets=patient)))
    syncer.until(lambda: all(estate.everywhere(name, FIRST) for name in (*several, "plain")))
    with trouble(store, BlackHole()) as rule:
        for number, name in enumerate(several):
            upgrade(estate, name, SECOND)
            if number < 3:  # one for each worker of each sink; the fourth may find none that is free
                syncer.until(lambda number=number: rule.taken >= 2 * number + 2)
        upgrade(estate, "plain", SECOND, sensitive=[])
        syncer.until(lambda: estate.everywhere("plain", SECOND), BOUND)
    syncer.until(lambda: all(estate.everywhere(name, SECOND) for name in several))


@pytest.mark.fault(12)
def test_where_the_login_fails_from_the_start_only_who_needs_it_waits(start, estate, bao_server):
    """With Porter's `hashicorp.vault` plugin: there a login is a request."""
    place = VaultPlace.make(bao_server)
    proxy = TcpProxy.start("127.0.0.1", bao_server.port)
    try:
        sink = place.sink(f"https://127.0.0.1:{proxy.port}")
        login = {name: sink[name] for name in ("address", "caFile", "auth")}
        secrets = {"kind": "vault", "pathPrefix": f"{place.mount}/porter/values", **login}
        run = estate.porter.install("shop", "orders", FIRST, sensitive=["password"]).finish()
        install(estate, "plain", sensitive=[])
        value = {f"{run.run_id}-password": FIRST["password"].decode()}
        bao_server.write(f"{place.mount}/data/porter/values", {"data": value})
        with proxy.refusing():
            syncer = start(estate.document(source=estate.source(secrets=secrets)), environ=place.environ)
            syncer.until(lambda: estate.everywhere("plain", FIRST))
            assert estate.everywhere("orders", None)
        syncer.until(lambda: estate.everywhere("orders", FIRST))
    finally:
        proxy.stop()


# --- row 13


def as_value(text):
    """The Secret, with something else in it."""

    def change(reply):
        secret = json.loads(reply.body)
        return Reply.of(reply.status, {**secret, "data": {"value": text}})

    return rewrite_reply(change)


def without_value(reply):
    return Reply.of(reply.status, {**json.loads(reply.body), "data": {"other": ""}})


NOT_IT = "does not match the digest that Porter recorded"
PAGE = answer(200, b"<html>Please log in</html>", {"Content-Type": "text/html"})
WRONG: Mapping[str, tuple[object, str]] = {
    "another value": (as_value(base64.b64encode(b"correct horse").decode()), NOT_IT),
    "an empty value": (as_value(""), NOT_IT),
    "no value": (rewrite_reply(without_value), "cannot be resolved: its Secret has no 'value'"),
    "no base64": (as_value("%%"), "cannot be resolved: its Secret cannot be read"),
    "another object": (answer(200, []), "secret store unavailable: "),
    "a page": (PAGE, "secret store unavailable: "),
}


@pytest.mark.fault(13)
def test_no_wrong_answer_of_the_store_is_ever_published(syncer, estate, store):
    for what, (action, reason) in WRONG.items():
        before, outputs = estate.state()["orders-outputs"], {**SECOND, "host": what.encode()}
        count = len(holds(syncer, "cluster"))
        with trouble(store, action):
            upgrade(estate, "orders", outputs)
            syncer.until(lambda count=count: len(holds(syncer, "cluster")) > count)
            told = holds(syncer, "cluster")[-1]["reason"]
            assert told.startswith(f"output 'password': {reason}"), (what, told)
            assert estate.state()["orders-outputs"] == before
        syncer.until(lambda outputs=outputs: estate.everywhere("orders", outputs))


@pytest.mark.fault(13)
def test_an_output_that_is_empty_is_published_only_as_such(syncer, estate, store):
    outputs = {**SECOND, "password": b""}
    with trouble(store, as_value(base64.b64encode(b"not empty").decode())):
        upgrade(estate, "orders", outputs)
        held(syncer, f"output 'password': {NOT_IT}")
        assert estate.everywhere("orders", FIRST)
    syncer.until(lambda: estate.everywhere("orders", outputs))


# --- row 14


@pytest.mark.fault(14)
def test_two_outputs_that_share_a_secret_hold_their_set_until_they_no_longer_do(syncer, estate):
    both = {**SECOND, "db-pass": b"one", "db_pass": b"the other"}
    upgrade(estate, "orders", both, sensitive=["password", "db-pass", "db_pass"])
    shared = r"cannot be resolved: its Secret '\w+-db-pass' is that of another key too"
    reason = re.compile(f"output 'db-pass': {shared}; output 'db_pass': {shared}")
    for sink in SINKS:
        # NB: before Porter has written them all, what is lacking is the reason.
        syncer.until(lambda sink=sink: any(reason.fullmatch(one["reason"]) for one in holds(syncer, sink)))
    assert estate.everywhere("orders", FIRST)
    upgrade(estate, "plain", SECOND, sensitive=[])
    syncer.until(lambda: estate.everywhere("plain", SECOND))
    upgrade(estate, "orders", SECOND)
    syncer.until(lambda: estate.everywhere("orders", SECOND))
