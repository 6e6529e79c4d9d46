"""A cluster that goes away, comes back, forgets, or lacks a namespace: rows 25, 29 and 31 of the catalogue.

Simulates it with an API server and an etcd of these tests' own, stopped, frozen and compacted for real.
Excludes single requests that go wrong (test_faults_kubernetes_requests.py), and a watch that falls silent:
that takes a minute, and tests/contract/test_kubernetes_watch_trouble.py shows it in virtual time.
"""

from __future__ import annotations

import json
import re
import secrets
import urllib.request
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.faults.estate import RIGHTS, USER
from tests.servers.http_proxy import BlackHole, HttpProxy, on
from tests.servers.kubernetes import KubeCluster

FIRST = {"host": b"db-1.shop.internal", "password": b"correct horse"}
SECOND = {"host": b"db-2.shop.internal", "password": b"battery staple"}
SOON = 5.0
"""Seconds within which the sinks without a fault have what is new, and a watch tells what it sees."""


@pytest.fixture(scope="module")
def kube_cluster(kube_cluster):  # where that one cannot be had, neither can this
    """Not the session's: others are using that."""
    own = KubeCluster.start()
    yield own
    own.stop()


@contextmanager
def stopped(cluster):
    """Inside the block there is no API server."""
    cluster.stop_apiserver()
    try:
        yield
    finally:
        cluster.start_apiserver()


def install(estate, name="orders", outputs=FIRST, *, namespace="shop"):
    estate.porter.install(namespace, name, outputs, sensitive=["password"]).finish()


def upgrade(estate, name="orders", outputs=SECOND):
    estate.porter.upgrade("shop", name, outputs, sensitive=["password"]).finish()


def watches(estate, position):
    return estate.cluster.audit.events(since=position, user=USER, verbs={"watch"})


# --- the API server


@pytest.mark.fault(25)
@pytest.mark.parametrize("trouble", [stopped, KubeCluster.paused], ids=["stopped", "silent"])
def test_without_an_api_server_files_stay_fresh_and_the_cluster_follows_when_it_is_back(
    start, estate, trouble
):
    for name in ("orders", "leaving"):
        install(estate, name)
    syncer = start(estate.document())
    syncer.until(lambda: estate.everywhere("orders", FIRST) and estate.everywhere("leaving", FIRST))
    with trouble(estate.cluster):
        upgrade(estate)
        install(estate, "later")
        estate.porter.delete("shop", "leaving").finish()
        syncer.until(lambda: estate.in_files("orders") == SECOND, SOON)
        syncer.until(lambda: estate.in_files("later") == FIRST, SOON)
        syncer.until(lambda: estate.in_files("leaving") is None, 2 * SOON)
        assert syncer.metric("sink_up", sink="files") == 1
    syncer.until(lambda: estate.everywhere("orders", SECOND) and estate.everywhere("later", FIRST))
    syncer.until(lambda: estate.everywhere("leaving", None))


@pytest.mark.fault(25)
def test_an_api_server_that_is_not_there_at_the_start_is_told_and_waited_for(start, estate):
    install(estate)
    with stopped(estate.cluster):
        syncer = start(estate.document(resyncInterval="2s"))
        syncer.until(lambda: estate.in_files("orders") == FIRST, 2 * SOON)
        syncer.until(lambda: syncer.metric("sink_up", sink="cluster") == 0)
        status, page = syncer.get("/readyz")
        assert (status, "sink cluster: " in page, "cannot be reached" in page) == (200, True, True)
    syncer.until(lambda: estate.everywhere("orders", FIRST))
    syncer.until(lambda: syncer.get("/readyz") == (200, "leading\n"))
    assert syncer.metric("sink_up", sink="cluster") == 1


# --- the watch


@pytest.mark.fault(29)
def test_a_watch_that_broke_with_its_server_begins_anew(start, estate):
    position = estate.cluster.audit.position()
    install(estate)
    syncer = start(estate.document())
    syncer.until(lambda: estate.everywhere("orders", FIRST) and watches(estate, position))
    position = estate.cluster.audit.position()
    estate.cluster.restart_apiserver()
    syncer.until(lambda: watches(estate, position))
    estate.cluster.admin.delete("v1", "Secret", "orders-outputs", estate.namespace)
    syncer.until(lambda: estate.in_cluster("orders") == FIRST, SOON)


