"""What happens to the process itself: rows 53 to 56 of the catalogue, and several replicas.

Replicas are processes with users of their own, so that the API server's audit log tells who wrote.
Excludes the election's own rules in odd times (tests/unit/engine/test_engine_lease.py), and the file sink's
single steps (tests/unit/backends).
"""

from __future__ import annotations

import itertools
import json
import signal
import time
from http import HTTPStatus

import pytest

from tests.faults.estate import POLL, RIGHTS, USER
from tests.servers.http_proxy import BlackHole, HttpProxy, after, on
from tests.servers.porter import Porter
from tests.servers.tcp_proxy import TcpProxy

FIRST = {"host": b"db-1.shop.internal", "password": b"correct horse"}
SECOND = {"host": b"db-2.shop.internal", "password": b"battery staple"}
OTHER_USER = "reader"
LEASE = {"leaseDuration": "3s", "renewDeadline": "2s", "retryPeriod": "500ms"}
LEASE_SECONDS = 3.0
MARGIN = 3.0
"""Seconds for two busy cores."""
MANY = 301
"""Secrets: at 50 a second more than are written while anything else happens."""
AT_ONCE = 33
"""Writes of a sink's controller: 16 of each of its two workers for everything, and one that is fresh."""


def install(porter, name="orders", outputs=FIRST):
    porter.install("shop", name, outputs, sensitive=["password"]).finish()


def upgrade(porter, name="orders", outputs=SECOND):
    porter.upgrade("shop", name, outputs, sensitive=["password"]).finish()


@pytest.fixture
def replica(start, estate):
    """Starts a replica that writes to the cluster alone, as a user of its own."""
    rules = [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": RIGHTS},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
    ]
    estate.cluster.grant(OTHER_USER, rules, estate.namespace)

    def begin(user, sink=None):
        kubeconfig = str(estate.cluster.kubeconfig(user))
        sink = {**(sink or {**estate.kubernetes, "kubeconfig": kubeconfig}), "maxWritesPerSecond": 50}
        lease = {"kind": "lease", "namespace": estate.namespace, "kubeconfig": kubeconfig, **LEASE}
        rule = {"name": "all", "targets": [{"sink": "cluster", "namespace": estate.namespace}]}
        return start(estate.document(sinks=[sink], rules=[rule], leaderElection=lease))

    return begin


@pytest.fixture
def pair(replica, estate):
    """A leader that has written, and one that stands by."""
    install(estate.porter)
    leader = replica(USER)
    leader.until(lambda: estate.in_cluster("orders") == FIRST)
    standby = replica(OTHER_USER)
    standby.until_ready()
    assert standby.get("/readyz")[1].startswith("standby: leader is ")
    return leader, standby


def is_here(event, resource, estate):
    """Whether a request was about such a thing in this test's namespace."""
    return event.resource == resource and event.namespace == estate.namespace


def secret_writes(estate, since):
    """Who wrote which Secret of this test's, in order."""
    events = estate.cluster.audit.writes(since=since)
    return [(one.user, one.verb, one.name) for one in events if is_here(one, "secrets", estate)]


def writers_without_lease(estate, since):
    """Who wrote a Secret of this test's, but for what `USER` wrote once the lease was its own again."""

    def regains(event):
        return event.user == USER and is_here(event, "leases", estate) and event.code == HTTPStatus.OK

    events = estate.cluster.audit.writes(since=since)
    regained = next((at for at, one in enumerate(events) if regains(one)), len(events))
    writers = [(at, one.user) for at, one in enumerate(events) if is_here(one, "secrets", estate)]
    return {user for at, user in writers if user != USER or at < regained}


# --- replicas


@pytest.mark.fault(53)
def test_a_leader_that_is_killed_is_replaced_within_the_lease_and_an_interval(pair, estate):
    leader, standby = pair
    leader.kill()
    killed = time.monotonic()
    upgrade(estate.porter)
    standby.until(lambda: estate.in_cluster("orders") == SECOND)
    assert time.monotonic() - killed < LEASE_SECONDS + 0.5 * 1.2 + POLL + MARGIN


@pytest.mark.fault(54)
def test_a_leader_that_is_told_to_end_is_replaced_at_once(pair, estate):
    leader, standby = pair
    assert leader.end() == 0
    ended = time.monotonic()
    upgrade(estate.porter)
    standby.until(lambda: estate.in_cluster("orders") == SECOND)
    assert time.monotonic() - ended < 0.5 * 1.2 + POLL + MARGIN
    assert standby.metric("leader") == 1


