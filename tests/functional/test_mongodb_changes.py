"""What a server that speaks MongoDB's wire protocol tells of changes, and what it is asked for that.

Simulates Porter at work, servers without change streams and streams that break. Excludes replica sets,
which this server does not have, and time: the windows of polls are in unit/sources/test_porter_changes.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest
from pymongo import MongoClient

from syncer.core.errors import SourceUnavailable
from syncer.core.model import InstallationKey
from syncer.core.ulid import ulid_seconds
from syncer.sources.porter import mongodb
from syncer.sources.porter import store as ask
from syncer.sources.porter.changes import FIRST_PAUSE, OVERLAP, PorterChanges
from syncer.sources.porter.mongodb import MongoStore
from tests.servers.mongodb import MongoServer
from tests.servers.porter import Porter
from tests.unit.sources.porter_world import NOW, ulid

DB = InstallationKey("shop", "db")
DEADLINE = 20
OUTPUTS = {"host": b"plain-canary-71c0", "password": b"secret-canary-5b1f"}


@pytest.fixture
def database(mongo_url):
    with MongoClient(mongo_url) as client:
        yield client.get_default_database()


@pytest.fixture
def porter(database, tmp_path) -> Porter:
    return Porter(database=database, secrets=tmp_path / "secrets", random=random.Random(1))


@pytest.fixture
async def store(mongo_url):
    async with MongoStore(mongo_url) as store:
        yield store


class Woken:
    """Collects what `wakes` yields while the test does something else."""

    def __init__(self, changes: PorterChanges) -> None:
        self.keys: set[InstallationKey] = set()
        self.anything = 0
        self._event = asyncio.Event()
        self._task = asyncio.create_task(self._collect(changes))

    async def leave(self, within: float = DEADLINE) -> None:
        self._task.cancel()
        done, _ = await asyncio.wait([self._task], timeout=within)
        assert done, "it did not end in time"
        assert self._task.cancelled()

    async def _collect(self, changes: PorterChanges) -> None:
        async for keys in changes.wakes():
            self.keys |= keys
            self.anything += not keys
            self._event.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not holds():
                self._event.clear()
                await self._event.wait()

    async def told(self, key: InstallationKey) -> None:
        """Until this one is told, and forget it."""
        await self.until(lambda: key in self.keys)
        self.keys.clear()

    async def told_of_anything(self) -> None:
        """As this server tells of a document that was replaced: not by whose it is."""
        before = self.anything
        await self.until(lambda: self.anything > before)


@pytest.fixture
def changes(store) -> PorterChanges:
    return PorterChanges(store)


@pytest.fixture
async def woken(changes, porter, monkeypatch):
    """Three streams that listen."""
    opened = asyncio.Event()
    streams = []
    stream = MongoStore._stream

    async def counted(self: MongoStore, collection: str, fields: tuple[str, ...]) -> object:
        streams.append(await stream(self, collection, fields))
        if len(streams) == 3:
            opened.set()
        return streams[-1]

    monkeypatch.setattr(MongoStore, "_stream", counted)
    woken = Woken(changes)
    async with asyncio.timeout(DEADLINE):
        await opened.wait()
    await woken.until(lambda: woken.anything > 0)
    yield woken
    await woken.leave()


@contextmanager
def without_streams(server: MongoServer) -> Iterator[None]:
    server.set_change_streams(enabled=False)
    try:
        yield
    finally:
        server.set_change_streams(enabled=True)


# --- wakes -----------------------------------------------------------------------------------


async def test_each_step_of_porter_wakes_at_once(woken, porter):
    for step in porter.install("shop", "db", OUTPUTS, sensitive=["password"]):
        if step == "status":
            await woken.told_of_anything()
        elif step != "run" and not step.startswith("secret"):
            await woken.told(DB)


async def test_a_new_label_and_a_deletion_wake(woken, porter):
    porter.install("shop", "db").until("installation")
    await woken.told(DB)
    porter.relabel("shop", "db", {"team": "other"})
    await woken.told_of_anything()
    assert next(porter.delete("shop", "db")) == "installations"
    await woken.told_of_anything()


async def test_no_value_travels_with_a_change(woken, porter, monkeypatch):
    seen = []
    receive = mongodb._next

    async def spied(stream: object) -> dict[str, object] | None:
        change = await receive(stream)
        seen.append(change)
        return change

    monkeypatch.setattr(mongodb, "_next", spied)
    for name in ("db", "other"):
        porter.install("shop", name, OUTPUTS, sensitive=["password"], labels={"team": "db"}).finish()
        porter.relabel("shop", name, {"team": "canary"})
    wanted = [{"namespace": "shop", "installation": "db"}, {"namespace": "shop", "name": "other"}]
    await woken.until(lambda: all(one in documents(seen) for one in wanted))
    assert all(set(change) <= {"_id", "fullDocument"} for change in seen if change)
    assert all(set(document) <= {"namespace", "name", "installation"} for document in documents(seen))
    assert "canary" not in repr(seen)


def documents(changes: Sequence[Mapping | None]) -> list[Mapping]:
    return [change["fullDocument"] for change in changes if change and change.get("fullDocument")]


@pytest.mark.fault(21)
@pytest.mark.parametrize("code", [286, 280, 43, 6, 11600])
async def test_a_stream_that_fails_is_begun_again_and_tells_on(woken, changes, porter, mongo_server, code):
    with mongo_server.failing("getMore", code=code, times=3):
        porter.install("", "app").finish()
        await woken.until(lambda: changes.restarts >= 3)
    await told_after_a_gap(woken, porter)


@pytest.mark.fault(21)
async def test_a_lost_connection_is_made_again(woken, changes, porter, mongo_server):
    with mongo_server.failing("getMore", disconnect=True, times=3):
        porter.install("", "app").finish()
        await woken.until(lambda: changes.restarts >= 3)
    await told_after_a_gap(woken, porter)


async def told_after_a_gap(woken: Woken, porter: Porter) -> None:
    """Each stream may still be about to listen again: write until it does."""
    for number in range(100):
        porter.install("shop", f"db{number}", OUTPUTS).finish()
        try:
            async with asyncio.timeout(FIRST_PAUSE):
                await woken.until(lambda: any(key.namespace == "shop" for key in woken.keys))
        except TimeoutError:
            continue
        return
    pytest.fail("nothing was told any more")


@pytest.mark.fault(21)
async def test_a_stream_that_the_server_ends_is_a_stream_that_is_lost(store, monkeypatch):
    """As MongoDB does when the collection is dropped; this server does not."""

    class Ended:
        alive = False
        closed = False

        async def close(self) -> None:
            self.closed = True

    ended = Ended()

    async def stream(*_: object) -> Ended:
        return ended

    monkeypatch.setattr(store, "_stream", stream)
    told = store.watch("results", ("namespace",))
    assert await anext(told) == {}
    with pytest.raises(SourceUnavailable, match="results was ended"):
        await anext(told)
    assert ended.closed


@pytest.mark.fault(21)
async def test_a_server_without_change_streams_ends_it_at_once_and_polls_go_on(changes, porter, mongo_server):
    with without_streams(mongo_server):
        await changes.poll()
        async with asyncio.timeout(DEADLINE):
            assert [keys async for keys in changes.wakes()] == []
        porter.install("shop", "db").finish()
        assert await changes.poll() == {DB}
    assert changes.restarts == 0


@pytest.mark.fault(21)
@pytest.mark.parametrize("code", [40573, 40324, 59, 115, 238])
async def test_every_way_to_say_that_there_are_none_ends_it(changes, mongo_server, code):
    with mongo_server.failing("aggregate", code=code):
        async with asyncio.timeout(DEADLINE):
            assert [keys async for keys in changes.wakes()] == []
    assert changes.restarts == 0


async def test_while_nothing_is_written_the_server_waits_and_nobody_spins(
    mongo_server, database, store, porter, monkeypatch
):
    monkeypatch.setattr(mongodb, "AWAIT", 0.3)
    mongo_server.counters(database.name, reset=True)
    begun = time.monotonic()
    woken = Woken(PorterChanges(store))
    async with asyncio.timeout(DEADLINE):
        while mongo_server.counters(database.name).commands.get("getMore", 0) < 9:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert time.monotonic() - begun >= 2 * 0.3
    await woken.leave()


async def test_a_stream_can_be_left_while_the_server_answers_nothing(woken, mongo_server, monkeypatch):
    monkeypatch.setattr(mongodb, "SELECTION_TIMEOUT", 0.2)
    with mongo_server.paused():
        await woken.leave(within=3)


# --- polls -----------------------------------------------------------------------------------


async def test_a_poll_is_one_range_of_the_index_on_the_id():
    assert mongodb._filter(ask.results_after("01M8")) == {"_id": {"$gt": "01M8"}}


async def test_a_field_may_have_two_conditions():
    query = ask.Query(collection="results", fields=("_id",), any_of={"_id": ["a"]}, after={"_id": "b"})
    assert mongodb._filter(query) == {"_id": {"$in": ["a"], "$gt": "b"}}


def insert_results(database, count: int) -> None:
    database["results"].insert_many(
        {
            "_id": ulid(number, seconds=NOW),
            "namespace": "shop",
            "installation": f"db{number}",
            "status": "succeeded",
            "outputs": {"host": {"contentDigest": "sha256:0"}},
        }
        for number in range(count)
    )


async def test_what_polls_read_does_not_grow_with_history(mongo_server, database, store):
    insert_results(database, 2_000)
    now = NOW + 1
    changes = PorterChanges(store, clock=lambda: now, monotonic=lambda: now)
    await changes.poll()
    now += OVERLAP + 1
    await changes.poll()
    mongo_server.counters(database.name, reset=True)
    for _ in range(50):
        now += 2
        assert await changes.poll() == frozenset()
    counted = mongo_server.counters(database.name)
    assert counted.requests["results"] == counted.commands["find"] == 50
    assert counted.documents.get("results", 0) == 0


async def test_a_poll_reads_names_only(mongo_server, database, store):
    insert_results(database, 3)
    changes = PorterChanges(store, clock=lambda: NOW, monotonic=lambda: NOW)
    mongo_server.counters(database.name, reset=True)
    await changes.poll()
    assert mongo_server.counters(database.name).fields["results"] == {
        "_id": 3 + 1,  # the newest is asked for first
        "namespace": 3,
        "installation": 3,
    }


@pytest.mark.fault(18)
@pytest.mark.fault(19)
async def test_results_of_machines_whose_clocks_differ_are_told(database, changes, tmp_path):
    machines = [
        Porter(database=database, secrets=tmp_path / "s", clock=lambda skew=skew: time.time() + skew)
        for skew in (0, 600, -600, 86_400, -240)
    ]
    await changes.poll()
    told = []
    for number, machine in enumerate(machines):
        steps = machine.install("shop", f"db{number}", OUTPUTS).until("running")
        told.append(await changes.poll())
        steps.until("result")
        told.append(await changes.poll())
        steps.finish()
        told.append(await changes.poll())
    expected = [{InstallationKey("shop", f"db{number}")} for number in range(5)]
    assert told == [one for key in expected for one in (key, key, frozenset())]


@pytest.mark.fault(20)
async def test_a_run_that_failed_is_news(changes, porter):
    porter.install("shop", "db").finish()
    await changes.poll()
    run = porter.upgrade("shop", "db", status="failed").finish()
    assert await changes.poll() == {DB}
    assert ulid_seconds(run.result_id) <= time.time()


@pytest.mark.fault(2)
@pytest.mark.parametrize("disconnect", [False, True])
async def test_a_poll_that_was_refused_or_cut_loses_nothing(changes, porter, mongo_server, disconnect):
    await changes.poll()
    porter.install("shop", "db").finish()
    with mongo_server.failing("find", disconnect=disconnect), pytest.raises(SourceUnavailable):
        await changes.poll()
    assert await changes.poll() == {DB}