class Watches:
    """Holds watches back until `release`, and lets each last for a second; as an action of a proxy's."""

    def __init__(self):
        self._held = BlackHole()
        self.reached = False
        self.answers = []
        self.release = self._held.release

    async def __call__(self, asked, go_on):
        if "watch=1" not in asked.query:
            return await go_on(asked)
        self.reached = True
        query = re.sub(r"timeoutSeconds=\d+", "timeoutSeconds=1", asked.query)
        reply = await self._held(replace(asked, query=query), go_on)
        self.answers.append(reply)
        return reply


@pytest.fixture
def proxy(kube_cluster):
    started = HttpProxy.start(kube_cluster.url, kube_cluster.ca_file)
    yield started
    started.stop()


@pytest.mark.fault(29)
def test_what_happened_while_a_watch_could_not_see_it_is_found_after_a_410(start, estate, proxy):
    held = Watches()
    proxy.rules.add(on("GET", path="/secrets$"), held)
    install(estate)
    syncer = start(estate.document(sinks=[estate.kubernetes_at(proxy.url, proxy.ca_file), estate.files]))
    syncer.until(lambda: held.reached and estate.everywhere("orders", FIRST))
    estate.cluster.admin.delete("v1", "Secret", "orders-outputs", estate.namespace)
    compact(estate)
    estate.cluster.restart_apiserver()
    assert estate.in_cluster("orders") is None
    held.release()
    syncer.until(lambda: any(b'"code":410' in answer.body for answer in held.answers))
    # NB: everything is looked at again at once, but not twice within half a minute.
    syncer.until(lambda: estate.in_cluster("orders") == FIRST, 45)


def compact(estate):
    """Makes etcd forget all that was before now."""
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "now", "namespace": "default"},
    }
    now = estate.cluster.admin.apply({**config_map, "data": {"nonce": secrets.token_hex(4)}})
    body = json.dumps({"revision": now["metadata"]["resourceVersion"], "physical": True}).encode()
    request = urllib.request.Request(f"{estate.cluster.etcd_url}/v3/kv/compaction", body)
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


# --- the namespace


@pytest.fixture
def annexe(estate):
    """The name of a second namespace, not made yet; the syncer has its rights everywhere."""
    rules = [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": RIGHTS},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
    ]
    role = estate.cluster.grant(USER, rules)
    yield f"annexe-{secrets.token_hex(4)}"
    estate.cluster.revoke(role)


def there(estate, annexe, name):
    return estate.cluster.admin.secret(annexe, f"{name}-outputs") is not None


def held_for(syncer, reason):
    return syncer.logged("reconciled", sink="cluster", outcome="held", reason=reason, level="info")


@pytest.mark.fault(31)
def test_a_target_whose_namespace_is_missing_waits_for_it_and_delays_no_other(start, estate, annexe):
    install(estate, "stock", namespace="annexe")
    syncer = start(estate.with_annexe(annexe))
    syncer.until(lambda: held_for(syncer, f"namespace {annexe} does not exist"))
    install(estate)
    syncer.until(lambda: estate.everywhere("orders", FIRST), SOON)
    assert estate.in_files("stock") == FIRST
    assert syncer.metric("targets", sink="cluster", state="Held") == 1
    assert estate.cluster.admin.get("v1", "Namespace", annexe) is None
    estate.cluster.admin.create_namespace(annexe)
    syncer.until(lambda: there(estate, annexe, "stock"))
    syncer.until(lambda: syncer.metric("targets", sink="cluster", state="Held") == 0)


@pytest.mark.fault(31)
def test_a_target_whose_namespace_is_being_removed_waits_for_the_next_of_its_name(start, estate, annexe):
    admin = estate.cluster.admin
    admin.create_namespace(annexe)
    install(estate, "stock", namespace="annexe")
    syncer = start(estate.with_annexe(annexe))
    syncer.until(lambda: there(estate, annexe, "stock"))
    admin.delete("v1", "Namespace", annexe)  # it stays, Terminating: there is no controller that empties it
    admin.delete("v1", "Secret", "stock-outputs", annexe)
    syncer.until(lambda: held_for(syncer, f"namespace {annexe} is being removed"))
    install(estate)
    syncer.until(lambda: estate.everywhere("orders", FIRST), SOON)
    assert not there(estate, annexe, "stock")
    finalize(admin, annexe)
    admin.create_namespace(annexe)
    syncer.until(lambda: there(estate, annexe, "stock"))
    syncer.until(lambda: syncer.metric("targets", sink="cluster", state="InSync") == 2)


def finalize(admin, namespace):
    """What a controller does in the end."""
    found = admin.get("v1", "Namespace", namespace)
    admin.request("PUT", f"/api/v1/namespaces/{namespace}/finalize", {**found, "spec": {"finalizers": []}})
    assert admin.get("v1", "Namespace", namespace) is None