@pytest.mark.fault(55)
def test_a_leader_that_was_stopped_beyond_its_lease_sends_nothing_after_waking(pair, estate):
    leader, standby = pair
    with leader.paused():
        upgrade(estate.porter)
        standby.until(lambda: estate.in_cluster("orders") == SECOND)
        since = estate.cluster.audit.position()
        for number in range(3):
            install(estate.porter, f"later-{number}")
    leader.until(lambda: leader.get("/readyz")[1].startswith("standby: leader is "))
    standby.until(lambda: all(estate.in_cluster(f"later-{number}") == FIRST for number in range(3)))
    assert writers_without_lease(estate, since) == {OTHER_USER}
    assert standby.metric("leader") == 1


@pytest.fixture
def halfway(replica, estate):
    """A leader with hundreds of creates before it, waiting for the answers to as many as it begins; a standby.

    NB: stopped just anywhere, it may be between its last look at the lease and the bytes, and send them on
    waking. Nothing in a process can rule that out; their precondition makes them harmless.
    """
    for number in range(MANY - 1):
        install(estate.porter, f"app-{number}")
    proxy = HttpProxy.start(estate.cluster.url, estate.cluster.ca_file)
    answers = BlackHole(after_applied=True)
    try:
        held = proxy.rules.add(on("POST", path="/secrets$"), answers)
        leader = replica(USER, estate.kubernetes_at(proxy.url, proxy.ca_file))
        held.wait(AT_ONCE - 1)
        install(estate.porter, "fresh")
        held.wait(AT_ONCE)
        standby = replica(OTHER_USER)
        standby.until_ready()
        yield leader, standby, answers
    finally:
        proxy.stop()


@pytest.mark.fault(55)
def test_a_leader_stopped_in_the_middle_of_its_writes_does_not_go_on_with_them(halfway, estate):
    """It has looked, decided and begun when it is stopped; on waking it finds the answers it waited for."""
    leader, standby, answers = halfway

    def written():
        return len(estate.cluster.admin.list("v1", "Secret", estate.namespace))

    with leader.paused():
        assert written() <= AT_ONCE, "it was too quick to be stopped"
        standby.until(lambda: standby.metric("leader") == 1)
        since = estate.cluster.audit.position()
        answers.release()
    leader.until(lambda: leader.get("/readyz")[1].startswith("standby: leader is "))
    standby.until(lambda: written() == MANY, 60)
    assert writers_without_lease(estate, since) == {OTHER_USER}


def test_without_kubernetes_a_locked_file_elects(start, estate, tmp_path):
    install(estate.porter)
    election = {"kind": "file", "path": str(tmp_path / "lock")}
    leader = start(estate.document(leaderElection=election))
    leader.until(lambda: estate.everywhere("orders", FIRST))
    standby = start(estate.document(leaderElection=election))
    standby.until_ready()
    assert standby.get("/readyz") == (200, f"standby: leader is {leader.pid}\n")
    leader.kill()
    upgrade(estate.porter)
    standby.until(lambda: estate.everywhere("orders", SECOND))


# --- killed, ended


@pytest.mark.fault(53)
def test_killed_after_any_request_that_writes_the_next_one_converges(start, estate):
    """A create, an update and a delete, and a kill after each of their requests."""
    proxy = HttpProxy.start(estate.cluster.url, estate.cluster.ca_file)
    sinks = [estate.kubernetes_at(proxy.url, proxy.ca_file), estate.files]
    try:
        install(estate.porter, "other")
        for change, number in itertools.product(("create", "update", "delete"), (1, 2)):
            syncer = start(estate.document(sinks=sinks))
            wanted = _begin(estate, syncer, change)
            steps = itertools.count(1)

            def step(_asked, _reply, steps=steps, number=number, syncer=syncer):
                if next(steps) == number:
                    syncer.kill()

            with proxy.rules.applied(
                on("GET", "POST", "PUT", "DELETE", path="orders-outputs|/secrets$"), after(step)
            ):
                _act(estate, change)
                syncer.until_ended()
            again = start(estate.document(sinks=sinks))
            again.until_ready()
            again.until(lambda wanted=wanted: estate.everywhere("orders", wanted))
            assert estate.everywhere("other", FIRST)
            assert again.end() == 0
    finally:
        proxy.stop()


def _begin(estate, syncer, change):
    """Bring about what was there before; answers what is to be there in the end."""
    syncer.until(lambda: estate.everywhere("other", FIRST))
    if change == "create":
        estate.porter.delete("shop", "orders").finish()
        syncer.until(lambda: estate.everywhere("orders", None))
        return FIRST
    if estate.in_cluster("orders") is None:
        install(estate.porter)
    upgrade(estate.porter, outputs=FIRST)
    syncer.until(lambda: estate.everywhere("orders", FIRST))
    return SECOND if change == "update" else None


def _act(estate, change):
    match change:
        case "create":
            install(estate.porter)
        case "update":
            upgrade(estate.porter)
        case _:
            estate.porter.delete("shop", "orders").finish()


