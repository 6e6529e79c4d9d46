"""Every result is told once it is there, whichever clock made its id, and a stream that breaks is begun again.

Simulates Porter's database in memory, time, and streams of changes by hand. Excludes servers
(functional/test_mongodb_changes).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from porter_world import DB, NOW, Secrets, World, ulid

from syncer.core.errors import SourceError, SourceRefused, SourceUnavailable
from syncer.core.model import InstallationKey
from syncer.sources.porter import store as ask
from syncer.sources.porter.changes import LONGEST_PAUSE, OVERLAP, PorterChanges, _first_id
from syncer.sources.porter.dump import DumpStore
from syncer.sources.porter.source import PorterSource
from syncer.sources.porter.store import Document, Query

APP = InstallationKey("", "app")
DAY = 86_400.0


class Database(World):
    """Results that come in over time, queries that fail when told to, and streams that tell what they are told."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        """What our clock shows."""
        self.jumped = 0.0
        """By how much our clock was set forward."""
        self.fails = False
        self.returned = 0
        self.streams: dict[str, asyncio.Queue[Document | Exception | None]] = defaultdict(asyncio.Queue)
        """What each collection's stream tells next; None: the store cannot tell."""
        self.opened: list[str] = []
        self.pauses: list[float] = []
        self._inserted = 0

    def insert(self, key: InstallationKey = DB, *, skew: float = 0.0, **bent: object) -> str:
        """A result whose id was made by a clock that is ahead of ours by `skew`."""
        self._inserted += 1
        result_id = ulid(self._inserted, seconds=self.now - self.jumped + skew)
        document = {
            "_id": result_id,
            "namespace": key.namespace,
            "installation": key.name,
            "status": "running",
            "outputs": None,
        }
        self.documents["results"].append(document | bent)
        return result_id

    async def find(self, query: Query) -> Sequence[Document]:
        if self.fails:
            raise SourceUnavailable("down")
        found = [
            document
            for document in await super().find(query)
            if all(
                type(document[name]) is str and document[name] > text for name, text in query.after.items()
            )
        ]
        if query.newest:
            return sorted(found, key=lambda document: document["_id"])[-1:]
        self.returned += len(found)
        return found

    async def watch(self, collection: str, fields: tuple[str, ...], /) -> AsyncIterator[Document]:
        self.opened.append(collection)
        while (told := await self.streams[collection].get()) is not None:
            if isinstance(told, Exception):
                raise told
            assert set(told) <= set(fields)
            yield told

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    def changes(self, **options: float) -> PorterChanges:
        return PorterChanges(
            self,
            clock=lambda: self.now,
            monotonic=lambda: self.now - self.jumped - NOW,
            sleep=self.sleep,
            **options,
        )


@pytest.fixture
def database() -> Database:
    return Database()


# --- polls -----------------------------------------------------------------------------------


@pytest.mark.parametrize("behind", [DAY, 400 * DAY])
async def test_of_a_database_whose_clock_is_behind_or_that_was_idle_what_is_new_is_told(database, behind):
    """A dump of another day, put in the place of an earlier one, is the same."""
    database.insert(skew=-behind)
    changes = database.changes()
    assert await changes.poll() == frozenset()
    database.insert(APP, skew=60.0 - behind)
    assert await changes.poll() == {APP}
    assert await changes.poll() == frozenset()


async def test_the_first_poll_only_learns_and_each_result_is_told_once(database):
    changes = database.changes()
    database.insert()
    assert await changes.poll() == frozenset()
    database.insert(APP)
    assert await changes.poll() == {APP}
    assert await changes.poll() == frozenset()


@pytest.mark.parametrize("status", ["running", "succeeded", "failed", "canceled", "unknown"])
async def test_a_result_is_news_whatever_its_status(database, status):
    changes = database.changes()
    await changes.poll()
    database.insert(status=status)
    assert await changes.poll() == {DB}


STEPS = st.one_of(
    st.tuples(st.just("insert"), st.integers(0, 3), st.floats(-OVERLAP + 0.01, 2 * DAY)),
    st.tuples(st.just("wait"), st.just(0), st.floats(0, 2 * OVERLAP)),
    st.tuples(st.sampled_from(["poll", "poll", "fail"]), st.just(0), st.just(0.0)),
)


