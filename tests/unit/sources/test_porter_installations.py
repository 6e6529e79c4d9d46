"""What an installation's own document may look like, and when a snapshot of it is a complete one.

Simulates whole databases by hand, and changes while they are read. Excludes results and what is
declared (test_porter_load).
"""

from __future__ import annotations

import re

import pytest
from bson import Code, ObjectId
from porter_world import (
    DB,
    NOW,
    Secrets,
    World,
    load,
    loaded,
    quarantined,
    source,
)

from backends.contract import FindingLevel
from syncer.core.errors import SourceRefused
from syncer.core.model import Installation, InstallationKey, InstallationState, Quarantined
from syncer.sources.porter.source import PorterSource


@pytest.fixture
def world() -> World:
    """An installation `shop/db` with one succeeded install."""
    world = World()
    world.installation()
    world.run({"host": b"h"})
    return world


def installation(world: World) -> dict:
    return world.documents["installations"][0]


# --- the installation ------------------------------------------------------------------------


async def test_an_installation_without_runs_is_there_and_has_nothing():
    world = World()
    world.installation()
    found = await loaded(world)
    assert (found.results, found.declared, found.state) == ((), {}, InstallationState.DEFINED)
    assert found.labels == {"team": "db"}


@pytest.mark.bad_input(26)
@pytest.mark.parametrize(
    ("installed", "uninstalled", "state"),
    [
        (None, None, InstallationState.DEFINED),
        ("2026-01-01T00:00:00Z", None, InstallationState.INSTALLED),
        (None, "2026-01-01T00:00:00Z", InstallationState.UNINSTALLED),
        ("2026-01-01T00:00:00.1Z", "2026-01-01T00:00:00.100000001Z", InstallationState.UNINSTALLED),
        ("2026-01-01T00:00:00.2Z", "2026-01-01T00:00:00.19Z", InstallationState.INSTALLED),
        ("2026-01-01T01:00:00+02:00", "2026-01-01T00:00:00Z", InstallationState.UNINSTALLED),
        ("2026-01-01T01:00:00+02:00", "2025-12-31T23:00:00Z", InstallationState.DEFINED),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z", InstallationState.UNINSTALLED),
    ],
)
async def test_the_state_is_by_which_came_later(world, installed, uninstalled, state):
    installation(world)["status"].update(installed=installed, uninstalled=uninstalled)
    assert (await loaded(world)).state == state


@pytest.mark.bad_input(26)
@pytest.mark.parametrize(
    "time",
    ["yesterday", "2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z", "", 7, ObjectId(), "2026-02-30T00:00:00Z"],
)
async def test_a_time_that_is_none_holds_the_installation(world, time):
    installation(world)["status"].update(installed="2026-01-01T00:00:00Z", uninstalled=time)
    assert "no time" in await quarantined(world)


async def test_the_last_run_that_failed_is_told(world):
    assert not (await loaded(world)).last_run_failed
    installation(world)["status"]["resultStatus"] = "failed"
    assert (await loaded(world)).last_run_failed


@pytest.mark.bad_input(30)
async def test_the_global_namespace_stays_the_empty_one(world):
    key = InstallationKey("", "db")
    world.installation(key)
    world.run({"host": b"global"}, key=key)
    assert (await loaded(world, key)).key == key
    assert len((await loaded(world)).results) == 1


@pytest.mark.bad_input(31)
@pytest.mark.parametrize("name", ["a/b", "with space", "UPPER", "x" * 300, "$ne", "a.b"])
async def test_odd_installation_names_are_read_as_they_are(name):
    world, key = World(), InstallationKey("shop", name)
    world.installation(key)
    world.run({"host": b"h"}, key=key)
    assert len((await loaded(world, key)).results) == 1


@pytest.mark.bad_input(33)
async def test_a_thousand_labels_are_read(world):
    labels = {f"outputs.porter.sh/{number}": "x" * 100 for number in range(1_000)}
    installation(world)["labels"] = labels
    assert (await loaded(world)).labels == labels


