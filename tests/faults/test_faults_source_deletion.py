"""Deletions in four steps, that end half-way, or that are followed by another life: rows 15 to 17.

Simulates Porter while it deletes, killed while it deletes, and an installation made anew under an old name.
Excludes deletions of many at once (the guard's, in test_faults_source_history.py).
"""

from __future__ import annotations

import time

import pytest

from tests.faults.sampling import sampled

FIRST = {"host": b"db-1.shop.internal", "password": b"correct horse"}
SECOND = {"host": b"db-2.shop.internal", "password": b"battery staple"}
GRACE = 3.0
SINKS = ("cluster", "files")


def install(estate, name="orders", outputs=FIRST, **options):
    return estate.porter.install("shop", name, outputs, sensitive=["password"], **options)


def begun(start, estate, **settings):
    """One that has written `orders` and `other`."""
    install(estate).finish()
    install(estate, "other").finish()
    syncer = start(estate.document(**settings))
    syncer.until(lambda: all(estate.everywhere(name, FIRST) for name in ("orders", "other")))
    return syncer


def life(estate):
    return estate.porter.database["installations"].find_one({"name": "orders"})["id"]


def listed(wire, syncer):
    """Until the whole list of installations was read twice more: the second time it surely began after this."""
    before = lists(wire)
    syncer.until(lambda: lists(wire) >= before + 2)


def lists(wire):
    return sum(one.collection == "installations" and not one.body.get("filter") for one in wire.commands)


# --- row 15


@pytest.mark.fault(15)
def test_a_deletion_with_pauses_takes_everything_once_it_is_certain_and_nothing_before(wire, start, estate):
    settings = {"source": estate.source_through(wire.port), "guard": {"grace": f"{GRACE:g}s"}}
    syncer = begun(start, estate, **settings)
    before = estate.state()
    begin = time.monotonic()
    for step in estate.porter.delete("shop", "orders"):
        if step != "outputs":
            listed(wire, syncer)
        assert estate.state() == before or time.monotonic() - begin > GRACE, step
    syncer.until(lambda: estate.everywhere("orders", None))
    assert time.monotonic() - begin > GRACE
    assert estate.everywhere("other", FIRST)


@pytest.mark.fault(15)
def test_while_the_installation_is_there_no_lost_document_of_it_is_a_deletion(wire, start, estate):
    """In the other order than Porter's, which is what a killed restore leaves."""
    syncer = begun(start, estate, source=estate.source_through(wire.port))
    before = estate.state()
    for collection in ("outputs", "results", "runs"):
        estate.porter.database[collection].delete_many({"installation": "orders"})
        looks = syncer.looks("orders")
        estate.porter.relabel("shop", "orders", {"lost": collection})
        syncer.until_looked("orders", looks)
        listed(wire, syncer)
        assert estate.state() == before, collection
    estate.porter.database["installations"].delete_one({"name": "orders"})
    syncer.until(lambda: estate.everywhere("orders", None))
    assert estate.everywhere("other", FIRST)


# --- row 16


@pytest.mark.fault(16)
@pytest.mark.parametrize("last", ["installations", "results"])
def test_what_a_killed_deletion_left_over_keeps_no_secret_and_brings_none_back(start, estate, last):
    syncer = begun(start, estate)
    estate.porter.delete("shop", "orders").until(last)
    syncer.until(lambda: estate.everywhere("orders", None))
    syncer.reconfigure(estate.document(resyncInterval="2h"))
    syncer.until(lambda: all(len(syncer.logged("swept", sink=sink)) >= 2 for sink in SINKS))
    assert estate.everywhere("orders", None)
    assert estate.everywhere("other", FIRST)


# --- row 17


@pytest.mark.fault(17)
def test_a_new_life_within_the_grace_takes_over_without_a_gap_and_without_an_old_value(start, estate):
    syncer = begun(start, estate, guard={"grace": "5m"})
    old = life(estate)
    with sampled(estate, "orders") as samples:
        estate.porter.delete("shop", "orders").until("installations")
        steps = install(estate, outputs=SECOND)
        for step in ("installation", "result"):
            looks = syncer.looks("orders")
            steps.until(step)
            syncer.until_looked("orders", looks)
            assert estate.everywhere("orders", FIRST), step
        steps.finish()
        syncer.until(lambda: estate.everywhere("orders", SECOND))
    assert (
        estate.state()["orders-outputs"]["metadata"]["annotations"]["outputs.porter.sh/installation-id"]
        != old
    )
    assert {(one.life == old, one.data) for one in samples.seen} == {
        (True, frozenset(FIRST.items())),
        (False, frozenset(SECOND.items())),
    }
    assert syncer.metric("secrets_written_total", action="delete") == 0


@pytest.mark.fault(17)
def test_a_new_life_that_has_not_succeeded_yet_publishes_nothing_of_the_old_one(start, estate):
    syncer = begun(start, estate)
    before = estate.state()
    estate.porter.delete("shop", "orders").until("installations")
    install(estate, outputs=SECOND, status="failed").finish()
    reason = "the installation has no successful run since it was made anew"
    for sink in SINKS:
        syncer.until(lambda sink=sink: syncer.logged("change", action="hold", reason=reason))
    assert estate.state() == before
    estate.porter.upgrade("shop", "orders", SECOND, sensitive=["password"]).finish()
    syncer.until(lambda: estate.everywhere("orders", SECOND))


@pytest.mark.fault(17)
def test_a_new_life_after_the_grace_begins_with_nothing_of_the_old_one(start, estate):
    syncer = begun(start, estate)
    old = life(estate)
    estate.porter.delete("shop", "orders").until("installations")
    syncer.until(lambda: estate.everywhere("orders", None))
    with sampled(estate, "orders") as samples:
        steps = install(estate, outputs=SECOND)
        for step in ("installation", "result"):
            looks = syncer.looks("orders")
            steps.until(step)
            syncer.until_looked("orders", looks)
            assert estate.everywhere("orders", None), step
        steps.finish()
        syncer.until(lambda: estate.everywhere("orders", SECOND))
    assert {one.data for one in samples.seen} == {frozenset(SECOND.items())}
    assert old not in {one.life for one in samples.seen}