@given(
    older=st.lists(st.floats(-2 * OVERLAP, DAY), max_size=3),
    steps=st.lists(STEPS, max_size=30),
)
async def test_whenever_polls_fail_and_however_clocks_differ_each_result_is_told(older, steps):
    database = Database()
    changes = database.changes()
    for skew in older:
        database.insert(InstallationKey("", "older"), skew=skew)
    begun, due = False, set()
    for step, number, amount in steps:
        match step:
            case "insert":
                key = InstallationKey("shop", f"db{number}")
                database.insert(key, skew=amount)
                due |= {key} if begun else set()
            case "wait":
                database.now += amount
            case _:
                database.fails, begun = step == "fail", True
                try:
                    due -= await changes.poll()
                    assert not due
                except SourceUnavailable:
                    assert database.fails
    database.fails = False
    assert due <= await changes.poll()
    await changes.poll()
    for wait in (0.0, 2.0, OVERLAP, DAY):
        database.now += wait
        assert await changes.poll() == frozenset()


async def test_what_a_poll_that_failed_would_have_told_is_told_by_the_next_even_hours_later(database):
    changes = database.changes()
    await changes.poll()
    database.insert()
    database.fails = True
    for _ in range(10):
        database.now += OVERLAP
        with pytest.raises(SourceUnavailable):
            await changes.poll()
    database.fails = False
    assert await changes.poll() == {DB}


async def test_what_is_written_after_a_first_poll_that_failed_is_told(database):
    changes = database.changes()
    database.fails = True
    with pytest.raises(SourceUnavailable):
        await changes.poll()
    database.now += DAY
    database.fails = False
    database.insert(skew=-OVERLAP / 2)
    assert await changes.poll() == {DB}


@pytest.mark.fault(18)
async def test_an_id_from_the_future_hides_nothing_that_comes_later(database):
    changes = database.changes()
    await changes.poll()
    database.insert(APP, skew=30 * DAY)
    assert await changes.poll() == {APP}
    for _ in range(3):
        database.now += OVERLAP * 2
        database.insert()
        assert await changes.poll() == {DB}


@pytest.mark.fault(60)
async def test_a_clock_of_ours_that_jumps_ahead_hides_nothing(database):
    changes = database.changes()
    database.insert()
    await changes.poll()
    database.now += DAY
    database.jumped += DAY
    await changes.poll()
    database.insert(APP)
    assert await changes.poll() == {APP}


async def test_machines_may_differ_by_the_overlap_from_each_other_though_our_own_clock_is_ahead(database):
    changes = database.changes()
    behind_us = -OVERLAP + 60
    database.insert(skew=behind_us)
    await changes.poll()
    await changes.poll()
    database.insert(APP, skew=behind_us - OVERLAP / 2)
    assert await changes.poll() == {APP}


async def test_a_quiet_source_returns_nothing_once_the_window_is_past(database):
    changes = database.changes()
    for number in range(100):
        database.insert(InstallationKey("shop", f"db{number}"))
    await changes.poll()
    database.now += OVERLAP + 1
    await changes.poll()
    assert len(changes._told) == 0
    database.returned = 0
    for _ in range(50):
        database.now += 2
        await changes.poll()
    assert database.returned == 0


async def test_only_names_are_asked_for_by_the_index_on_the_id(database):
    changes = database.changes(overlap=60.0)
    await changes.poll()
    newest, query = database.queries
    assert (newest.collection, newest.fields, dict(newest.after)) == ("results", ("_id",), {"_id": ""})
    assert query.collection == "results"
    assert query.fields == ("_id", "namespace", "installation")
    assert dict(query.after) == {"_id": _first_id(NOW - 60)}
    assert query.keys is None
    assert not query.any_of


@pytest.mark.parametrize(
    "bent",
    [
        {"_id": "7zzz"},
        {"_id": "Z" * 26},
        {"_id": bson.ObjectId()},
        {"installation": 7},
        {"installation": ""},
        {"namespace": ["shop"]},
        {"namespace": None},
    ],
)
async def test_a_result_without_a_readable_id_or_name_is_left_to_the_full_pass(database, bent):
    changes = database.changes()
    await changes.poll()
    database.insert(**bent)
    database.insert(APP)
    assert await changes.poll() == {APP}
    assert await changes.poll() == frozenset()


@given(st.floats(0, 2.0**47 / 1000), st.integers(0, 2**80 - 1))
def test_the_first_id_of_a_moment_is_below_every_id_of_it_and_above_all_before(seconds, count):
    assert _first_id(seconds) < ulid(count, seconds=seconds)
    assert seconds < 1 or _first_id(seconds) > ulid(count, seconds=seconds - 0.1)
    assert _first_id(-5) == "0" * 10


