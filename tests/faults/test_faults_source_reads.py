"""Reads of Porter's database that fail, at the start or in the middle: rows 1 to 4 and 24 of the catalogue.

Simulates a server that is gone, that breaks off in the middle of an answer, that has forgotten a cursor, that
forbids a collection. Excludes what its documents say, and change streams (the files beside this one).
Nothing follows from a list that was not read to its end: neither an update nor a deletion.
"""

from __future__ import annotations

import pytest

from tests.servers.tcp_proxy import TcpProxy

FIRST = {"host": b"db-1.shop.internal", "password": b"correct horse"}
SECOND = {"host": b"db-2.shop.internal", "password": b"battery staple"}
COLLECTIONS = ("installations", "results", "runs", "outputs")
MANY = 130
"""Installations, so that a list of them takes two batches."""
OFTEN = 5
"""Attempts of the syncer's while something fails; the last of so many comes after `guard.grace`."""


def install(estate, *names):
    for name in names:
        estate.porter.install("shop", name, FIRST, sensitive=["password"]).finish()


def upgrade(estate, outputs=SECOND):
    estate.porter.upgrade("shop", "orders", outputs, sensitive=["password"]).finish()


def crowd(estate):
    """Many who have nothing to publish: they come first in every list."""
    for number in range(MANY):
        estate.porter.install("shop", f"idle-{number}").until("installation")


def begun(start, estate, port):
    """One that has written `orders` and `other`, with a proxy before its database."""
    install(estate, "orders", "other")
    syncer = start(estate.document(source=estate.source_through(port)))
    syncer.until(lambda: all(estate.everywhere(name, FIRST) for name in ("orders", "other")))
    return syncer


def unready(syncer, reason):
    status, page = syncer.get("/readyz")
    return status == 503 and page.startswith(reason)


@pytest.fixture
def tcp(wire):
    proxy = TcpProxy.start("127.0.0.1", wire.port)
    yield proxy
    proxy.stop()


@pytest.mark.fault(1)
def test_while_the_database_is_down_from_the_start_nothing_is_written_and_nothing_lost(tcp, start, estate):
    assert begun(start, estate, tcp.port).end() == 0
    before = estate.state()
    with tcp.refusing():
        upgrade(estate)
        estate.porter.delete("shop", "other").finish()
        syncer = start(estate.document(source=estate.source_through(tcp.port)))
        syncer.until(lambda: unready(syncer, "source: MongoDB cannot be read"))
        assert syncer.get("/healthz")[0] == 200
        assert syncer.metric("source_up") == 0
        assert estate.state() == before
    syncer.until(lambda: estate.everywhere("orders", SECOND) and estate.everywhere("other", None))
    syncer.until_ready()
    assert syncer.metric("source_up") == 1


@pytest.mark.fault(2)
def test_a_database_that_dies_while_it_is_read_leaves_the_sinks_as_they_are(wire, tcp, start, estate):
    syncer = begun(start, estate, tcp.port)
    before = estate.state()
    with wire.holding("find", "outputs") as outputs:
        upgrade(estate)
        syncer.until(lambda: outputs.taken)
        with tcp.refusing():
            estate.porter.delete("shop", "other").finish()
            syncer.until(lambda: syncer.metric("source_up") == 0)
            assert estate.state() == before
    syncer.until(lambda: estate.everywhere("orders", SECOND) and estate.everywhere("other", None))


@pytest.mark.fault(2)
def test_whichever_collection_is_cut_off_nothing_follows_from_the_part_that_came(wire, start, estate):
    syncer = begun(start, estate, wire.port)
    for collection in COLLECTIONS:
        before, outputs = estate.state(), {**SECOND, "password": collection.encode()}
        with wire.cutting("find", collection) as rule:
            upgrade(estate, outputs)
            syncer.until(lambda: len(rule.taken) >= OFTEN)
            assert estate.state() == before
        syncer.until(lambda outputs=outputs: estate.everywhere("orders", outputs))
    assert estate.everywhere("other", FIRST)


@pytest.mark.fault(24)
def test_a_collection_that_may_no_longer_be_read_leaves_the_sinks_as_they_are(wire, start, estate):
    syncer = begun(start, estate, wire.port)
    before = estate.state()
    with wire.refusing("find", "outputs", code=13) as rule:
        upgrade(estate)
        syncer.until(lambda: len(rule.taken) >= OFTEN)
        assert estate.state() == before
        assert {one["reason"] for one in syncer.logged("reconciled", outcome="failed")} == {
            "source: MongoDB refused a query (code 13)"
        }
    syncer.until(lambda: estate.everywhere("orders", SECOND))


@pytest.mark.fault(3)
def test_a_list_that_is_cut_off_after_its_first_batch_is_no_list(wire, start, estate):
    crowd(estate)
    syncer = begun(start, estate, wire.port)
    before = estate.state()
    with wire.cutting("getMore", "installations") as rule:
        estate.porter.delete("shop", "other").finish()
        syncer.until(lambda: len(rule.taken) >= OFTEN)
        assert estate.state() == before
    syncer.until(lambda: estate.everywhere("other", None))
    assert estate.everywhere("orders", FIRST)


@pytest.mark.fault(4)
def test_a_list_whose_cursor_the_server_forgot_is_read_anew(wire, mongo_server, start, estate):
    crowd(estate)
    syncer = begun(start, estate, wire.port)
    before = estate.state()
    with wire.holding("getMore", "installations", times=1) as rule:
        [asked] = syncer.until(lambda: rule.taken)
        database = mongo_server.client[estate.porter.database.name]
        killed = database.command("killCursors", "installations", cursors=[asked.body["getMore"]])
        assert killed["cursorsKilled"] == [asked.body["getMore"]]
    reason = "MongoDB refused a query (code 43)"
    syncer.until(lambda: syncer.logged("source not readable", reason=reason))
    syncer.until(lambda: syncer.logged("source readable"))
    assert estate.state() == before
    estate.porter.delete("shop", "other").finish()
    syncer.until(lambda: estate.everywhere("other", None))
    assert estate.everywhere("orders", FIRST)
