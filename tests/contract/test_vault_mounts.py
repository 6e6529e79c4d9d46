"""The server and the mount around the secrets: sealed, gone, replaced, of another version, with settings of
its own; namespaces; many secrets. On a real OpenBao, one of its own for what other tests would notice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from backends.contract import Absent, TakeOver, Unchanged
from backends.errors import (
    AuthenticationFailed,
    ForeignSecret,
    OutcomeUnknown,
    PreconditionFailed,
    Refused,
    SinkUnavailable,
    TargetUnavailable,
)
from backends.secret_value import SecretValue
from backends.testing import CANARY
from backends.vault.sink import VaultSink
from tests.contract.vault_rows import MARK, OWNER, Place, desired, listed, look, refused
from tests.contract.vault_world import shipped_policy


@pytest.fixture
def place(bao_server) -> Place:
    return Place(bao_server, bao_server.mount(2))


@pytest.fixture
async def sink(place) -> AsyncIterator[VaultSink]:
    async with place.sink() as opened:
        yield opened


async def update(sink: VaultSink, place: Place, content: bytes) -> None:
    await sink.put(desired(place, data={"password": content}), Unchanged((await look(sink, place)).version))


# --- the server


@pytest.mark.fault(39)
async def test_a_sealed_server_is_unavailable_and_never_empty_and_then_all_is_there(place, sink):
    version = await sink.put(desired(place), Absent())
    seen = await look(sink, place)
    with place.bao.sealed():
        for act in (
            lambda: sink.observe(OWNER, [place.address()]),
            lambda: listed(sink),
            lambda: sink.put(desired(place, data={"password": b"2"}), Unchanged(version)),
            lambda: sink.put(desired(place, "new"), Absent()),
            lambda: sink.remove(seen),
            sink.check,
        ):
            with refused(SinkUnavailable) as caught:
                await act()
            assert "the server is sealed" in caught.value.reason
    assert set(await listed(sink)) == {place.address()}
    await sink.put(desired(place, data={"password": b"2"}), Unchanged(version))
    assert place.metadata("new") is None


@pytest.mark.fault(39)
async def test_a_sealed_server_cannot_be_opened_and_can_be_later(place):
    options = place.options()
    with place.bao.sealed(), refused(SinkUnavailable):
        await VaultSink(options).__aenter__()
    async with VaultSink(options) as sink:
        await sink.put(desired(place), Absent())


@pytest.mark.fault(56)
async def test_a_server_that_answers_nothing_is_waited_for_no_longer_than_is_said(place):
    async with place.sink(requestTimeout=0.5) as sink:
        version = await sink.put(desired(place), Absent())
        seen = await look(sink, place)
        before = time.monotonic()
        with place.bao.paused():
            for act in (lambda: sink.observe(OWNER, [place.address()]), lambda: sink.remove(seen)):
                with refused(SinkUnavailable):
                    await act()
        assert time.monotonic() - before < 5
    async with place.sink() as sink:
        await sink.put(desired(place, data={"password": b"2"}), Unchanged(version))


@pytest.mark.fault(56)
async def test_a_write_that_is_given_up_and_done_all_the_same_overwrites_nothing_later(place):
    token = place.bao.token(shipped_policy(place.mount, place.path))
    async with place.sink(token, requestTimeout=0.5) as hasty:
        await hasty.put(desired(place), Absent())
        seen = await look(hasty, place)
        with place.bao.paused():
            task = asyncio.ensure_future(hasty._client.write(f"{place.mount}/data/{place.address()}", {
                "data": {"password": "late"}, "options": {"cas": 1}}))  # fmt: skip
            with refused(OutcomeUnknown):
                await task
        # NB: the server may or may not have read it before the connection ended
        await _settled(place)
        async with place.sink() as sink:
            current = await look(sink, place)
            await sink.put(desired(place, data={"password": b"2"}), Unchanged(current.version))
        with refused(PreconditionFailed):
            await hasty.put(desired(place, data={"password": b"3"}), Unchanged(seen.version))
    assert place.fields() == {"password": "2"}


async def _settled(place: Place) -> None:
    assert place.bao.health() == 200


@pytest.mark.fault(40)
async def test_a_static_token_that_is_revoked_is_told_as_such(place):
    token = place.bao.token(shipped_policy(place.mount, place.path))
    async with place.sink(token) as sink:
        version = await sink.put(desired(place), Absent())
        before = place.snapshot()
        place.bao.revoke(token)
        for act in (
            lambda: sink.put(desired(place, data={"password": b"2"}), Unchanged(version)),
            lambda: sink.observe(OWNER, [place.address()]),
            lambda: listed(sink),
        ):
            with refused(AuthenticationFailed) as caught:
                await act()
            assert token not in repr(caught.value)
    assert place.snapshot() == before


# --- the mount


@pytest.mark.fault(45)
async def test_a_mount_that_is_missing_or_no_kv_engine_cannot_be_opened(place):
    token = place.bao.root_token
    place.bao.write(f"sys/mounts/transit-{place.mount}", {"type": "transit"})
    for mount, word in (
        ("nowhere", "there is no mount nowhere"),
        (f"transit-{place.mount}", "is no KV engine but transit"),
    ):
        with refused(TargetUnavailable) as caught:
            await VaultSink(Place(place.bao, mount, place.path).options(token)).__aenter__()
        assert word in caught.value.reason


@pytest.mark.fault(45)
async def test_a_mount_that_goes_away_is_told_and_never_absent(place, sink):
    version = await sink.put(desired(place), Absent())
    seen = await look(sink, place)
    place.bao.unmount(place.mount)
    for act in (
        lambda: sink.observe(OWNER, [place.address()]),
        lambda: listed(sink),
        lambda: sink.put(desired(place), Unchanged(version)),
        lambda: sink.put(desired(place, "new"), Absent()),
        lambda: sink.remove(seen),
    ):
        with refused(TargetUnavailable):
            await act()


@pytest.mark.fault(45)
@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
async def test_a_mount_of_the_other_version_in_its_place_is_told_and_never_absent(bao_server, before, after):
    place = Place(bao_server, bao_server.mount(before), version=before)
    async with place.sink() as sink:
        await sink.put(desired(place), Absent())
        bao_server.unmount(place.mount)
        replacement = bao_server.mount(after)
        bao_server.write("sys/remount", {"from": replacement, "to": place.mount})
        until_moved(bao_server, place)
        for act in (lambda: sink.observe(OWNER, [place.address()]), lambda: listed(sink)):
            with refused(TargetUnavailable):
                await act()
    assert bao_server.list(f"{place.mount}/{'metadata/' if after == 2 else ''}") == []


def until_moved(bao_server, place: Place) -> None:
    deadline = time.monotonic() + 20
    while bao_server.send("GET", f"sys/internal/ui/mounts/{place.mount}").status != 200:
        assert time.monotonic() < deadline, "the engine never moved"


async def test_which_version_the_engine_has_is_found_out(bao_server):
    for version, lists_values in ((1, True), (2, False)):
        place = Place(bao_server, bao_server.mount(version), version=version)
        async with place.sink() as sink:
            assert sink.capabilities.lists_values is lists_values
            (found,) = await sink.check()
            assert found.subject == f"KV v{version} at {place.mount}"


# --- namespaces


async def test_in_a_namespace_everything_is_its_own(bao_server):
    name = bao_server.namespace()
    inside = bao_server.admin.inside(name)
    inside.write("sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
    inside.policy("syncer", shipped_policy("kv", "porter"))
    made = inside.request("POST", "auth/token/create-orphan", {"policies": ["syncer"], "ttl": "1h"})
    place = Place(bao_server, "kv", "porter")
    async with place.sink(made.body["auth"]["client_token"], namespace=name) as sink:
        await sink.put(desired(place), Absent())
        assert set(await listed(sink)) == {"porter/orders"}
        assert (await look(sink, place)).intact
        await sink.check()
    found = inside.read("kv/data/porter/orders")
    assert found is not None
    assert found["data"] == {"password": CANARY.decode()}


# --- settings of the engine


async def test_where_versions_are_pruned_the_mark_names_those_that_are_there(bao_server):
    place = Place(bao_server, bao_server.mount(2, max_versions=3))
    async with place.sink() as sink:
        await sink.put(desired(place), Absent())
        for number in range(2, 9):
            await update(sink, place, b"%d" % number)
            assert (await look(sink, place)).intact
        there = {int(number) for number in (place.metadata() or {})["versions"]}
        assert there == {6, 7, 8}
        assert there <= place.proven() <= there | {5}
        await sink.remove(await look(sink, place))
    assert place.metadata() is None


async def test_where_versions_expire_an_expired_one_is_written_again(bao_server):
    place = Place(bao_server, bao_server.mount(2, delete_version_after="1s"))
    async with place.sink() as sink:
        await sink.put(desired(place), Absent())
        deadline = time.monotonic() + 20
        while (seen := await look(sink, place)).intact and time.monotonic() < deadline:
            assert seen.ours
        assert (seen.ours, seen.data) == (True, {})
        await sink.put(desired(place), Unchanged(seen.version))
        assert place.fields() == {"password": CANARY.decode()}


async def test_where_a_check_and_set_is_required_metadata_and_data_have_one(bao_server):
    place = Place(bao_server, bao_server.mount(2, cas_required=True, metadata_cas_required=True))
    async with place.sink() as sink:
        await sink.put(desired(place), Absent())
        await update(sink, place, b"2")
        await sink.remove(await look(sink, place))
    assert place.metadata() is None


async def test_where_a_check_and_set_is_required_adoption_and_its_end_have_one(bao_server):
    place = Place(bao_server, bao_server.mount(2, cas_required=True, metadata_cas_required=True))
    theirs = {"data": {"k": "theirs-canary"}, "options": {"cas": 0}}
    bao_server.write(f"{place.mount}/data/{place.address()}", theirs)
    async with place.sink() as sink:
        await sink.put(desired(place), TakeOver((await look(sink, place)).version))
        assert (await look(sink, place)).intact
        await sink.remove(await look(sink, place))
    assert (place.fields(version=1), place.fields(version=2), place.marked()) == (
        {"k": "theirs-canary"},
        None,
        False,
    )


# --- many


async def test_an_inventory_goes_through_pages_and_folders_and_other_peoples_names(place):
    odd = [
        "a b",
        "a#c",
        "a%41",
        "a&b",
        "a+b",
        "a?x",
        "é",
        "..a",
        "a&1",
        "a&2",
        "a&3",
        "a&4",
        "a&b/x",
        "a?x/y",
        "a#/z",
    ]
    async with place.sink(page_size=2) as sink:
        for name in odd:
            if ".." not in name:
                place.write({"k": "theirs-canary"}, name)
        names = [f"orders-{number}" for number in range(5)] + [
            "orders",
            "orders/a",
            "orders/b/c",
            "a",
            "a/b",
            "zz/a",
            "zz",
        ]
        for name in names:
            await sink.put(desired(place, name), Absent())
        assert set(await listed(sink)) == {place.address(name) for name in names}
        sink._engine._lists_metadata = False
        assert set(await listed(sink)) == {place.address(name) for name in names}


async def test_an_inventory_over_many_foreign_secrets_reads_no_value_and_takes_few_requests(place, sink):
    for number in range(200):
        place.write({"k": "theirs-canary"}, f"foreign-{number:03}")
    for number in range(3):
        await sink.put(desired(place, f"orders-{number}"), Absent())
    position = place.bao.audit.position()
    assert len(await listed(sink)) == 3
    asked = place.bao.audit.requests(since=position, prefix=f"{place.mount}/")
    assert [one.operation for one in asked] == ["list"]


async def test_creating_takes_three_requests_and_what_is_in_sync_none_for_values(place, sink):
    await sink.put(desired(place, "first"), Absent())
    position = place.bao.audit.position()
    await sink.put(desired(place), Absent())
    asked = place.bao.audit.requests(since=position, prefix=f"{place.mount}/")
    assert [one.path.split("/")[1] for one in asked] == ["metadata", "data", "metadata"]


# --- version 1


@pytest.fixture
def place_1(bao_server) -> Place:
    return Place(bao_server, bao_server.mount(1), version=1)


async def test_with_version_1_consumers_see_the_fields_and_nothing_else(place_1):
    async with place_1.sink() as sink:
        await sink.put(desired(place_1, data={"password": CANARY, "key": b"\xff"}), Absent())
        assert place_1.bao.read(f"{place_1.mount}/{place_1.address()}") == {
            "password": CANARY.decode(),
            "key": "/w==",
        }
        assert place_1.bao.list(f"{place_1.mount}/{place_1.path}") == [".syncer/", "orders"]
        await sink.remove(await look(sink, place_1))
        assert place_1.bao.list(f"{place_1.mount}/{place_1.path}") == []


async def test_with_version_1_drift_is_seen_by_value_and_repaired(place_1):
    async with place_1.sink() as sink:
        await sink.put(desired(place_1), Absent())
        place_1.bao.write(f"{place_1.mount}/{place_1.address()}", {"password": "drifted"})
        seen = (await listed(sink))[place_1.address()]
        assert seen.data == {"password": SecretValue(b"drifted")}
        await sink.put(desired(place_1), Unchanged(seen.version))
        assert place_1.bao.read(f"{place_1.mount}/{place_1.address()}") == {"password": CANARY.decode()}


async def test_with_version_1_a_forged_sidecar_makes_nothing_ours(place_1):
    sidecar = f"{place_1.mount}/{place_1.path}/.syncer/orders"
    async with place_1.sink() as sink:
        await sink.put(desired(place_1), Absent())
        mark = place_1.bao.read(sidecar) or {}
        place_1.bao.write(f"{place_1.mount}/{place_1.address('copy')}", {"password": "theirs-canary"})
        place_1.bao.write(f"{place_1.mount}/{place_1.path}/.syncer/copy", mark)
        seen = await look(sink, place_1, "copy")
        assert "names another address" in (seen.foreign or "")
        for act in (
            lambda: sink.put(desired(place_1, "copy"), Unchanged(seen.version)),
            lambda: sink.remove(seen),
        ):
            with refused(ForeignSecret):
                await act()
        assert set(await listed(sink)) == {place_1.address()}


async def test_with_version_1_odd_names_beside_the_sidecars_end_no_inventory(place_1):
    async with place_1.sink() as sink:
        await sink.put(desired(place_1, "folder/orders"), Absent())
        for name in ("a b", "a?b", ".hidden", "é/x", "#/y"):
            place_1.bao.write(f"{place_1.mount}/{place_1.path}/.syncer/{name}", {"k": "theirs-canary"})
        assert set(await listed(sink)) == {place_1.address("folder/orders")}


@pytest.mark.parametrize("depth", [900, 960, 5_000])
async def test_with_version_1_lists_in_lists_are_drift_and_repaired(place_1, depth):
    async with place_1.sink() as sink:
        await sink.put(desired(place_1), Absent())
        place_1.bao.admin.session.post(
            f"{place_1.bao.url}/v1/{place_1.mount}/{place_1.address()}",
            data='{"password": ' + "[" * depth + "]" * depth + "}",
            headers={"X-Vault-Token": place_1.bao.root_token},
            timeout=30,
        ).raise_for_status()
        seen = (await listed(sink))[place_1.address()]
        assert seen.data != {"password": SecretValue(CANARY)}
        await sink.put(desired(place_1), Unchanged(seen.version))
        assert place_1.bao.read(f"{place_1.mount}/{place_1.address()}") == {"password": CANARY.decode()}


async def test_with_version_1_data_without_a_sidecar_are_foreign(place_1):
    async with place_1.sink() as sink:
        place_1.bao.write(f"{place_1.mount}/{place_1.address()}", {"password": "theirs-canary"})
        seen = await look(sink, place_1)
        assert (seen.foreign, seen.data) == ("no mark", None)
        for act in (lambda: sink.put(desired(place_1), Absent()), lambda: sink.remove(seen)):
            with refused(ForeignSecret):
                await act()
        assert place_1.bao.read(f"{place_1.mount}/{place_1.address()}") == {"password": "theirs-canary"}
        assert MARK not in str(place_1.bao.list(f"{place_1.mount}/{place_1.path}"))


async def test_a_bundle_over_the_limit_is_refused_before_anything_is_sent(place, sink):
    position = place.bao.audit.position()
    with refused(Refused, *Refused.__subclasses__()):
        await sink.put(desired(place, data={"a": b"x" * 600_000, "b": b"x" * 600_000}), Absent())
    assert place.bao.audit.requests(since=position, prefix=place.mount) == ()
