"""A database that loses what it had, and runs that did not succeed: rows 6, 8 and 20 of the catalogue.

Simulates a dropped database, a failover that takes a result back, failed and cancelled runs. Excludes
databases of another name or age (tests/functional/test_acceptance_guard.py).
"""

from __future__ import annotations

import pytest

FIRST = {"host": b"db-1.shop.internal", "password": b"correct horse"}
SECOND = {"host": b"db-2.shop.internal", "password": b"battery staple"}
THIRD = {"host": b"db-3.shop.internal", "password": b"hunter2"}
NAMES = ("orders", "other", "third")


def install(estate, *names):
    for name in names:
        estate.porter.install("shop", name, FIRST, sensitive=["password"]).finish()


def upgrade(estate, outputs, **options):
    return estate.porter.upgrade("shop", "orders", outputs, sensitive=["password"], **options).finish()


def begun(start, estate, *names, **settings):
    install(estate, *names)
    syncer = start(estate.document(**settings))
    syncer.until(lambda: all(estate.everywhere(name, FIRST) for name in names))
    return syncer


# --- row 6


@pytest.mark.fault(6)
@pytest.mark.parametrize("names", [NAMES, NAMES[:1]], ids=["three installations", "one installation"])
def test_a_dropped_database_takes_nothing_along_and_may_come_back(start, estate, mongo_server, names):
    syncer = begun(start, estate, *names)
    before = estate.state()
    database = estate.porter.database
    kept = {name: list(database[name].find()) for name in database.list_collection_names()}
    mongo_server.client.drop_database(database.name)
    syncer.until(lambda: syncer.metric("held_deletions") == 2 * len(names))
    held = syncer.logged("change", action="hold")
    assert all("deletion held: " in one["reason"] and "gc --approve " in one["reason"] for one in held)
    assert estate.state() == before
    for name, documents in kept.items():
        database[name].insert_many(documents)
    syncer.until(lambda: syncer.metric("targets", state="InSync") == 2 * len(names))
    assert syncer.metric("held_deletions") == 0
    assert estate.state() == before
    upgrade(estate, SECOND)
    syncer.until(lambda: estate.everywhere("orders", SECOND))


# --- row 8


@pytest.mark.fault(8)
def test_what_a_failover_takes_back_stays_published_until_there_is_something_newer(wire, start, estate):
    syncer = begun(start, estate, "orders", source=estate.source_through(wire.port))
    earlier = estate.porter.database["installations"].find_one({"name": "orders"})
    run = upgrade(estate, SECOND)
    syncer.until(lambda: estate.everywhere("orders", SECOND))
    listed(wire, syncer)  # NB: a list that has never seen the run does not miss it
    before = estate.state()
    take_back(estate.porter.database, run, earlier)
    reason = f"the source went back: result {run.result_id} is published and no longer the newest"
    for sink in ("cluster", "files"):
        syncer.until(lambda sink=sink: syncer.logged("reconciled", sink=sink, outcome="held", reason=reason))
    assert estate.state() == before
    upgrade(estate, THIRD)
    syncer.until(lambda: estate.everywhere("orders", THIRD))


def listed(wire, syncer):
    before = lists(wire)
    syncer.until(lambda: lists(wire) >= before + 2)


def lists(wire):
    return sum(one.collection == "installations" and not one.body.get("filter") for one in wire.commands)


def take_back(database, run, installation):
    """As if the new primary had never heard of this run."""
    database["outputs"].delete_many({"resultId": run.result_id})
    database["results"].delete_many({"runId": run.run_id})
    database["runs"].delete_many({"_id": run.run_id})
    database["installations"].replace_one({"_id": installation["_id"]}, installation)


@pytest.mark.fault(8)
def test_every_read_is_of_what_a_majority_has_and_of_the_primary(wire, start, estate):
    begun(start, estate, "orders", source=estate.source_through(wire.port))
    reads = [one for one in wire.commands if one.name in ("find", "aggregate")]
    assert {one.collection for one in reads} == {"config", "installations", "results", "runs", "outputs"}
    assert {one.name for one in reads} == {"find", "aggregate"}
    for read in reads:
        assert read.body["readConcern"] == {"level": "majority"}
        assert read.body.get("$readPreference", {"mode": "primary"})["mode"] in (
            "primary",
            "primaryPreferred",
        )


# --- row 20


@pytest.mark.fault(20)
@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_a_run_that_did_not_succeed_changes_nothing(start, estate, status):
    syncer = begun(start, estate, "orders")
    before = estate.state()
    upgrade(estate, SECOND, status=status)
    for team in ("a", "b"):  # a new label is a reason to look; the second look surely begins after the run
        looks = syncer.looks("orders")
        estate.porter.relabel("shop", "orders", {"team": team})
        syncer.until_looked("orders", looks)
    assert estate.state() == before
    upgrade(estate, THIRD)
    syncer.until(lambda: estate.everywhere("orders", THIRD))
