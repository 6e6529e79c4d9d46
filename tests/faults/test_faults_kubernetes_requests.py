"""What happens between a request and its answer: rows 26, 27, 28 and 30 of the catalogue.

A proxy before a real API server refuses, loses answers, and lets others write in between. It passes no
watches: sweeps have to do. Excludes a server that is gone (test_faults_kubernetes_server.py).
"""

from __future__ import annotations

import base64
import itertools
import time

import pytest

from tests.faults.estate import USER
from tests.servers.http_proxy import HttpProxy, after, answer, before, drop_reply, everything, on

FIRST = {"host": b"db-1.shop.internal", "password": b"correct horse"}
SECOND = {"host": b"db-2.shop.internal", "password": b"battery staple"}
THEIRS = {"host": b"theirs.internal"}
SOON = 5.0
"""Seconds within which the sinks without a fault have what is new."""
PAUSE = 2
"""Seconds that the server asks to be left alone for."""
UNDER_WAY = 0.75
"""Seconds within which requests come that were sent before the first refusal was known."""


@pytest.fixture(scope="module")
def proxy(kube_cluster):
    started = HttpProxy.start(kube_cluster.url, kube_cluster.ca_file)
    yield started
    started.stop()


@pytest.fixture
def rules(proxy):
    yield proxy.rules
    proxy.rules.clear()


@pytest.fixture
def run(start, estate, proxy):
    """Starts a syncer that reaches the API server by way of the proxy."""

    def begin(**settings):
        sinks = [estate.kubernetes_at(proxy.url, proxy.ca_file), estate.files]
        return start(estate.document(sinks=sinks, **settings))

    return begin


def install(estate, name="orders", outputs=FIRST):
    estate.porter.install("shop", name, outputs, sensitive=["password"]).finish()


def upgrade(estate, name="orders", outputs=SECOND):
    estate.porter.upgrade("shop", name, outputs, sensitive=["password"]).finish()


def remove(estate, name="orders"):
    estate.porter.delete("shop", name).finish()


def written(estate, position, name="orders"):
    """What was asked for in writing about a Secret, with the answers."""
    asked = estate.cluster.audit.writes(since=position, user=USER)
    return [(one.verb, one.code) for one in asked if one.resource == "secrets" and one.name == secret(name)]


def secret(name):
    return f"{name}-outputs"


def on_secret(method, name="orders"):
    return on(method, path=f"/secrets/{secret(name)}$")


CREATED = on("POST", path="/secrets$")


# --- a server that has had enough


class Storm:
    """Refuses with 429, and notes when; as an action of the proxy's."""

    def __init__(self, seconds):
        self._refuse = answer(429, {}, {"Retry-After": str(seconds)})
        self.times = []

    async def __call__(self, asked, go_on):
        self.times.append(time.monotonic())
        return await self._refuse(asked, go_on)

    @property
    def pauses(self):
        """Seconds between its requests, those left out that were under way when the first was refused."""
        known = [at for at in self.times if at == self.times[0] or at > self.times[0] + UNDER_WAY]
        return [later - earlier for earlier, later in itertools.pairwise(known)]


@pytest.mark.fault(26)
def test_a_server_that_asks_for_a_pause_is_left_alone_for_it(run, estate, rules):
    install(estate)
    syncer = run()
    syncer.until(lambda: estate.everywhere("orders", FIRST) and estate.events("orders"))
    storm = Storm(PAUSE)
    with rules.applied(everything, storm):
        upgrade(estate)
        syncer.until(lambda: syncer.logged("sink left alone for a while", sink="cluster"))
        install(estate, "later")
        syncer.until(lambda: estate.in_files("later") == FIRST, SOON)
        assert estate.in_files("orders") == SECOND
        syncer.until(lambda: len(storm.times) >= 3)
    assert min(storm.pauses) >= PAUSE - 0.01
    assert len(storm.pauses) == len(storm.times) - 1
    syncer.until(lambda: estate.everywhere("orders", SECOND) and estate.everywhere("later", FIRST))


@pytest.mark.fault(26)
def test_a_server_that_takes_no_writes_is_tried_with_one_at_a_time(run, estate, rules):
    names = [f"orders-{number}" for number in range(5)]
    syncer = run()
    syncer.until_ready()
    storm = Storm(PAUSE)
    with rules.applied(CREATED, storm):
        for name in names:
            install(estate, name)
        syncer.until(lambda: all(estate.in_files(name) == FIRST for name in names), SOON)
        syncer.until(lambda: len(storm.pauses) >= 2)
    assert min(storm.pauses) >= PAUSE - 0.01
    syncer.until(lambda: all(estate.everywhere(name, FIRST) for name in names))


# --- others in between


def scribble(estate, change):
    """Somebody's hands on the Secret of `orders`."""
    change(found := estate.secret("orders"))
    path = f"/api/v1/namespaces/{estate.namespace}/secrets/{secret('orders')}"
    estate.cluster.admin.request("PUT", path, found)