# --- wakes -----------------------------------------------------------------------------------


class Woken:
    """What `wakes` yields, one by one."""

    def __init__(self, changes: PorterChanges) -> None:
        self._wakes = changes.wakes()

    async def next(self) -> frozenset[InstallationKey]:
        async with asyncio.timeout(5):
            return await anext(self._wakes)

    async def ended(self) -> bool:
        try:
            await self.next()
        except StopAsyncIteration:
            return True
        return False

    async def close(self) -> None:
        await self._wakes.aclose()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110  # each turn of the loop may be the one
            await asyncio.sleep(0)


@pytest.fixture
async def woken(database):
    woken = Woken(database.changes())
    yield woken
    await woken.close()


@pytest.mark.parametrize(
    ("collection", "document"),
    [
        ("installations", {"namespace": "shop", "name": "db"}),
        ("results", {"namespace": "shop", "installation": "db"}),
        ("outputs", {"namespace": "shop", "installation": "db"}),
    ],
)
async def test_a_write_wakes_with_the_installation_it_is_for(database, woken, collection, document):
    database.streams[collection].put_nowait(document)
    assert await woken.next() == {DB}


@pytest.mark.parametrize("document", [{}, {"namespace": "shop"}, {"namespace": 1, "installation": "db"}])
async def test_a_write_nobody_knows_whose_wakes_for_anything(database, woken, document):
    database.streams["results"].put_nowait(document)
    assert await woken.next() == frozenset()


async def test_many_writes_that_nobody_took_are_one_wake(database, woken):
    database.streams["results"].put_nowait({"namespace": "", "installation": "app"})
    assert await woken.next() == {APP}
    for number in range(1_000):
        database.streams["outputs"].put_nowait({"namespace": "shop", "installation": f"db{number % 3}"})
        database.streams["installations"].put_nowait({})
    await until(lambda: database.streams["outputs"].empty() and database.streams["installations"].empty())
    assert await woken.next() == {InstallationKey("shop", f"db{number}") for number in range(3)}
    assert await woken.next() == frozenset()
    database.streams["results"].put_nowait({"namespace": "", "installation": "app"})
    assert await woken.next() == {APP}


async def test_a_source_that_cannot_tell_ends_it_at_once(database, woken):
    for collection in ("installations", "results", "outputs"):
        database.streams[collection].put_nowait(None)
    assert await woken.ended()
    assert database.pauses == []


async def test_a_dump_cannot_tell(tmp_path):
    assert await Woken(PorterChanges(DumpStore(tmp_path))).ended()


@pytest.mark.fault(21)
@pytest.mark.parametrize("error", [SourceUnavailable("lost"), SourceRefused("not the primary")])
async def test_a_stream_that_is_lost_is_begun_again_and_counted(database, error):
    changes = database.changes()
    woken = Woken(changes)
    stream = database.streams["results"]
    stream.put_nowait(error)
    stream.put_nowait({})
    assert await woken.next() == frozenset()
    assert changes.restarts == 1
    assert sorted(database.opened) == ["installations", "outputs", "results", "results"]
    stream.put_nowait({"namespace": "shop", "installation": "db"})
    assert await woken.next() == {DB}
    await woken.close()


@pytest.mark.fault(21)
async def test_attempts_become_rarer_up_to_the_longest_pause_and_frequent_again_after_a_stream_that_lasted(
    database, woken
):
    stream = database.streams["results"]
    for _ in range(8):
        stream.put_nowait(SourceUnavailable("lost"))
    stream.put_nowait({})
    assert await woken.next() == frozenset()
    assert database.pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]
    database.now += LONGEST_PAUSE + 1
    stream.put_nowait(SourceUnavailable("lost"))
    stream.put_nowait({})
    assert await woken.next() == frozenset()
    assert database.pauses[8:] == [0.5]


async def test_one_who_is_not_interested_any_more_leaves_nothing_running(database):
    woken = Woken(database.changes())
    database.streams["results"].put_nowait({})
    await woken.next()
    before = len(asyncio.all_tasks())
    await woken.close()
    assert (before, len(asyncio.all_tasks())) == (5, 1)


