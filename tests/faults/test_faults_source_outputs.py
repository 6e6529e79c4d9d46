"""Outputs that come one by one, late, or never: rows 10 and 11 of the catalogue.

Simulates Porter while it writes, killed while it writes, and with a secret store that did not take a value.
Excludes stores that answer wrongly (test_faults_source_stores.py). What is published is a whole set, always.
"""

from __future__ import annotations

from random import Random

import pytest

from tests.faults.sampling import sampled

SENSITIVE = ("password", "token")
FIRST = {"host": b"db-1.internal", "port": b"5432", "password": b"correct horse", "token": b"t-1"}
SECOND = {"host": b"db-2.internal", "port": b"6432", "password": b"battery staple", "token": b"t-2"}
THIRD = {"host": b"db-3.internal", "password": b"hunter2", "user": b"app"}
SINKS = ("cluster", "files")


def upgrade(estate, outputs, name="orders", **options):
    return estate.porter.upgrade("shop", name, outputs, sensitive=SENSITIVE, **options)


def begun(start, estate, *names, **settings):
    for name in names:
        estate.porter.install("shop", name, FIRST, sensitive=SENSITIVE).finish()
    syncer = start(estate.document(**settings))
    syncer.until(lambda: all(estate.everywhere(name, FIRST) for name in names))
    return syncer


def wait_again(syncer):
    """Until each sink is in sync, or waited twice more: the second time it surely saw what there is by now."""
    before = waits(syncer)
    syncer.until(
        lambda: (
            all(now >= count + 2 for now, count in zip(waits(syncer), before, strict=True)) or synced(syncer)
        )
    )


def waits(syncer):
    return [syncer.metric("reconciles_total", sink=sink, outcome="waiting") for sink in SINKS]


def synced(syncer):
    return all(syncer.metric("targets", sink=sink, state="InSync") for sink in SINKS)


def held(syncer, reason):
    """Until each sink says why it keeps what it has."""
    about = {"installation": "shop/orders", "outcome": "held", "reason": reason}
    for sink in SINKS:
        syncer.until(lambda sink=sink: syncer.logged("reconciled", sink=sink, **about))


# --- row 10


@pytest.mark.fault(10)
@pytest.mark.parametrize("seed", [1, 2])
def test_while_outputs_come_one_by_one_nobody_ever_sees_a_part_of_them(start, estate, seed):
    estate.porter.random = Random(seed)
    syncer = start(estate.document(source=estate.source(settleTime="5m")))
    syncer.until_ready()
    with sampled(estate, "orders") as samples:
        for steps, outputs in (
            (estate.porter.install("shop", "orders", FIRST, sensitive=SENSITIVE), FIRST),
            (upgrade(estate, SECOND), SECOND),
            (upgrade(estate, THIRD), THIRD),
        ):
            steps.until("result")
            syncer.until(lambda: all(syncer.metric("targets", sink=sink, state="Settling") for sink in SINKS))
            for _ in steps:
                wait_again(syncer)
            syncer.until(lambda outputs=outputs: estate.everywhere("orders", outputs))
    assert all(data in (FIRST, SECOND, THIRD) for data in samples.data)
    assert len(samples.data) == 3


@pytest.mark.fault(10)
def test_a_run_whose_outputs_stay_away_is_incomplete_and_the_old_ones_stay_whole(start, estate):
    syncer = begun(start, estate, "orders")
    before = estate.state()
    steps = upgrade(estate, SECOND).until("result")
    syncer.until(lambda: all(syncer.metric("targets", sink=sink, state="Settling") for sink in SINKS))
    syncer.until(lambda: all(syncer.metric("targets", sink=sink, state="Incomplete") for sink in SINKS))
    assert estate.state() == before
    steps.finish()
    syncer.until(lambda: estate.everywhere("orders", SECOND))
    syncer.until(lambda: all(syncer.metric("targets", sink=sink, state="InSync") for sink in SINKS))


# --- row 11


@pytest.mark.fault(11)
def test_a_key_that_leads_nowhere_holds_that_set_alone_until_it_leads_somewhere(start, estate):
    syncer = begun(start, estate, "orders", "other")
    before = estate.state()
    run = upgrade(estate, SECOND, dangling=["password"]).finish()
    held(syncer, "output 'password': cannot be resolved: not in the store")
    assert estate.state() == before
    upgrade(estate, SECOND, "other").finish()
    syncer.until(lambda: estate.everywhere("other", SECOND))
    assert estate.everywhere("orders", FIRST)
    estate.porter.store(f"{run.run_id}-password", SECOND["password"])
    syncer.until(lambda: estate.everywhere("orders", SECOND))


@pytest.mark.fault(11)
def test_an_output_that_porter_lost_holds_that_set_until_the_next_run(start, estate):
    syncer = begun(start, estate, "orders")
    before = estate.state()
    upgrade(estate, SECOND, lost=["host"]).finish()
    held(syncer, "output 'host': is lost: it has neither value nor key")
    assert estate.state() == before
    upgrade(estate, THIRD).finish()
    syncer.until(lambda: estate.everywhere("orders", THIRD))
