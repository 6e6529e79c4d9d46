"""The source over a server that speaks MongoDB's wire protocol: the same answers as from a dump.

Simulates faults of the server and documents no Porter would write. Excludes users and roles, failover
and rollback, which this server does not have, and what documents mean (unit tests).
"""

from __future__ import annotations

import gc
import logging
import traceback
from pathlib import Path
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient

from backends.contract import FindingLevel
from syncer.core.errors import SourceRefused, SourceUnavailable
from syncer.core.model import Found, Installation, InstallationKey, OutputRef, Quarantined
from syncer.core.rows import InstallationFilter
from syncer.sources.porter import mongodb
from syncer.sources.porter import store as ask
from syncer.sources.porter.compat import installations_json, outputs_json, runs_json
from syncer.sources.porter.dump import DumpStore
from syncer.sources.porter.listing import list_installations, list_outputs, list_runs, page_installations
from syncer.sources.porter.mongodb import MongoStore
from syncer.sources.porter.secrets.filesystem import FilesystemSecrets
from syncer.sources.porter.source import PorterSource
from tests.servers import mongodump
from tests.unit.sources.porter_world import DB, NOW, Secrets, World

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "examples" / "quickstart"
PRINTED = ROOT / "tests" / "fixtures" / "porter-cli"


def database_of(url: str) -> str:
    return url.rpartition("/")[2]


@pytest.fixture
def porter_url(mongo_server, mongo_url) -> str:
    """A database that holds what real Porter wrote."""
    mongo_server.load_dump(QUICKSTART / "dump", database_of(mongo_url))
    mongo_server.counters(database_of(mongo_url), reset=True)
    return mongo_url


def secrets() -> FilesystemSecrets:
    return FilesystemSecrets(QUICKSTART / "secrets")


async def fill(url: str, world: World) -> None:
    async with AsyncMongoClient(url) as client:
        database: Any = client.get_default_database()
        for name, documents in world.documents.items():
            if documents:
                await database[name].insert_many(documents)


def many(count: int) -> World:
    world = World()
    for number in range(count):
        key = InstallationKey(f"ns{number % 3}", f"db{number}")
        world.installation(key)
        world.run({"host": b"h", "port": b"1"}, key=key)
    return world


def source(url: str) -> PorterSource:
    return PorterSource(MongoStore(url), Secrets(), clock=lambda: NOW)


def wanted(loaded: object) -> list[OutputRef]:
    assert isinstance(loaded, Installation)
    return [
        OutputRef(loaded.key, result.run_id, result.id, name, digest)
        for result in loaded.results
        for name, digest in result.outputs.items()
    ]


async def test_server_and_dump_give_equal_answers(porter_url):
    async with (
        PorterSource(MongoStore(porter_url), secrets()) as server,
        PorterSource(DumpStore(QUICKSTART / "dump"), secrets()) as dump,
    ):
        refs = await dump.list()
        assert sorted(await server.list(), key=str) == sorted(refs, key=str)
        keys = [ref.key for ref in refs]
        loaded = await dump.load(keys)
        assert await server.load(keys) == loaded
        histories = [await dump.history(key) for key in keys]
        assert [await server.history(key) for key in keys] == histories
        outputs = [ref for one in histories for ref in wanted(one)]
        assert await server.values(outputs) == await dump.values(outputs)


async def test_porters_own_lists_come_out_of_the_server_as_porter_prints_them(porter_url):
    async with MongoStore(porter_url) as store:
        rows = await list_installations(store, InstallationFilter())
        assert installations_json(rows) == (PRINTED / "installations.json").read_bytes()
        key = InstallationKey("shop", "orders-db")
        runs = await list_runs(store, key)
        assert runs_json(runs) == (PRINTED / "shop--orders-db.runs.json").read_bytes()
        outputs = await list_outputs(store, secrets(), key)
        assert outputs_json(outputs) == (PRINTED / "shop--orders-db.outputs.json").read_bytes()


async def walked(store: Any, wanted: InstallationFilter, size: int) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    page = await page_installations(store, wanted, size=size, beyond=None)
    while page.next is not None:
        found += [(row.namespace, row.name) for row in page.rows]
        page = await page_installations(store, wanted, size=size, beyond=page.next)
    return found + [(row.namespace, row.name) for row in page.rows]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
