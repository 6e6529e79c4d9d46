"""Answers that no Vault gives, or gives at another time: none is taken for absence, emptiness or success.

Something in between, or a race, is imitated by a proxy before a real OpenBao that rewrites single answers.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest

from backends.contract import Absent, Unchanged
from backends.errors import OutcomeUnknown, SinkUnavailable, TargetUnavailable, Throttled
from backends.testing import CANARY
from backends.vault.sink import VaultSink
from tests.contract.vault_rows import OWNER, Place, desired, listed, look, refused
from tests.servers.http_proxy import HttpProxy, Reply, answer, before, on, rewrite_reply


@pytest.fixture(scope="module")
def proxy(bao_server) -> Iterator[HttpProxy]:
    started = HttpProxy.start(bao_server.url, bao_server.ca_file)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def mounts(bao_server) -> dict[int, str]:
    return {1: bao_server.mount(1), 2: bao_server.mount(2)}


@pytest.fixture(params=[1, 2], ids=["version 1", "version 2"])
def place(request, bao_server, mounts) -> Place:
    return Place(bao_server, mounts[request.param], version=request.param)


@pytest.fixture
def place_2(bao_server, mounts) -> Place:
    return Place(bao_server, mounts[2])


async def opened(proxy: HttpProxy, place: Place) -> AsyncIterator[VaultSink]:
    async with place.sink(address=proxy.url, caFile=str(proxy.ca_file)) as sink:
        await sink.put(desired(place, "first"), Absent())
        yield sink
    proxy.rules.clear()


@pytest.fixture
async def sink(proxy, place) -> AsyncIterator[VaultSink]:
    async for one in opened(proxy, place):
        yield one


@pytest.fixture
async def sink_2(proxy, place_2) -> AsyncIterator[VaultSink]:
    async for one in opened(proxy, place_2):
        yield one


def changed(change: Callable[[dict[str, Any]], Mapping[str, Any]]):
    """Rewrites the `data` of an answer."""

    def act(reply: Reply) -> Reply:
        body = json.loads(reply.body)
        return Reply.of(reply.status, body | {"data": change(body["data"])}, {})

    return rewrite_reply(act)


def still_there(place: Place) -> bool:
    area = "data/" if place.version == 2 else ""
    found = place.bao.read(f"{place.mount}/{area}{place.address('first')}") or {}
    return (found["data"] if place.version == 2 else found) == {"password": CANARY.decode()}


# --- statuses


@pytest.mark.fault(39, 46)
@pytest.mark.parametrize("status", [472, 473, 503, 307, 302])
async def test_a_standby_is_unavailable_and_nothing_is_empty(proxy, place, sink, status):
    seen = await look(sink, place, "first")
    proxy.rules.add(on(path=f"/v1/{place.mount}/"), answer(status, {"errors": []}))
    for act in (
        lambda: sink.observe(OWNER, [place.address()]),
        lambda: listed(sink),
        lambda: sink.put(desired(place), Absent()),
        lambda: sink.remove(seen),
    ):
        with refused(SinkUnavailable):
            await act()
    assert still_there(place)


async def test_a_quota_passes_on_how_long_to_wait(proxy, place, sink):
    proxy.rules.add(on(path=f"/v1/{place.mount}/"), answer(429, {"errors": ["quota"]}, {"Retry-After": "7"}))
    with refused(Throttled) as caught:
        await look(sink, place, "first")
    assert caught.value.retry_after == 7.0


STRANGERS = [
    (404, b"<html>not here</html>"),
    (404, b""),
    (404, {"kind": "Status", "reason": "NotFound"}),
    (404, {"message": "no Route matched"}),
    (200, b"<html>log in first</html>"),
    (200, b"[]"),
    (500, b"<html>"),
    (502, b""),
]


@pytest.mark.parametrize(("status", "body"), STRANGERS)
async def test_an_answer_of_something_in_between_is_not_absence(proxy, place, sink, status, body):
    seen = await look(sink, place, "first")
    proxy.rules.add(on(path=f"/v1/{place.mount}/"), answer(status, body))
    for act in (
        lambda: sink.observe(OWNER, [place.address("first")]),
        lambda: listed(sink),
        lambda: sink.remove(seen),
    ):
        with refused(SinkUnavailable):
            await act()
    assert still_there(place)


@pytest.mark.parametrize(("status", "body"), STRANGERS)
async def test_a_write_that_something_in_between_answers_is_no_success(proxy, place, sink, status, body):
    seen = await look(sink, place, "first")
    proxy.rules.add(on("POST", "PATCH", path=f"/v1/{place.mount}/"), answer(status, body))
    with refused(OutcomeUnknown):
        await sink.put(desired(place, "first", {"password": b"2"}, revision="2"), Unchanged(seen.version))
    assert still_there(place)


# --- answers that lack what they should have


@pytest.mark.parametrize("keys", [None, "first", {"first": 1}])
async def test_a_list_without_names_is_no_empty_list(proxy, place, sink, keys):
    proxy.rules.add(on("LIST"), changed(lambda _: {"keys": keys}))
    with refused(SinkUnavailable):
        await listed(sink)


@pytest.mark.parametrize("info", [{}, None, [], {"first": None}])
async def test_a_list_whose_metadata_are_missing_is_read_singly_and_not_cut(proxy, place_2, sink_2, info):
    proxy.rules.add(on("LIST", path="/detailed-metadata/"), changed(lambda data: data | {"key_info": info}))
    assert set(await listed(sink_2)) == {place_2.address("first")}


@pytest.mark.parametrize("data", [{}, {"versions": {}}, {"current_version": 1}])
async def test_metadata_without_versions_are_unavailable(proxy, place_2, sink_2, data):
    proxy.rules.add(on("GET", path="/metadata/"), changed(lambda _: data))
    with refused(SinkUnavailable):
        await look(sink_2, place_2, "first")


async def test_data_of_another_kind_are_unavailable(proxy, place_2, sink_2):
    proxy.rules.add(on("GET", path="/data/"), changed(lambda data: data | {"data": ["x"]}))
    with refused(SinkUnavailable):
        await look(sink_2, place_2, "first")


async def test_a_version_that_is_deleted_between_two_looks_is_seen_without_bytes(proxy, place_2, sink_2):
    proxy.rules.add(
        on("GET", path="/data/"), before(lambda _: place_2.bury("delete", 1, name="first")), times=1
    )
    assert (await look(sink_2, place_2, "first")).data == {}
    assert not (await look(sink_2, place_2, "first")).intact


async def test_a_secret_that_vanishes_during_a_list_is_left_out(proxy, place_2, sink_2):
    await sink_2.put(desired(place_2, "second"), Absent())
    gone = before(lambda _: place_2.bao.delete(f"{place_2.mount}/metadata/{place_2.address('second')}"))
    sink_2._engine._lists_metadata = False
    proxy.rules.add(on("GET", path="/second$"), gone, times=1)
    assert set(await listed(sink_2)) == {place_2.address("first")}


async def test_a_write_whose_version_is_not_answered_has_an_unknown_outcome(proxy, place_2, sink_2):
    proxy.rules.add(on("POST", path="/data/"), changed(lambda _: {}), times=1)
    with refused(OutcomeUnknown):
        await sink_2.put(desired(place_2), Absent())
    assert place_2.unmarked() == []
    await sink_2.put(desired(place_2), Unchanged((await look(sink_2, place_2)).version))
    assert place_2.proven() == {1}


async def test_metadata_that_vanish_during_a_removal_are_removed(proxy, place_2, sink_2):
    seen = await look(sink_2, place_2, "first")
    path = f"{place_2.mount}/metadata/{place_2.address('first')}"

    def destroyed_then_gone(*_: object) -> None:
        place_2.bao.delete(path)

    counted = iter(range(1, 10))
    second = on("GET", path="/metadata/")
    proxy.rules.add(
        lambda m, p, n: second(m, p, n) and next(counted) == 2, before(destroyed_then_gone), times=1
    )
    await sink_2.remove(seen)
    assert place_2.metadata("first") is None


@pytest.mark.parametrize("data", [{}, {"type": None}, {"options": "2"}])
async def test_a_mount_of_which_nothing_is_told_is_unavailable(proxy, place, sink, data):
    proxy.rules.add(on(path="/sys/internal/"), changed(lambda _: data))
    with refused(SinkUnavailable):
        await listed(sink)
    with refused(SinkUnavailable):
        await sink.observe(OWNER, [place.address("gone")])


@pytest.mark.fault(45)
async def test_a_mount_whose_version_changed_is_told_before_anything_counts_as_absent(proxy, place, sink):
    other = {"version": "1" if place.version == 2 else "2"}
    proxy.rules.add(on(path="/sys/internal/"), changed(lambda data: data | {"options": other}))
    for act in (lambda: listed(sink), lambda: sink.observe(OWNER, [place.address("gone")])):
        with refused(TargetUnavailable) as caught:
            await act()
        assert "was replaced by one of another version" in caught.value.reason


@pytest.mark.fault(45)
async def test_a_mount_that_is_replaced_during_a_list_makes_it_no_complete_one(proxy, place, sink):
    other = {"version": "1" if place.version == 2 else "2"}
    looks = iter(range(10))
    proxy.rules.add(
        lambda _, path, __: "/sys/internal/" in path and next(looks) >= 1,
        changed(lambda data: data | {"options": other}),
    )
    with refused(TargetUnavailable):
        await listed(sink)
