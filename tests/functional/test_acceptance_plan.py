"""A plan by somebody who may only read is what the next pass then does, and changes nothing."""

from __future__ import annotations

import pytest

from tests.functional.acceptance import (
    READER,
    WRITER,
    MongoDatabase,
    Site,
    before_the_uninstall,
    changes,
    porter_documents,
    replace_file,
)
from tests.functional.test_acceptance_fixtures import SPACES


@pytest.fixture
def database(mongo_server, mongo_url) -> MongoDatabase:
    return MongoDatabase(server=mongo_server, url=mongo_url)


@pytest.fixture
def site(kube_cluster, kube_namespace, tmp_path, database) -> Site:
    return Site(
        folder=tmp_path,
        cluster=kube_cluster,
        prefix=kube_namespace,
        source=database.settings,
        spaces=SPACES,
    )


def nothing_yet(site, database):
    pass


def drifted(site, database):
    def edit(secret):
        secret["data"].pop("host")

    site.edit("shop/orders-db-outputs", edit)
    site.delete("prod/api-outputs")
    replace_file(site.out / "shop" / "Odd_Clean.Install" / "a.b", b"x")


def gone_and_uninstalled(site, database):
    database.publish(porter_documents())
    database.delete("installations", "prod", "api")


def foreign(site, database):
    def strip(secret):
        secret["metadata"].update(annotations={}, labels={})

    site.edit("shop/orders-db-outputs", strip)


def too_many_gone(site, database):
    database.collections["installations"].delete_many({"name": {"$ne": "odd-names"}})


def everything_gone(site, database):
    database.collections["installations"].delete_many({})


def all_at_once(site, database):
    gone_and_uninstalled(site, database)
    drifted_less(site)
    foreign(site, database)


def drifted_less(site):
    site.delete("staging/too-big-outputs")
    replace_file(site.out / "shop" / "orders-db" / "host", b"x")


def orphaned(site, database):
    site.rule = {"match": {"namespaces": ["shop"]}}


SITUATIONS = {
    "all in sync": (nothing_yet, {"keep", "hold"}),
    "drift": (drifted, {"keep", "hold", "update", "create"}),
    "deletions": (gone_and_uninstalled, {"keep", "hold", "delete"}),
    "a conflict": (foreign, {"keep", "hold", "conflict"}),
    "a mass deletion": (too_many_gone, {"hold"}),
    "an empty database": (everything_gone, {"hold"}),
    "orphans": (orphaned, {"keep"}),
    "everything": (all_at_once, {"keep", "hold", "delete", "conflict", "create", "update"}),
}


@pytest.mark.parametrize("situation", SITUATIONS)
async def test_a_plan_is_what_the_next_pass_does(site, database, situation):
    bring_about, expected = SITUATIONS[situation]
    documents = porter_documents()
    before_the_uninstall(documents)
    database.publish(documents)
    await site.once()
    bring_about(site, database)
    plan = await same_plan_twice(site)
    done = await site.once()
    assert changes(done) == changes(plan)
    assert {action for action, _ in changes(plan)} == expected
    assert [one.held_hash for one in done.sinks] == [one.held_hash for one in plan.sinks]


async def test_a_first_plan_creates_nothing_not_even_the_folder(site, database):
    database.publish(porter_documents())
    plan = await same_plan_twice(site)
    assert site.secrets() == {}
    assert not site.out.exists()
    assert changes(await site.once()) == changes(plan)
    assert {action for action, _ in changes(plan)} == {"create", "hold"}


async def same_plan_twice(site: Site):
    before, position = site.state(), site.cluster.audit.position()
    plan = await site.plan()
    again = await site.plan()
    assert not plan.failed
    assert again == plan
    assert site.state() == before
    log = site.cluster.audit
    assert log.writes(since=position, user=READER) == log.writes(since=position, user=WRITER) == ()
    asked = log.events(since=position, user=READER)
    assert asked
    assert {(event.resource, event.verb) for event in asked} <= {("secrets", "get"), ("secrets", "list")}
    assert not [event for event in asked if event.code == 403]
    return plan