async def test_pages_of_installations_are_the_same_from_a_server_and_from_a_dump(mongo_url, tmp_path, size):
    # NB: no sign beyond U+FFFF beside "\uffff": this server, unlike MongoDB, compares text by UTF-16
    names = ["a", "B", "Ä", "é", "\uffff", "a.b", "$ne", "..", "z" * 1024]
    keys = [InstallationKey(space, name) for space in ("", "shop", "Shop", "é", "shop\t") for name in names]
    world = World()
    for key in keys:
        world.installation(key)
    for number, broken in enumerate((7, None, "", ["a"], "x" * 1025, bson.ObjectId(), True)):
        world.installation(InstallationKey("shop", str(number)))["name"] = broken
        world.installation(InstallationKey(str(number), "db"))["namespace"] = broken or {"a": 1}
    await fill(mongo_url, world)
    mongodump.write(tmp_path, "installations", world.documents["installations"])
    expected = sorted((key.namespace, key.name) for key in keys)
    filters = [
        InstallationFilter(custom=False),
        InstallationFilter(namespace="shop"),
        InstallationFilter(text="a"),
    ]
    async with MongoStore(mongo_url) as server, DumpStore(tmp_path) as dump:
        for wanted in filters:
            chosen = [key for key in expected if wanted.namespace in (None, key[0]) and wanted.text in key[1]]
            assert await walked(server, wanted, size) == chosen
            assert await walked(dump, wanted, size) == chosen


async def test_a_page_fetches_no_more_than_a_page(mongo_server, mongo_url):
    await fill(mongo_url, many(1_200))
    mongo_server.counters(database_of(mongo_url), reset=True)
    async with MongoStore(mongo_url) as store:
        page = await page_installations(store, InstallationFilter(custom=False), size=100, beyond=None)
    assert len(page.rows) == 100
    counted = mongo_server.counters(database_of(mongo_url))
    assert (counted.commands["find"], counted.documents["installations"]) == (1, 101)


async def test_the_check_finds_a_database_that_anybody_may_write_to(porter_url):
    async with PorterSource(MongoStore(porter_url), secrets()) as porter:
        findings = await porter.check()
    assert [finding.level for finding in findings if finding.subject == "Porter database"] == [
        FindingLevel.OK
    ]
    assert any(finding.level is FindingLevel.WARNING for finding in findings)
    assert not any(finding.level is FindingLevel.ERROR for finding in findings)


@pytest.mark.fault(5)
async def test_a_database_of_another_name_is_empty_and_another_source(porter_url):
    other = MongoStore(f"{porter_url}_typo")
    async with PorterSource(other, secrets()) as porter:
        assert await porter.list() == []
    assert PorterSource(other, secrets()).fingerprint != source(porter_url).fingerprint


async def test_queries_grow_with_batches_and_loading_fetches_no_value(mongo_server, mongo_url):
    await fill(mongo_url, many(1_200))
    database = database_of(mongo_url)
    async with source(mongo_url) as porter:
        keys = [ref.key for ref in await porter.list()]
        assert len(keys) == 1_200
        mongo_server.counters(database, reset=True)
        found = await porter.load(keys)
    assert all(isinstance(one, Installation) and len(one.results) == 1 for one in found.values())
    counted = mongo_server.counters(database)
    batches = 3
    assert counted.commands["find"] == 1 + batches * 5 + 12
    assert counted.returned("outputs", "value") == 0
    assert counted.returned("runs", "bundle") == 1_200
    assert counted.returned("installations", "custom") == 0


@pytest.mark.bad_input(38)
async def test_fifteen_megabytes_of_custom_data_never_travel(mongo_server, mongo_url):
    world = many(1)
    world.documents["installations"][0]["custom"] = {"x": "y" * 15_000_000}
    await fill(mongo_url, world)
    async with source(mongo_url) as porter:
        found = await porter.load([ref.key for ref in await porter.list()])
    assert all(isinstance(one, Installation) for one in found.values())
    assert mongo_server.counters(database_of(mongo_url)).returned("installations", "custom") == 0


@pytest.mark.bad_input(9)
async def test_a_value_of_three_mebibytes_is_read(mongo_url):
    world, content = World(), b"x" * (3 * 1024 * 1024)
    world.installation()
    world.run({"blob": content})
    await fill(mongo_url, world)
    async with source(mongo_url) as porter:
        (ref,) = wanted((await porter.load([DB]))[DB])
        state = (await porter.values([ref]))[ref]
    assert isinstance(state, Found)
    assert state.value.reveal() == content