def test_stopping_and_starting_loses_nothing_and_writes_nothing_twice(start, estate):
    install(estate.porter)
    syncer = start(estate.document())
    syncer.until(lambda: estate.everywhere("orders", FIRST))
    assert syncer.end() == 0
    version = estate.secret("orders")["metadata"]["resourceVersion"]
    upgrade(estate.porter, outputs=FIRST | {"port": b"5432"})
    since = estate.cluster.audit.position()
    for _ in range(3):
        again = start(estate.document())
        again.until_ready()
        again.until(lambda: estate.everywhere("orders", FIRST | {"port": b"5432"}))
        assert again.end() == 0
    writes = [verb for _, verb, name in secret_writes(estate, since) if name == "orders-outputs"]
    assert writes == ["update"]
    assert estate.secret("orders")["metadata"]["resourceVersion"] != version


@pytest.fixture
def held_up(start, estate):
    """A syncer in the middle of a write to a cluster that accepts and never answers."""
    proxy = TcpProxy.start("127.0.0.1", estate.cluster.port)
    url = f"https://127.0.0.1:{proxy.port}"
    install(estate.porter)
    syncer = start(estate.document(sinks=[estate.kubernetes_at(url, estate.cluster.ca_file), estate.files]))
    syncer.until(lambda: estate.everywhere("orders", FIRST))
    with proxy.black_hole():
        upgrade(estate.porter)
        syncer.until(lambda: estate.in_files("orders") == SECOND)
        assert estate.in_cluster("orders") == FIRST
        yield syncer
    proxy.stop()


@pytest.mark.fault(54)
@pytest.mark.fault(56)
def test_a_sink_that_hangs_holds_up_neither_the_others_nor_the_end(held_up):
    assert held_up.end(10) == 0


def test_a_second_signal_ends_the_process_on_the_spot(held_up):
    held_up.signal(signal.SIGTERM)
    held_up.signal(signal.SIGINT)
    assert held_up.until_ended(3) == 128 + signal.SIGINT


# --- configuration


def test_a_broken_configuration_is_refused_and_the_old_one_stays(start, estate):
    install(estate.porter)
    syncer = start(estate.document())
    syncer.until(lambda: estate.everywhere("orders", FIRST))
    good = syncer.config.read_text()
    syncer.config.write_text(good.replace('"instance"', '"instanec"'))
    syncer.signal(signal.SIGHUP)
    syncer.until(lambda: syncer.metric("config_reloads_total", result="rejected") == 1)
    assert syncer.metric("config_last_reload_success") == 0
    upgrade(estate.porter)
    syncer.until(lambda: estate.everywhere("orders", SECOND))
    (refused,) = syncer.logged("configuration refused, the old one stays")
    assert "instanec" in json.dumps(refused)


def test_a_changed_configuration_is_taken_without_a_signal(start, estate):
    install(estate.porter)
    document = estate.document()
    syncer = start(document)
    syncer.until(lambda: estate.everywhere("orders", FIRST))
    only_host = [{**one, "keys": {"HOST": "host"}} for one in document["rules"][0]["targets"]]
    syncer.reconfigure({**document, "rules": [{"name": "all", "targets": only_host}]}, signalled=False)
    syncer.until(lambda: estate.everywhere("orders", {"HOST": FIRST["host"]}))
    assert syncer.metric("config_reloads_total", result="accepted") == 1


# --- two instances


@pytest.mark.fault(62)
def test_two_instances_never_touch_each_others_secrets(start, estate):
    install(estate.porter)
    install(estate.porter, "other")
    first = start(estate.document())
    first.until(lambda: estate.everywhere("orders", FIRST) and estate.everywhere("other", FIRST))
    second = start(estate.document(instance="another"))
    second.until(lambda: second.metric("targets", state="Conflict") == 4)
    upgrade(estate.porter)
    first.until(lambda: estate.everywhere("orders", SECOND))
    assert second.metric("secrets_written_total") == 0
    estate.porter.delete("shop", "orders").finish()
    first.until(lambda: estate.everywhere("orders", None))


@pytest.mark.fault(62)
def test_two_databases_under_one_instance_do_not_undo_each_others_work(start, estate, mongo_server, tmp_path):
    """The same names in both; whoever comes second says what it met, and writes nothing."""
    install(estate.porter)
    first = start(estate.document())
    first.until(lambda: estate.everywhere("orders", FIRST))
    copy = f"{estate.porter.database.name}_copy"
    other = Porter(database=mongo_server.client[copy], secrets=tmp_path / "other-secrets")
    try:
        install(other, outputs=SECOND)
        source = estate.source(url=mongo_server.url(copy))
        source["secrets"] = {"kind": "filesystem", "path": str(other.secrets)}
        second = start(estate.document(source=source))
        second.until(lambda: second.metric("targets", state="Held") == 2)
        assert second.metric("secrets_written_total") == 0
        assert estate.everywhere("orders", FIRST)
    finally:
        mongo_server.drop(copy)