async def test_one_who_is_cancelled_while_waiting_leaves_nothing_running(database):
    changes = database.changes()

    async def follow() -> None:
        async for _ in changes.wakes():
            pass

    task = asyncio.create_task(follow())
    await until(lambda: len(database.opened) == 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(asyncio.all_tasks()) == 1


async def test_a_mistake_of_ours_is_not_swallowed(database, woken):
    database.streams["results"].put_nowait(KeyError("mistake"))
    with pytest.raises(ExceptionGroup):
        await woken.next()


# --- the list ----------------------------------------------------------------------------------


def source(database: World) -> PorterSource:
    return PorterSource(database, Secrets(), clock=lambda: NOW)


async def stamp_of(database: World) -> str:
    (ref,) = await source(database).list()
    return ref.stamp


@pytest.mark.parametrize(
    "change",
    [
        {"id": ulid(77)},
        {"labels": {"team": "other"}},
        {"labels": {"team": "db", "more": ""}},
        {"labels": None},
        {"labels": ["team"]},
        {"status": {"resultId": ulid(78), "modified": "2026-11-24T00:10:00.1Z"}},
        {"status": {"resultId": "", "modified": "2026-11-24T00:10:00.2Z"}},
        {"status": {"modified": "2026-11-24T00:10:00.1Z"}},
        {"status": 7},
    ],
)
async def test_a_new_life_an_action_or_a_label_changes_the_stamp_of_the_list(change):
    database = World()
    document = database.installation()
    before = await stamp_of(database)
    assert await stamp_of(database) == before != ""
    document.update(change)
    assert await stamp_of(database) != before


async def test_nothing_else_changes_the_stamp():
    database = World()
    document = database.installation()
    before = await stamp_of(database)
    document.update(custom={"x": 1}, _id="other", bundle={"version": "2"})
    assert await stamp_of(database) == before


async def test_the_list_asks_for_nothing_big(database):
    database.installation()
    await source(database).list()
    (query,) = (query for query in database.queries if query.collection == "installations")
    assert set(query.fields) == {
        "_id",
        "namespace",
        "name",
        "id",
        "labels",
        "status.resultId",
        "status.modified",
    }


async def test_the_source_tells_what_is_new_in_its_own_store(database):
    changes = source(database).changes
    await changes.poll()
    database.insert()
    assert await changes.poll() == {DB}


# --- the dump --------------------------------------------------------------------------------


def write(path, *documents: Document) -> None:
    path.write_bytes(b"".join(map(bson.encode, documents)))


async def test_a_dump_answers_what_is_newer_and_decodes_nothing_else(tmp_path, monkeypatch):
    for collection in ask.COLLECTIONS:
        write(tmp_path / f"{collection}.bson")
    world = Database()
    ids = [world.insert() for _ in range(100)]
    world.insert(_id=bson.ObjectId())
    world.insert(_id=7)
    write(tmp_path / "results.bson", *world.documents["results"])
    store = DumpStore(tmp_path)
    query = ask.results_after(ids[-3])
    assert [one["_id"] for one in await store.find(query)] == ids[-2:]
    decoded = []
    decode = bson.decode
    monkeypatch.setattr(bson, "decode", lambda data, options: decoded.append(data) or decode(data, options))
    assert [one["_id"] for one in await store.find(query)] == ids[-2:]
    assert len(decoded) == 2
    assert await store.find(ask.results_after(ids[-1])) == []
    assert len(decoded) == 2


async def test_a_dump_compares_fields_that_are_not_indexed(tmp_path):
    for collection in ask.COLLECTIONS:
        write(tmp_path / f"{collection}.bson")
    write(
        tmp_path / "runs.bson",
        {"_id": "a", "action": "x"},
        {"_id": "b", "action": "y"},
        {"_id": "c", "action": 9},
    )
    query = Query(collection="runs", fields=("_id",), after={"action": "x"})
    assert await DumpStore(tmp_path).find(query) == [{"_id": "b"}]


async def test_a_new_dump_in_the_place_of_the_old_is_news(tmp_path):
    for collection in ask.COLLECTIONS:
        write(tmp_path / f"{collection}.bson")
    database = Database()
    changes = PorterChanges(DumpStore(tmp_path), clock=lambda: NOW)
    assert await changes.poll() == frozenset()
    database.insert()
    write(tmp_path / "results.bson", *database.documents["results"])
    assert await changes.poll() == {DB}
    (tmp_path / "results.bson").write_bytes(b"cut")
    with pytest.raises(SourceError):
        await changes.poll()
