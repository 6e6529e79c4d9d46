"""Change streams that break or that there are none of, and logins that are lost: rows 21 and 23 of the catalogue.

Simulates an oplog that rolled over, a server without change streams, a login that was revoked and a password
that was changed. Excludes replica sets, which this server does not have.
"""

from __future__ import annotations

import pytest

from tests.faults.estate import POLL

FIRST = {"host": b"db-1.shop.internal", "password": b"correct horse"}
SECOND = {"host": b"db-2.shop.internal", "password": b"battery staple"}
NEVER = {"pollInterval": "1h", "deletionCheckInterval": "1h"}
"""Nothing is noticed but what a change stream tells."""
MARGIN = 4.0
"""Seconds from the poll until both sinks have it, on a machine that does a lot beside."""
BACK = 12.0
"""Seconds until a stream is begun again; before the first sweep that is due for another reason."""
LOST = (286, 280)


def install(estate, name, outputs=FIRST):
    estate.porter.install("shop", name, outputs, sensitive=["password"]).finish()


def begun(start, estate, source):
    install(estate, "orders")
    syncer = start(estate.document(source=source))
    syncer.until(lambda: estate.everywhere("orders", FIRST))
    return syncer


def arrives_by_polls(syncer, estate, name):
    install(estate, name)
    syncer.until(lambda: estate.everywhere(name, FIRST), POLL + MARGIN)


def streams(wire):
    """On which collections there are change streams that were asked for more."""
    return {one.collection for one in wire.commands if one.name == "getMore" and one.streams}


def until_all_begin(syncer, begins):
    """Until each of the three streams was begun again, in vain."""
    count = len(begins.taken)
    syncer.until(lambda: len({one.collection for one in begins.taken[count:]}) == 3)


# --- row 21


@pytest.mark.fault(21)
@pytest.mark.parametrize("code", LOST)
def test_what_is_written_while_the_streams_are_lost_is_not_missed_when_they_are_back(
    wire, start, estate, code
):
    syncer = begun(start, estate, estate.source_through(wire.port, **NEVER))
    syncer.until(lambda: len(streams(wire)) == 3)
    with (
        wire.refusing("aggregate", streams=True, code=code) as begins,
        wire.refusing("getMore", streams=True, code=code),
    ):
        install(estate, "orders-2")  # NB: the server is waiting with its answers until there is a write
        until_all_begin(syncer, begins)
        install(estate, "later", SECOND)
        until_all_begin(syncer, begins)
        assert estate.everywhere("later", None)
    syncer.until(lambda: estate.everywhere("later", SECOND), BACK)
    install(estate, "last", SECOND)
    syncer.until(lambda: estate.everywhere("last", SECOND))
    assert syncer.metric("source_up") == 1
    assert syncer.metric("source_stream_restarts_total") >= 3, "each of the three was lost"


@pytest.mark.fault(21)
def test_while_the_streams_are_lost_polls_find_everything(wire, start, estate):
    with (
        wire.refusing("aggregate", streams=True, code=LOST[0]),
        wire.refusing("getMore", streams=True, code=LOST[0]),
    ):
        syncer = begun(start, estate, estate.source_through(wire.port))
        for name in ("one", "two", "three"):
            arrives_by_polls(syncer, estate, name)
        estate.porter.delete("shop", "two").finish()
        syncer.until(lambda: estate.everywhere("two", None))
        assert syncer.metric("source_up") == 1


@pytest.mark.fault(21)
def test_a_server_without_change_streams_is_polled(mongo_server, wire, start, estate):
    mongo_server.set_change_streams(enabled=False)
    try:
        syncer = begun(start, estate, estate.source_through(wire.port))
        for name in ("one", "two", "three"):
            arrives_by_polls(syncer, estate, name)
        assert len([one for one in wire.commands if one.streams]) == 3
    finally:
        mongo_server.set_change_streams(enabled=True)


# --- row 23


@pytest.fixture
def url_file(estate, wire):
    """The URL of the database in a file of its own, as a Secret that is mounted is."""
    path = estate.folder / "mongodb-url"

    def write(login=""):
        new = path.with_suffix(".new")
        new.write_text(f"mongodb://{login}127.0.0.1:{wire.port}/{estate.url.rpartition('/')[2]}")
        new.replace(path)
        return path

    return write


@pytest.mark.fault(23)
def test_while_a_login_is_without_rights_everything_stays_as_it_is(wire, start, estate):
    syncer = begun(start, estate, estate.source_through(wire.port))
    before = estate.state()
    with wire.refusing(code=13):
        install(estate, "later")
        estate.porter.upgrade("shop", "orders", SECOND, sensitive=["password"]).finish()
        syncer.until(lambda: syncer.metric("source_up") == 0)
        assert estate.state() == before
    assert syncer.logged("source not readable", reason="MongoDB refused a query (code 13)")
    syncer.until(lambda: estate.everywhere("later", FIRST) and estate.everywhere("orders", SECOND))


@pytest.mark.fault(23)
@pytest.mark.parametrize("signalled", [False, True], ids=["noticed", "told"])
def test_a_new_password_in_the_file_is_taken_without_a_restart(wire, start, estate, url_file, signalled):
    path = url_file("syncer:old@")
    with wire.refusing("saslStart", code=18) as refused:
        syncer = start(estate.document(source=estate.source(id="prod", url={"file": str(path)})))
        install(estate, "orders")
        syncer.until(lambda: syncer.logged("source not readable", reason="MongoDB refused the login"))
        assert refused.taken
        assert syncer.get("/readyz") == (503, "source: MongoDB refused the login\n")
        assert estate.everywhere("orders", None)
        url_file()
        if signalled:
            syncer.reconfigure(estate.document(source=estate.source(id="prod", url={"file": str(path)})))
        syncer.until(lambda: estate.everywhere("orders", FIRST))
    assert syncer.metric("config_reloads_total", result="accepted") == 1
