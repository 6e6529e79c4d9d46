"""What takes secrets away, and what never does: interrupted deletes, lost databases, too many at once.

Simulates `porter installations delete` step by step, and databases that are empty, wrong, cut off or
restored. Excludes a failover with rollback, which the server does not have.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from syncer.core.errors import SourceError, SourceUnavailable
from syncer.core.model import InstallationKey
from tests.functional.acceptance import (
    WRITER,
    MongoDatabase,
    Site,
    Watcher,
    actions,
    entry_at,
    held_hashes,
    porter_documents,
)
from tests.functional.test_acceptance_fixtures import IN_CLUSTER, IN_FILES, SPACES
from tests.unit.sources.porter_world import NOW, World, ulid

STEPS = ("installations", "runs", "results", "outputs")
"""What porter deletes, in its order, each by a command of its own."""
LEFT = [left for count in range(1, 5) for left in combinations(STEPS, count)]

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # pymongo, cut off


@pytest.fixture
def database(mongo_server, mongo_url) -> MongoDatabase:
    return MongoDatabase(server=mongo_server, url=mongo_url)


@pytest.fixture
def site(kube_cluster, kube_namespace, tmp_path, database) -> Site:
    return Site(folder=tmp_path, cluster=kube_cluster, prefix=kube_namespace, source=database.settings)


@pytest.fixture
async def fixtures(site, database) -> Site:
    """What a real Porter wrote, synced."""
    database.publish(porter_documents())
    site = Site(
        folder=site.folder,
        cluster=site.cluster,
        prefix=site.prefix,
        source=database.settings,
        spaces=SPACES,
    )
    await site.once()
    return site


def installations(count: int) -> World:
    """shop/db0, shop/db1, ..., each with one run."""
    world = World()
    for number in range(count):
        key = InstallationKey("shop", f"db{number}")
        world.installation(key)
        world.run({"host": f"host-{number}".encode()}, key=key)
    return world


async def synced(site: Site, database: MongoDatabase, count: int) -> World:
    world = installations(count)
    database.publish(world.documents)
    report = await site.once()
    assert not report.failed, site.watcher.failures
    assert actions(report) == {"create"}
    assert len(site.in_cluster()) == len(site.in_files()) == count
    return world


def names(site: Site) -> set[str]:
    """Of the installations that still have secrets, the same in both sinks."""
    in_cluster = {path.removesuffix("-outputs") for path in site.in_cluster()}
    assert in_cluster == set(site.in_files())
    return {path.rpartition("/")[2] for path in in_cluster}


# --- a delete that is interrupted ----------------------------------------------------------


@pytest.mark.fault(15)
@pytest.mark.fault(16)
@pytest.mark.parametrize("done", LEFT, ids="+".join)
async def test_a_delete_that_got_so_far_takes_only_that_installations_secrets(fixtures, database, done):
    site = fixtures
    for step in done:
        database.delete(step, "shop", "orders-db")
    others = {path: version for path, version in site.versions().items() if path != "shop/orders-db-outputs"}
    for _ in range(2):
        report = await site.once()
        assert not report.failed
        if "installations" in done:
            assert site.in_cluster() == without(IN_CLUSTER, "shop/orders-db-outputs")
            assert site.in_files() == without(IN_FILES, "shop/orders-db")
        else:
            assert site.in_cluster() == IN_CLUSTER
            assert site.in_files() == IN_FILES
        left = site.versions()
        left.pop("shop/orders-db-outputs", None)
        assert left == others
    assert (site.out / "shop" / "orders-db").exists() is ("installations" not in done)


async def test_a_delete_step_by_step_with_a_pass_after_each(fixtures, database):
    for step in STEPS:
        database.delete(step, "shop", "orders-db")
        await fixtures.once()
        assert fixtures.in_cluster() == without(IN_CLUSTER, "shop/orders-db-outputs")
        assert fixtures.in_files() == without(IN_FILES, "shop/orders-db")


async def test_what_ends_after_the_delete_brings_nothing_back(fixtures, database):
    for step in STEPS:
        database.delete(step, "shop", "orders-db")
    await fixtures.once()
    orphans = porter_documents()
    for name in ("results", "outputs"):
        late = [one for one in orphans[name] if one["installation"] == "orders-db"]
        database.collections[name].insert_many(late)
    report = await fixtures.once()
    assert actions(report) == {"keep", "hold"}
    assert fixtures.in_cluster() == without(IN_CLUSTER, "shop/orders-db-outputs")


async def test_an_installation_that_is_back_by_the_second_look_keeps_its_secrets(fixtures, database):
    site = fixtures
    (document,) = [one for one in porter_documents()["installations"] if one["name"] == "orders-db"]
    database.delete("installations", "shop", "orders-db")

    def back() -> None:
        if not database.collections["installations"].count_documents({"name": "orders-db"}):
            database.collections["installations"].insert_one(dict(document))

    site.watcher = Watcher(back)
    before = site.state()
    report = await site.once()
    entry = entry_at(report, site.address("shop/orders-db-outputs"))
    assert (entry.action, entry.reason) == (
        "hold",
        "no longer to be deleted: the source changed meanwhile",
    )
    assert site.state() == before


@pytest.mark.fault(17)
@pytest.mark.parametrize("leftovers", [True, False])
async def test_a_new_installation_of_the_same_name_takes_the_secret_over_with_its_own_values(
    site, database, leftovers
):
    world = await synced(site, database, 2)
    before = site.in_cluster(), site.in_files()
    for step in STEPS[: 1 if leftovers else 4]:
        database.delete(step, "shop", "db0")
    anew = World()
    key = InstallationKey("shop", "db0")
    installation = anew.installation(key)
    installation.update(id=ulid(1, seconds=NOW - 3600), _id="anew")
    database.collections["installations"].insert_one(dict(installation))
    report = await site.once()
    assert entry_at(report, site.address("shop/db0-outputs")).action == "hold"
    assert (site.in_cluster(), site.in_files()) == before
    written = anew.run({"host": b"of the new life"}, key=key)
    for name, document, place in (
        ("runs", written["run"], 2),
        ("results", written["result"], 3),
        ("outputs", written["host"], 4),
    ):
        fresh = dict(document)
        if "_id" in fresh:
            fresh["_id"] = ulid(place, seconds=NOW - 3600)
        for reference, number in (("runId", 2), ("resultId", 3)):
            if reference in fresh:
                fresh[reference] = ulid(number, seconds=NOW - 3600)
        database.collections[name].insert_one(fresh)
    await site.once()
    assert site.in_cluster()["shop/db0-outputs"] == {"host": b"of the new life"}
    assert site.in_files()["shop/db0"] == {"host": b"of the new life"}
    annotations = site.secrets()["shop/db0-outputs"]["metadata"]["annotations"]
    assert annotations["outputs.porter.sh/installation-id"] == installation["id"]
    assert names(site) == {"db0", "db1"}
    assert world.documents["installations"][0]["id"] not in str(site.secrets())


async def test_an_installation_retained_on_deletion_keeps_its_secrets(site, database):
    site.rule = {"deletionPolicy": "Retain"}
    await synced(site, database, 4)
    database.delete("installations", "shop", "db0")
    before = site.state()
    report = await site.once()
    assert entry_at(report, "files:shop/db0").reason == "the installation is deleted (deletionPolicy: Retain)"
    assert site.state() == before


# --- a database that cannot be believed ----------------------------------------------------


def drop_installations(database: MongoDatabase) -> None:
    database.collections.drop_collection("installations")


def delete_installations(database: MongoDatabase) -> None:
    database.collections["installations"].delete_many({})


def drop_database(database: MongoDatabase) -> None:
    database.server.client.drop_database(database.name)


def delete_all_but_one(database: MongoDatabase) -> None:
    database.collections["installations"].delete_many({"name": {"$ne": "db0"}})


LOSSES = {
    "the collection is dropped": drop_installations,
    "all documents are deleted": delete_installations,
    "the database is dropped": drop_database,
    "nearly all documents are deleted": delete_all_but_one,
}


@pytest.mark.fault(6)
@pytest.mark.parametrize(
    ("loss", "count"), [(loss, 8) for loss in LOSSES] + [(loss, 1) for loss in LOSSES if "nearly" not in loss]
)
async def test_a_database_that_lost_everything_deletes_nothing(site, database, loss, count):
    await synced(site, database, count)
    before, position = site.state(), site.cluster.audit.position()
    LOSSES[loss](database)
    for _ in range(2):
        report = await site.once()
        assert site.state() == before
        assert "delete" not in actions(report)
        assert "hold" in actions(report)
        assert len(held_hashes(report)) == 2, "each sink holds a set of its own"
    assert site.cluster.audit.writes(since=position, user=WRITER) == ()


@pytest.mark.fault(5)
async def test_a_wrong_database_name_deletes_nothing(site, database):
    await synced(site, database, 2)
    before = site.state()
    site.source = {**database.settings, "url": f"{database.url}_typo"}
    report = await site.once()
    assert actions(report) == {"hold"}
    assert site.state() == before


@pytest.mark.fault(7)
async def test_another_database_proves_no_absence_and_takes_over_what_it_knows(site, database):
    await synced(site, database, 8)
    site.source = {**database.settings, "id": "restored"}
    database.delete("installations", "shop", "db7")
    before = site.in_cluster(), site.in_files()
    report = await site.once()
    assert entry_at(report, site.address("shop/db7-outputs")).action == "hold"
    assert entry_at(report, "files:shop/db0").action == "update"
    assert (site.in_cluster(), site.in_files()) == before
    marked = {one["metadata"]["annotations"]["outputs.porter.sh/source"] for one in site.secrets().values()}
    assert len(marked) == 2
    await site.once(approved=held_hashes(report), deletions_only=True)
    assert names(site) == {f"db{number}" for number in range(7)}


@pytest.mark.fault(7)
async def test_a_database_that_went_back_publishes_nothing_older(site, database):
    world = installations(1)
    early = {name: [dict(one) for one in content] for name, content in world.documents.items()}
    world.run({"host": b"newer"}, key=InstallationKey("shop", "db0"))
    database.publish(world.documents)
    await site.once()
    before = site.state()
    database.publish(early)
    report = await site.once()
    assert actions(report) == {"hold"}
    assert all("the source went back" in entry.reason for entry in report.entries)
    assert site.state() == before


@pytest.mark.fault(1)
async def test_a_server_that_is_not_there_deletes_nothing(site, database, monkeypatch):
    await synced(site, database, 2)
    before = site.state()
    monkeypatch.setattr("syncer.sources.porter.mongodb.SELECTION_TIMEOUT", 0.3)
    site.source = {"kind": "mongodb", "url": f"mongodb://127.0.0.1:1/{database.name}"}
    with pytest.raises(SourceUnavailable):
        await site.once()
    assert site.state() == before


@pytest.mark.fault(3)
@pytest.mark.parametrize("disconnect", [False, True])
async def test_a_list_that_is_cut_half_way_deletes_nothing(site, database, disconnect):
    await synced(site, database, 120)
    before = site.state()
    with (
        database.server.failing("getMore", disconnect=disconnect),
        pytest.raises(SourceUnavailable),
    ):
        await site.once()
    assert site.state() == before


@pytest.mark.fault(24)
async def test_a_list_that_is_cut_on_the_second_look_deletes_nothing(site, database):
    await synced(site, database, 120)
    database.delete("installations", "shop", "db0")
    before = site.state()
    cuts: list[Any] = []

    def cut() -> None:
        if not cuts:
            cuts.append(database.server.failing("find", code=13))
            cuts[0].__enter__()

    site.watcher = Watcher(cut)
    try:
        report = await site.once()
    finally:
        cuts[0].__exit__(None, None, None)
    assert report.failed
    assert [sink.failure for sink in report.sinks] == ["source: MongoDB refused a query (code 13)"] * 2
    assert site.state() == before
    site.watcher = Watcher()
    await site.once()
    assert names(site) == {f"db{number}" for number in range(1, 120)}


@pytest.mark.fault(22)
async def test_a_schema_that_is_not_known_deletes_nothing(site, database):
    await synced(site, database, 4)
    before = site.state()
    database.delete("installations", "shop", "db0")
    database.collections["config"].update_one({"_id": "schema"}, {"$set": {"installations": "9.0.0"}})
    with pytest.raises(SourceError, match=r"9\.0\.0"):
        await site.once()
    assert site.state() == before


def without(content: dict[str, dict[str, bytes]], path: str) -> dict[str, dict[str, bytes]]:
    return {name: data for name, data in content.items() if name != path}
