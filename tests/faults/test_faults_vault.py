"""A Vault that is sealed, stands by, has had enough, or ends our token: rows 39 and 40 of the catalogue.

Sealed and revoked for real, on an OpenBao; one node stands by for nobody, so a proxy says what a standby
would. Excludes what single lost answers do: tests/contract/test_vault_faults.py shows that at every request.
"""

from __future__ import annotations

import itertools
import time
from contextlib import contextmanager

import pytest

from tests.faults.other_sinks import VaultPlace, beside
from tests.servers.http_proxy import HttpProxy, answer, before, everything, on

FIRST = {"host": b"db-1.shop.internal", "password": b"correct horse"}
SECOND = {"host": b"db-2.shop.internal", "password": b"battery staple"}
SOON = 5.0
"""Seconds within which the sinks without a fault have what is new."""
PAUSE = 2
"""Seconds that the server asks to be left alone for."""


@pytest.fixture
def place(bao_server):
    return VaultPlace.make(bao_server)


@pytest.fixture(scope="module")
def proxy(bao_server):
    started = HttpProxy.start(bao_server.url, bao_server.ca_file)
    yield started
    started.stop()


@pytest.fixture(autouse=True)
def rules(proxy):
    yield proxy.rules
    proxy.rules.clear()


@pytest.fixture
def run(start, estate, place, proxy):
    """Starts a syncer that reaches Vault by way of the proxy."""

    def begin(**settings):
        document = beside(estate, place.sink(proxy.url, proxy.ca_file), place.target, **settings)
        return start(document, environ=place.environ)

    return begin


def install(estate, name="orders"):
    estate.porter.install("shop", name, FIRST, sensitive=["password"]).finish()


def upgrade(estate, name="orders", outputs=SECOND):
    estate.porter.upgrade("shop", name, outputs, sensitive=["password"]).finish()


@contextmanager
def sealed(place, _rules):
    with place.bao.sealed():
        yield


def answering(status):
    @contextmanager
    def trouble(_place, rules):
        with rules.applied(everything, answer(status, {"errors": ["no"]})):
            yield

    return trouble


TROUBLES = {
    "sealed": (sealed, "the server is sealed"),
    "standby": (answering(473), "the server is a standby and not the active one"),
    "throttled": (answering(429), "the server asks for fewer requests"),
    "unavailable": (answering(503), "the server is not available"),
}


@pytest.mark.fault(39)
@pytest.mark.parametrize(("trouble", "reason"), TROUBLES.values(), ids=TROUBLES)
def test_a_vault_that_does_not_serve_delays_no_other_and_recovers_by_itself(
    run, estate, place, rules, trouble, reason
):
    install(estate)
    syncer = run()
    syncer.until(lambda: estate.everywhere("orders", FIRST) and place.holds("orders") == FIRST)
    with trouble(place, rules):
        upgrade(estate)
        install(estate, "later")
        syncer.until(lambda: estate.everywhere("orders", SECOND), SOON)
        syncer.until(lambda: estate.everywhere("later", FIRST), SOON)
        told = syncer.until(lambda: syncer.logged("sink left alone for a while", sink="vault"))
        assert reason in told[0]["reason"]
        assert syncer.metric("sink_up", sink="vault") == 0
        status, page = syncer.get("/readyz")
        assert (status, "sink vault: " in page, reason in page) == (200, True, True)
    syncer.until(lambda: place.holds("orders") == SECOND and place.holds("later") == FIRST)
    syncer.until(lambda: syncer.metric("sink_up", sink="vault") == 1)
    assert (place.versions("orders"), place.versions("later")) == (2, 1)


@pytest.mark.fault(39)
def test_a_vault_that_asks_for_a_pause_is_left_alone_for_it(run, estate, place, rules):
    install(estate)
    syncer = run()
    syncer.until(lambda: place.holds("orders") == FIRST)
    times = []

    async def refuse(asked, go_on):
        times.append(time.monotonic())
        return await answer(429, {"errors": []}, {"Retry-After": str(PAUSE)})(asked, go_on)

    with rules.applied(everything, refuse):
        upgrade(estate)
        syncer.until(lambda: estate.everywhere("orders", SECOND), SOON)
        syncer.until(lambda: len(times) >= 3)
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= PAUSE - 0.01
    syncer.until(lambda: place.holds("orders") == SECOND)


# --- the token


def logins(place, position):
    return place.bao.audit.requests(since=position, prefix=f"auth/{place.login.mount}/login/")


def accessor(place):
    """Of the syncer's token."""
    requests = place.bao.audit.requests(prefix=f"{place.mount}/")
    return next(one.accessor for one in requests if one.display_name.startswith(place.login.mount))


@pytest.mark.fault(40)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/data/"), ("PATCH", "/metadata/")], ids=["before data", "before the mark"]
)
def test_a_token_that_is_revoked_in_the_middle_of_a_write_is_replaced_once(
    run, estate, place, rules, method, path
):
    install(estate)
    syncer = run()
    syncer.until(lambda: place.holds("orders") == FIRST)
    position, token = place.bao.audit.position(), accessor(place)

    def revoke(_asked):
        place.bao.write("auth/token/revoke-accessor", {"accessor": token})

    revoked = rules.add(on(method, path=path), before(revoke), times=1)
    upgrade(estate)
    install(estate, "later")
    syncer.until(lambda: place.holds("orders") == SECOND and place.holds("later") == FIRST)
    # NB: applications read the data before the mark is there.
    syncer.until(lambda: revoked.taken == 1)
    syncer.until(lambda: syncer.metric("targets", sink="vault", state="InSync") == 2)
    assert len(logins(place, position)) == 1
    assert (place.versions("orders"), place.versions("later")) == (2, 1)
    assert not syncer.logged("sink left alone for a while")