def annotate(found):
    found["metadata"]["annotations"]["team"] = f"theirs {found['metadata']['resourceVersion']}"


def take(found):
    found["data"] = {"host": base64.b64encode(THEIRS["host"]).decode()}
    found["metadata"] |= {"annotations": {}, "labels": {}}


@pytest.mark.fault(27)
def test_an_update_that_somebody_comes_before_is_done_over_with_theirs_kept(run, estate, rules):
    install(estate)
    syncer = run()
    syncer.until(lambda: estate.everywhere("orders", FIRST))
    position = estate.cluster.audit.position()
    rules.add(on_secret("PUT"), before(lambda _: scribble(estate, annotate)), times=2)
    upgrade(estate)
    syncer.until(lambda: estate.everywhere("orders", SECOND))
    assert written(estate, position) == [("update", 409), ("update", 409), ("update", 200)]
    assert estate.secret("orders")["metadata"]["annotations"]["team"].startswith("theirs")


@pytest.mark.fault(27)
def test_an_update_that_is_always_too_late_is_given_up_for_a_while(run, estate, rules):
    install(estate)
    syncer = run()
    syncer.until(lambda: estate.everywhere("orders", FIRST))
    with rules.applied(on_secret("PUT"), before(lambda _: scribble(estate, annotate))) as rule:
        upgrade(estate)
        syncer.until(lambda: estate.in_files("orders") == SECOND, SOON)
        failed = syncer.until(lambda: syncer.logged("reconciled", sink="cluster", outcome="failed"))
        assert failed[0]["reason"] == "it keeps changing while it is written"
        assert rule.taken % 4 == 0
    syncer.until(lambda: estate.everywhere("orders", SECOND))


@pytest.mark.fault(27)
@pytest.mark.parametrize(("method", "when"), [("GET", after), ("PUT", before)], ids=["look", "write"])
def test_what_somebody_takes_over_before_an_update_is_theirs(run, estate, rules, method, when):
    install(estate)
    syncer = run(resyncInterval="1s")
    syncer.until(lambda: estate.everywhere("orders", FIRST))
    rules.add(on_secret(method), when(lambda *_: scribble(estate, take)), times=1)
    upgrade(estate)
    syncer.until(lambda: estate.in_files("orders") == SECOND, SOON)
    syncer.until(lambda: syncer.metric("targets", sink="cluster", state="Conflict") == 1)
    taken = estate.secret("orders")
    syncer.until_swept(sink="cluster")
    assert estate.in_cluster("orders") == THEIRS
    assert estate.secret("orders") == taken


@pytest.mark.fault(28)
def test_what_somebody_creates_before_us_is_theirs(run, estate, rules):
    def create(_asked):
        data = {"host": base64.b64encode(THEIRS["host"]).decode()}
        metadata = {"name": secret("orders"), "namespace": estate.namespace}
        estate.cluster.admin.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})

    syncer = run(resyncInterval="500ms")
    syncer.until_ready()
    position = estate.cluster.audit.position()
    rules.add(CREATED, before(create), times=1)
    install(estate)
    syncer.until(lambda: estate.in_files("orders") == FIRST, SOON)
    syncer.until(lambda: syncer.metric("targets", sink="cluster", state="Conflict") == 1)
    syncer.until(lambda: estate.events("orders") == ["Conflict"])
    theirs = estate.secret("orders")
    install(estate, "other")
    syncer.until(lambda: estate.everywhere("other", FIRST))
    syncer.until_swept(sink="cluster")
    assert estate.in_cluster("orders") == THEIRS
    assert estate.secret("orders") == theirs
    assert written(estate, position) == [("create", 409)]


# --- answers that are lost


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    ("verb", "method", "act", "outcome", "answered"),
    [
        ("create", "POST", install, FIRST, 201),
        ("update", "PUT", upgrade, SECOND, 200),
        ("delete", "DELETE", remove, None, 200),
    ],
)
def test_a_write_whose_answer_is_lost_is_not_done_twice(
    run, estate, rules, verb, method, act, outcome, answered
):
    install(estate, "other")
    if act is not install:
        install(estate)
    syncer = run()
    syncer.until(lambda: estate.everywhere("other", FIRST))
    syncer.until(lambda: estate.everywhere("orders", None if act is install else FIRST))
    position = estate.cluster.audit.position()
    lost = rules.add(on(method, path="/secrets"), drop_reply(), times=1)
    act(estate)
    syncer.until(lambda: lost.taken and estate.everywhere("orders", outcome))
    there = estate.secret("orders")
    upgrade(estate, "other")
    syncer.until(lambda: estate.everywhere("other", SECOND))
    syncer.until(lambda: syncer.metric("queue_depth", sink="cluster") == 0)
    assert estate.secret("orders") == there
    done, *again = written(estate, position)
    assert done == (verb, answered)
    # NB: aiohttp sends a PUT or a DELETE again by itself, and the precondition refuses that.
    assert again in {"create": [[]], "update": [[], [(verb, 409)]], "delete": [[], [(verb, 404)]]}[verb]