@pytest.mark.bad_input(33)
@pytest.mark.parametrize("labels", [["a"], "a", {"a": 1}, {"a": None}, {"a": "\udcff"}])
async def test_labels_that_are_no_text_hold_the_installation(world, labels):
    installation(world)["labels"] = labels
    assert "labels" in await quarantined(world)


@pytest.mark.bad_input(34)
async def test_two_documents_of_one_name_hold_the_installation(world):
    world.installation()
    assert "two installation documents" in await quarantined(world)


@pytest.mark.bad_input(35)
@pytest.mark.parametrize("found", [None, "", 7, "db", {"$ne": ""}])
async def test_an_installation_without_a_proper_id_is_held(world, found):
    installation(world)["id"] = found
    assert "its id" in await quarantined(world)


@pytest.mark.bad_input(35)
async def test_two_installations_of_one_id_are_both_held(world):
    other = InstallationKey("prod", "api")
    world.installation(other)["id"] = installation(world)["id"]
    assert "same id" in await quarantined(world)
    assert "same id" in await quarantined(world, other)


async def test_who_only_loads_learns_in_time_that_an_id_is_shared_and_that_it_is_not_any_more(world):
    now = NOW
    porter = PorterSource(world, Secrets(), clock=lambda: now)
    other = InstallationKey("prod", "api")

    async def held() -> bool:
        return isinstance((await porter.load([DB]))[DB], Quarantined)

    assert not await held()
    world.installation(other)["id"] = installation(world)["id"]
    assert not await held()
    now += 600
    assert await held()
    del world.documents["installations"][-1]
    now -= 3600  # a clock that was set back
    assert not await held()


@pytest.mark.bad_input(36)
@pytest.mark.parametrize("name", [{"$ne": ""}, Code("db"), ["db"], None, 7, "", "\udcff"])
async def test_an_installation_without_a_name_is_listed_held_and_never_part_of_a_query(world, name):
    broken = world.installation()
    broken["name"] = name
    porter = source(world)
    listed = {ref.id: ref.key for ref in await porter.list()}
    assert listed[installation(world)["id"]] == DB
    key = listed[""]
    found = await porter.load([key, DB])
    assert isinstance(found[key], Quarantined)
    assert isinstance(found[DB], Installation)
    asked = {asked for query in world.queries for asked in query.keys or ()}
    assert asked == {DB}


@pytest.mark.bad_input(36)
async def test_a_namespace_that_is_an_object_is_no_namespace(world):
    installation(world)["namespace"] = {"$ne": ""}
    assert await load(world) is None
    assert str(installation(world)["_id"]) in (await source(world).list())[0].key.name


@pytest.mark.bad_input(36)
@pytest.mark.parametrize("status", [None, "x", [], 7])
async def test_a_status_of_another_type_counts_as_none(world, status):
    installation(world)["status"] = status
    assert (await loaded(world)).state == InstallationState.DEFINED


@pytest.mark.bad_input(38)
async def test_big_fields_are_never_asked_for(world):
    porter = source(world)
    await porter.list()
    await porter.load([DB])
    for query in world.queries:
        assert query.fields
        assert not {"custom", "parameters", "parameterOverrides", "credentials"} & set(query.fields)
        assert not ("bundle" in query.fields and query.keys is not None)


# --- complete snapshots -----------------------------------------------------------------------


async def test_an_installation_that_changed_meanwhile_is_read_again(world):
    changes = iter(["2026-11-24T00:11:00Z"])

    def change(query):
        if "outputs" in query.fields and (moment := next(changes, None)):
            world.run({"host": b"h2"}, action="upgrade")
            installation(world)["status"]["modified"] = moment

    world.before_query = change
    assert (await loaded(world)).results[0].action == "upgrade"


