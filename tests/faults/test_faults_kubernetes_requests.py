"""What happens between a request and its answer: rows 26, 27, 28 and 30 of the catalogue.

A proxy before a real API server refuses, loses answers, and lets others write in between. It passes no
watches: sweeps have to do. Excludes a server that is gone (test_faults_kubernetes_server.py).
"""

from __future__ import annotations

import base64
import itertools
import threading
import time

import pytest

from tests.faults.estate import USER
from tests.servers.http_proxy import HttpProxy, answer, before, drop_reply, everything, on

FIRST = {"host": b"db-1.shop.internal", "password": b"correct horse"}
SECOND = {"host": b"db-2.shop.internal", "password": b"battery staple"}
THEIRS = {"host": b"theirs.internal"}
SOON = 5.0
"""Seconds within which the sinks without a fault have what is new."""
PAUSE = 2
"""Seconds that the server asks to be left alone for."""


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


class Storm:
    """Refuses everything with 429, and notes when it came; as an action of the proxy's."""

    def __init__(self, seconds):
        self._refuse = answer(429, {}, {"Retry-After": str(seconds)})
        self.times = []

    async def __call__(self, asked, go_on):
        self.times.append(time.monotonic())
        print(asked.method, asked.path, asked.query, time.time())
        return await self._refuse(asked, go_on)

    @property
    def pauses(self):
        return [later - earlier for earlier, later in itertools.pairwise(self.times)]


@pytest.mark.fault(26)
def test_a_server_that_asks_for_a_pause_is_left_alone_for_it(run, estate, rules):
    install(estate)
    syncer = run()
    syncer.until(lambda: estate.everywhere("orders", FIRST))
    storm = Storm(PAUSE)
    with rules.applied(everything, storm):
        upgrade(estate)
        syncer.until(lambda: estate.in_files("orders") == SECOND, SOON)
        syncer.until(lambda: len(storm.times) >= 4)
    print(storm.pauses)
    assert min(storm.pauses) >= PAUSE - 0.01
    syncer.until(lambda: estate.everywhere("orders", SECOND))


@pytest.mark.fault(26)
def test_nor_is_it_asked_for_what_changes_meanwhile(run, estate, rules):
    for name in ("orders", "other", "third"):
        install(estate, name)
    syncer = run()
    syncer.until(lambda: all(estate.everywhere(name, FIRST) for name in ("orders", "other", "third")))
    storm = Storm(PAUSE)
    with rules.applied(everything, storm):
        upgrade(estate)
        syncer.until(lambda: storm.times)
        upgrade(estate, "other")
        syncer.until(lambda: estate.in_files("other") == SECOND, SOON)
        upgrade(estate, "third")
        syncer.until(lambda: len(storm.times) >= 6)
    print(storm.pauses)
    syncer.until(lambda: estate.everywhere("orders", SECOND))
