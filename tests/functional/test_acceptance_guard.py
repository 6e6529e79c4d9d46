"""Too many deletions at once are held as one set, and only its own hash releases it.

Simulates clean-ups of every size, and people who approve. Excludes two instances on one sink.
"""

from __future__ import annotations

import pytest

from syncer.core.model import InstallationKey
from tests.functional.acceptance import MongoDatabase, Site, actions, changes, entry_at, held_hashes
from tests.functional.test_acceptance_deletion import names, synced


@pytest.fixture
def database(mongo_server, mongo_url) -> MongoDatabase:
    return MongoDatabase(server=mongo_server, url=mongo_url)


@pytest.fixture
def site(kube_cluster, kube_namespace, tmp_path, database) -> Site:
    return Site(folder=tmp_path, cluster=kube_cluster, prefix=kube_namespace, source=database.settings)


async def test_up_to_the_limit_goes_without_asking(site, database):
    await synced(site, database, 8)
    for number in range(5):
        database.delete("installations", "shop", f"db{number}")
    report = await site.once()
    assert actions(report) == {"keep", "delete"}
    assert names(site) == {"db5", "db6", "db7"}


@pytest.mark.fault(6)
async def test_a_held_set_is_released_by_its_own_hash_and_by_no_other(site, database):
    await synced(site, database, 9)
    for number in range(6):
        database.delete("installations", "shop", f"db{number}")
    before = site.state()
    report = await site.once()
    hashes = held_hashes(report)
    assert actions(report) == {"keep", "hold"}
    assert site.state() == before
    held = entry_at(report, "files:shop/db0")
    assert "release with: syncer gc --approve" in held.reason
    assert any(one in held.reason for one in hashes)
    for other in ((), ("0" * 16,), ("",)):
        again = await site.once(approved=other, deletions_only=True)
        assert "delete" not in actions(again)
        assert held_hashes(again) == hashes
        assert site.state() == before
    released = await site.once(approved=hashes, deletions_only=True)
    assert {address for action, address in changes(released) if action == "delete"} == {
        *(f"files:shop/db{number}" for number in range(6)),
        *(site.address(f"shop/db{number}-outputs") for number in range(6)),
    }
    assert names(site) == {"db6", "db7", "db8"}


async def test_an_approval_does_not_cover_what_is_added_later(site, database):
    await synced(site, database, 9)
    for number in range(6):
        database.delete("installations", "shop", f"db{number}")
    hashes = held_hashes(await site.once())
    database.delete("installations", "shop", "db6")
    before = site.state()
    report = await site.once(approved=hashes, deletions_only=True)
    assert "delete" not in actions(report)
    assert not held_hashes(report) & hashes
    assert site.state() == before


async def test_one_sinks_approval_releases_nothing_at_the_other(site, database):
    await synced(site, database, 9)
    for number in range(6):
        database.delete("installations", "shop", f"db{number}")
    (in_cluster,) = {one.held_hash for one in (await site.once()).sinks if one.sink == "cluster"}
    await site.once(approved=[in_cluster], deletions_only=True)
    assert set(site.in_cluster()) == {f"shop/db{number}-outputs" for number in (6, 7, 8)}
    assert len(site.in_files()) == 9


async def test_releasing_deletions_writes_nothing_else(site, database):
    world = await synced(site, database, 9)
    for number in range(6):
        database.delete("installations", "shop", f"db{number}")
    hashes = held_hashes(await site.once())
    world.run({"host": b"newer"}, key=InstallationKey("shop", "db8"))
    database.collections["runs"].insert_one(dict(world.documents["runs"][-1]))
    database.collections["results"].insert_one(dict(world.documents["results"][-1]))
    database.collections["outputs"].insert_one(dict(world.documents["outputs"][-1]))
    site.delete("shop/db7-outputs")
    await site.once(approved=hashes, deletions_only=True)
    assert site.in_cluster() == {
        "shop/db6-outputs": {"host": b"host-6"},
        "shop/db8-outputs": {"host": b"host-8"},
    }
    await site.once()
    assert site.in_cluster()["shop/db8-outputs"] == {"host": b"newer"}
    assert names(site) == {"db6", "db7", "db8"}


async def test_what_the_configuration_no_longer_wants_stays_and_is_reported(site, database):
    await synced(site, database, 3)
    site.rule = {"match": {"installations": ["db0"]}}
    before = site.state()
    report = await site.once()
    assert entry_at(report, "files:shop/db1").state.value == "Orphaned"
    assert site.state() == before