@pytest.mark.bad_input(36)
@pytest.mark.bad_input(37)
async def test_a_name_that_is_an_operator_finds_nothing_and_harms_nobody(mongo_url):
    world = World()
    world.installation()
    world.run({"host": b"h"})
    broken = world.installation()
    broken.update(name={"x": 1}, extra={"a": {"b.c": 1}})
    listed = world.installation()
    listed["name"] = ["db"]
    await fill(mongo_url, world)
    async with source(mongo_url) as porter:
        found = await porter.load([ref.key for ref in await porter.list()])
    assert isinstance(found.pop(DB), Installation)
    assert len(found) == 2
    assert all(isinstance(one, Quarantined) for one in found.values())


@pytest.mark.bad_input(7)
async def test_text_that_is_no_utf_8_holds_only_its_own_installation(mongo_url):
    world = World()
    world.installation()
    await fill(mongo_url, world)
    broken = bson.encode({**world.documents["installations"][0], "_id": "other", "name": "brokenname"})
    async with AsyncMongoClient(mongo_url) as client:
        document = RawBSONDocument(broken.replace(b"brokenname", b"broken\xff\xfe\xfd\xfc"))
        await client.get_default_database()["installations"].insert_one(document)
    async with source(mongo_url) as porter:
        refs = await porter.list()
        found = await porter.load([ref.key for ref in refs])
    assert len(refs) == len(found) == 2


@pytest.mark.fault(3)
@pytest.mark.fault(4)
@pytest.mark.parametrize("disconnect", [False, True])
async def test_a_list_that_is_cut_half_way_is_no_list(mongo_server, mongo_url, disconnect):
    await fill(mongo_url, many(300))
    async with source(mongo_url) as porter:
        assert len(await porter.list()) == 300
        with mongo_server.failing("getMore", disconnect=disconnect), pytest.raises(SourceUnavailable):
            await porter.list()
        assert len(await porter.list()) == 300


@pytest.mark.fault(2)
@pytest.mark.fault(24)
@pytest.mark.parametrize("code", [13, 18, 6])
async def test_a_query_that_is_refused_is_unavailable_and_never_empty(mongo_server, porter_url, code):
    async with source(porter_url) as porter:
        with mongo_server.failing("find", code=code), pytest.raises(SourceUnavailable):
            await porter.load([InstallationKey("shop", "orders-db")])


@pytest.mark.fault(1)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # pymongo, cancelled while it connects
async def test_a_server_that_answers_nothing_is_unavailable_in_time(mongo_server, porter_url, monkeypatch):
    monkeypatch.setattr(mongodb, "OPERATION_TIMEOUT", 0.3)
    async with source(porter_url) as porter:
        with mongo_server.paused(), pytest.raises(SourceUnavailable, match="did not answer"):
            await porter.list()
        assert len(await porter.list()) == 8
    gc.collect()  # a socket pymongo forgot is warned of here, and not in some other test


@pytest.mark.fault(22)
async def test_a_schema_that_changes_meanwhile_is_refused(porter_url):
    async with source(porter_url) as porter, AsyncMongoClient(porter_url) as client:
        await porter.list()
        config: Any = client.get_default_database()["config"]
        await config.update_one({"_id": "schema"}, {"$set": {"installations": "1.1.0"}})
        with pytest.raises(SourceRefused, match=r"1\.1\.0"):
            await porter.load([DB])


async def test_reads_are_of_the_primary_and_committed_by_a_majority(porter_url):
    async with MongoStore(porter_url) as store:
        database = store._database()
        assert database.read_concern.level == "majority"
        assert database.read_preference.mongos_mode == "primary"
        await store.find(ask.schema())


async def test_no_value_reaches_a_log_or_a_message_at_any_level(mongo_server, mongo_url, caplog, capsys):
    canary = b"canary-5b1f0e77a4c2"
    world = World()
    world.installation()
    world.run({"password": canary})
    await fill(mongo_url, world)
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, logger="pymongo.command"):
        async with source(mongo_url) as porter:
            refs = wanted((await porter.load([DB]))[DB])
            states = await porter.values(refs)
            with mongo_server.failing("find"), pytest.raises(SourceUnavailable) as caught:
                await porter.values(refs)
    assert isinstance(states[refs[0]], Found)
    encoded = world.documents["outputs"][0]["value"]
    seen = (
        caplog.text
        + repr(states)
        + "".join(traceback.format_exception(caught.value))
        + str(capsys.readouterr())
    )
    assert canary.decode() not in seen
    assert encoded not in seen