async def test_an_installation_that_never_stands_still_is_held(world):
    def change(query):
        if query.collection == "results":
            installation(world)["status"]["modified"] += "0"

    world.before_query = change
    assert await quarantined(world) == "it is changing while it is read"


async def test_one_that_changes_holds_up_no_other(world):
    other = InstallationKey("shop", "steady")
    world.installation(other)
    world.before_query = lambda query: installation(world)["status"].update(modified=object())
    found = await source(world).load([DB, other])
    assert isinstance(found[DB], Quarantined)
    assert isinstance(found[other], Installation)


async def test_an_installation_deleted_meanwhile_is_not_in_the_answer(world):
    def delete(query):
        if query.collection == "results":
            world.documents["installations"].clear()

    world.before_query = delete
    assert await load(world) is None


async def test_one_bad_installation_holds_only_itself(world):
    other = InstallationKey("shop", "bad")
    world.installation(other)
    world.run({}, key=other, declares="no json")
    found = await source(world).load([DB, other])
    assert isinstance(found[DB], Installation)
    assert isinstance(found[other], Quarantined)


async def queries_for(count: int) -> int:
    world = World()
    keys = [InstallationKey(f"ns{number % 7}", f"db{number}") for number in range(count)]
    for key in keys:
        world.installation(key)
        for action in ("install", "upgrade", "upgrade"):
            world.run({"host": b"h"}, key=key, action=action)
    assert len(await source(world).load(keys)) == count
    return len(world.queries)


async def test_the_number_of_queries_does_not_depend_on_the_number_of_installations():
    assert await queries_for(2) == await queries_for(90)


async def test_a_second_batch_costs_as_many_queries_as_the_first():
    one, two = await queries_for(500), await queries_for(1_000)
    assert two - one <= one


# --- the database --------------------------------------------------------------------------


@pytest.mark.bad_input(27)
@pytest.mark.parametrize("version", ["1.0.1", "1.0.3", "2.0.0", None, 7, {"$ne": ""}])
async def test_a_schema_that_is_not_known_is_refused(world, version):
    world.documents["config"][0]["installations"] = version
    for read in (source(world).list(), source(world).load([DB])):
        with pytest.raises(SourceRefused, match="schema"):
            await read
    assert any(finding.level is FindingLevel.ERROR for finding in await source(world).check())


@pytest.mark.bad_input(27)
async def test_installations_without_a_schema_are_refused(world):
    world.documents["config"].clear()
    with pytest.raises(SourceRefused, match="not migrated"):
        await source(world).list()


async def test_a_database_with_nothing_in_it_is_a_new_one():
    world = World()
    world.documents["config"].clear()
    assert await source(world).list() == []


async def test_the_list_names_every_installation_and_its_life(world):
    other = InstallationKey("", "global")
    second = world.installation(other)
    found = {ref.key: ref.id for ref in await source(world).list()}
    assert found == {DB: installation(world)["id"], other: second["id"]}


async def test_the_fingerprint_is_the_configured_one_or_comes_of_the_store():
    world = World()
    assert PorterSource(world, Secrets(), source_id="prod").fingerprint == "prod"
    assert re.fullmatch("[0-9a-f]{16}", source(world).fingerprint)
    assert source(world).fingerprint == source(World()).fingerprint


class Broken(Secrets):
    """A secret store that cannot even be opened."""

    async def __aenter__(self):
        raise SourceRefused("no login")


class Watched(World):
    """Counts how often it was left."""

    left = 0

    async def __aexit__(self, *_: object) -> None:
        self.left += 1


async def test_both_stores_are_opened_and_none_stays_open_on_failure():
    world = Watched()
    async with source(world) as porter:
        assert porter.store is world
        assert world.left == 0
    assert world.left == 1
    with pytest.raises(SourceRefused, match="no login"):
        await source(world, Broken()).__aenter__()
    assert world.left == 2
