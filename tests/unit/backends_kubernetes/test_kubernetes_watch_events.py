"""What the lines of a watch mean, how failures are waited out, and what a slow reader is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.clients.kubernetes_errors import Call
from backends.clients.kubernetes_watch import Began, Bookmark, Happened, Pace, Troubles, read_event
from backends.contract import Seen, Version
from backends.errors import AuthenticationFailed, Forbidden, SinkError, SinkUnavailable, Throttled
from backends.kubernetes_secret import watching as module
from backends.kubernetes_secret.watching import Untold, watching

CALL = Call("GET", "/api/v1/secrets")
METADATA = {"namespace": "shop", "name": "orders", "uid": "u", "resourceVersion": "8"}
EVERYTHING = Seen(address=None)
DENIED, DOWN = Forbidden("denied"), SinkUnavailable("down")


def event(kind: str, **metadata: object) -> dict:
    return {"type": kind, "object": {"kind": "PartialObjectMetadata", "metadata": METADATA | metadata}}


# --- lines


@pytest.mark.parametrize(("kind", "gone"), [("ADDED", False), ("MODIFIED", False), ("DELETED", True)])
def test_an_event_keeps_what_names_the_object_and_nothing_else(kind, gone):
    quoted = {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "canary"}}
    assert read_event(CALL, event(kind, **quoted)) == Happened(metadata=METADATA, gone=gone)


def test_a_bookmark_is_where_to_go_on():
    assert read_event(CALL, event("BOOKMARK", uid=None)) == Bookmark("8")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ({"code": 410, "reason": "Expired"}, SinkUnavailable),
        ({"code": 429}, Throttled),
        ({"code": 403}, Forbidden),
        ({"code": 401}, AuthenticationFailed),
        ({"code": 500, "message": "canary"}, SinkUnavailable),
        ({"code": "410"}, SinkUnavailable),
        ({}, SinkUnavailable),
    ],
)
def test_an_error_among_the_events_is_that_error(status, kind):
    with pytest.raises(SinkError) as caught:
        read_event(CALL, {"type": "ERROR", "object": {"kind": "Status", **status}})
    assert type(caught.value) is kind
    assert "canary" not in caught.value.reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
KINDS = st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]) | JSON
FIELDS = st.sampled_from([*METADATA, "code", "kind", "metadata"])
OBJECTS = st.dictionaries(FIELDS, JSON) | st.fixed_dictionaries({"metadata": st.dictionaries(FIELDS, JSON)})


@given(st.dictionaries(st.text(), JSON) | st.fixed_dictionaries({"type": KINDS, "object": OBJECTS | JSON}))
def test_whatever_a_line_says_it_is_an_event_or_an_error_of_a_sink(line):
    try:
        found = read_event(CALL, line)
    except SinkError:
        return
    assert found.version
    assert isinstance(found.version, str)


# --- failures


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def troubles(clock: Clock, random: float = 0.0) -> Troubles:
    return Troubles(Pace(clock=clock, random=lambda: random))


def test_pauses_lie_between_half_a_second_and_half_a_minute(clock):
    shortest, longest = troubles(clock, random=1.0), troubles(clock)
    assert [shortest.pause(DOWN) for _ in range(7)] == [0.5, 1, 2, 4, 8, 15, 15]
    assert [longest.pause(DOWN) for _ in range(2000)][-1] == 30


def test_watches_do_not_end_at_the_same_time():
    assert {Pace(random=lambda part=part: part / 10).seconds() for part in range(11)} >= {45, 50, 60}
    assert {Pace(lasting=0.1, random=lambda: 1.0).seconds()} == {1}


def test_after_going_well_for_long_enough_pauses_begin_short_again(clock):
    found = troubles(clock)
    assert [found.pause(DOWN) for _ in range(3)] == [1, 2, 4]
    found.over()
    clock.now += 30
    assert found.pause(DOWN) == 8
    found.over()
    clock.now += 30.1
    assert found.pause(DOWN) == 1
    clock.now += 1000  # it did not go well
    assert found.pause(DOWN) == 2


@pytest.mark.parametrize("between", [lambda found: found.over(), lambda found: found.pause(DOWN)])
def test_a_missing_right_is_believed_when_nothing_else_came_in_between(clock, between):
    found = troubles(clock)
    found.pause(DENIED)
    clock.now += 14
    found.pause(DENIED)
    between(found)
    clock.now += 14
    found.pause(DENIED)
    clock.now += 15
    with pytest.raises(Forbidden):
        found.pause(DENIED)


# --- whoever reads slowly


def seen(number: int, version: int = 0) -> Seen:
    return Seen(address=f"shop/{number}", version=Version(str(version)))


def all_of(news: Untold) -> list[Seen]:
    return list(iter(news.take, None))


def test_of_each_address_the_last_is_told_in_the_order_they_came():
    news = Untold()
    for one in (seen(1), seen(2), seen(1, 1), Seen(address="shop/2"), seen(3)):
        news.add(one)
    assert all_of(news) == [seen(1, 1), Seen(address="shop/2"), seen(3)]
    assert all_of(news) == []


def test_what_came_before_everything_is_compared_need_not_be_told():
    news = Untold()
    for one in (seen(1), EVERYTHING, seen(2), EVERYTHING, seen(3)):
        news.add(one)
    assert all_of(news) == [EVERYTHING, seen(3)]


def test_too_many_become_everything(monkeypatch):
    monkeypatch.setattr(module, "_MOST_UNTOLD", 3)
    news = Untold()
    for number in (1, 2, 3, 1, 2, 3):
        news.add(seen(number))
    assert len(all_of(news)) == 3
    for number in range(1000):
        news.add(seen(number))
    found = all_of(news)
    assert (found[0], len(found) <= 3) == (EVERYTHING, True)


class Scripted:
    """A watch that says this, and then fails or goes on for ever."""

    def __init__(self, *events: Began | Happened, failure: Exception | None = None) -> None:
        self._events, self._failure = events, failure
        self.said, self.closed = asyncio.Event(), False

    async def events(self) -> AsyncIterator[Began | Happened]:
        try:
            for one in self._events:
                yield one
            self.said.set()
            if self._failure is not None:
                raise self._failure
            await asyncio.Event().wait()
        finally:
            self.closed = True


def happened(name: str, version: int) -> Happened:
    return Happened(metadata=METADATA | {"name": name, "resourceVersion": str(version)}, gone=False)


async def test_a_burst_is_read_while_nobody_listens_and_the_last_is_told():
    watch = Scripted(Began(), *(happened("orders", number) for number in range(10_000)))
    async with aclosing(watching([watch])) as changes:
        assert await anext(changes) == EVERYTHING
        await watch.said.wait()
        assert await anext(changes) == Seen(address="shop/orders", version=Version("u/9999"))
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert watch.closed


async def test_one_watch_that_fails_ends_all_after_what_was_seen():
    working, failing = Scripted(Began(), happened("a", 1)), Scripted(happened("b", 2), failure=DENIED)
    changes = watching([working, failing])
    assert [(await anext(changes)).address for _ in range(3)] == [None, "shop/a", "shop/b"]
    with pytest.raises(Forbidden):
        await anext(changes)
    assert working.closed
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_failure_that_was_not_foreseen_is_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        await anext(watching([Scripted(failure=ZeroDivisionError())]))


async def test_closing_ends_the_watches_at_once():
    watch = Scripted(Began(), happened("a", 1))
    changes = watching([watch])
    await anext(changes)
    await changes.aclose()
    assert watch.closed
    assert asyncio.all_tasks() == {asyncio.current_task()}
