"""Whose a secret of KV v2 is, whatever somebody else does to it: foreign ones, foreign versions, deleted ones.

On a real OpenBao, with a token that has the shipped policy. Mounts and servers that misbehave are in
`test_vault_mounts.py`, rights in `test_vault_rights.py`, lost answers in `test_vault_faults.py`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable

import pytest

from backends.contract import Absent, TakeOver, Unchanged
from backends.errors import ForeignSecret, PreconditionFailed, Refused
from backends.secret_value import SecretValue
from backends.testing import CANARY
from backends.vault.sink import VaultSink
from tests.contract.vault_rows import MARK, OWNER, Place, desired, listed, look, refused

THEIRS = {"password": "theirs-canary"}


@pytest.fixture(scope="module")
def mount(bao_server) -> str:
    return bao_server.mount(2)


@pytest.fixture
def place(bao_server, mount) -> Place:
    return Place(bao_server, mount)


@pytest.fixture
async def sink(place) -> AsyncIterator[VaultSink]:
    async with place.sink() as opened:
        # NB: a sink that has read metadata once knows what the server can, and asks less from then on.
        await opened.put(desired(place, "first"), Absent())
        yield opened


# --- foreign


def data_only(place: Place) -> None:
    place.write(THEIRS)


def described(place: Place) -> None:
    place.write(THEIRS)
    place.describe({"team": "theirs"})


def metadata_only(place: Place) -> None:
    place.describe({"team": "theirs"})


def settings_only(place: Place) -> None:
    place.bao.write(f"{place.mount}/metadata/{place.address()}", {"max_versions": 3})


def soft_deleted(place: Place) -> None:
    place.write(THEIRS)
    place.bury("delete", 1)


def destroyed(place: Place) -> None:
    place.write(THEIRS)
    place.bury("destroy", 1)


@pytest.mark.parametrize(
    "plant",
    [data_only, described, metadata_only, settings_only, soft_deleted, destroyed],
    ids=lambda f: f.__name__,
)
async def test_what_somebody_else_has_there_is_foreign_and_stays_as_it_is(
    place, sink, plant: Callable[[Place], None]
):
    plant(place)
    before = place.snapshot()
    seen = await look(sink, place)
    assert (seen.foreign, seen.data, seen.mark) == ("no mark", None, None)
    assert set(await listed(sink)) == {place.address("first")}
    with refused(ForeignSecret):
        await sink.put(desired(place), Unchanged(seen.version))
    with refused(ForeignSecret):
        await sink.remove(seen)
    assert place.snapshot() == before
    with refused(ForeignSecret, PreconditionFailed):
        await sink.put(desired(place), Absent())
    assert not place.marked()
    assert (place.metadata() or {})["versions"] == before[0]["versions"]
    assert place.fields() == before[1]


@pytest.mark.parametrize(
    "plant", [data_only, described, metadata_only, soft_deleted, destroyed], ids=lambda f: f.__name__
)
async def test_adoption_makes_it_ours_and_keeps_their_metadata(place, sink, plant):
    plant(place)
    theirs = place.custom()
    await sink.put(desired(place), TakeOver((await look(sink, place)).version))
    seen = await look(sink, place)
    assert (seen.ours, seen.intact, seen.data) == (True, True, {"password": SecretValue(CANARY)})
    assert theirs.items() <= place.custom().items()


async def test_what_was_adopted_and_removed_keeps_their_versions(place, sink):
    described(place)
    await sink.put(desired(place), TakeOver((await look(sink, place)).version))
    await sink.remove(await look(sink, place))
    assert place.fields(version=1) == THEIRS
    assert place.fields(version=2) is None
    assert place.custom() == {"team": "theirs"}
    assert place.address() not in await listed(sink)


async def test_a_copied_mark_makes_nothing_ours(place, sink):
    await sink.put(desired(place), Absent())
    place.write(THEIRS, "copy")
    place.describe(place.custom(), "copy")
    seen = await look(sink, place, "copy")
    assert seen.foreign == f"its mark names another address, '{place.address()}'"
    assert place.address("copy") not in await listed(sink)
    for act in (lambda: sink.put(desired(place, "copy"), Unchanged(seen.version)), lambda: sink.remove(seen)):
        with refused(ForeignSecret):
            await act()
    assert place.fields("copy") == THEIRS


async def test_a_forged_mark_of_another_instance_is_foreign(place, sink):
    await sink.put(desired(place), Absent())
    custom = place.custom()
    place.describe({**custom, f"{MARK}instance": "prod-2"})
    assert (await look(sink, place)).foreign == "marked by instance 'prod-2'"


async def test_hostile_entries_beside_our_mark_break_nothing(place, sink):
    await sink.put(desired(place), Absent())
    hostile = {f"{MARK}base64": "[" * 512, f"{MARK}versions": "1-999999999"}
    deep = {f"{MARK}base64-{number}": "[" * 512 for number in range(2, 20)}
    place.describe(place.custom() | hostile | deep)
    seen = await look(sink, place)
    assert (seen.ours, seen.data) == (True, {"password": SecretValue(CANARY)})
    await sink.put(desired(place), Unchanged(seen.version))
    assert f"{MARK}base64" not in place.custom()
    assert place.proven() == {1}


@pytest.mark.parametrize("depth", [800, 900, 960, 5_000])
async def test_a_foreign_version_of_lists_in_lists_breaks_nothing(place, sink, depth):
    await sink.put(desired(place), Absent())
    body = '{"data": {"password": ' + "[" * depth + "]" * depth + "}}"
    sent = place.bao.admin.session.post(
        f"{place.bao.url}/v1/{place.mount}/data/{place.address()}",
        data=body,
        headers={"X-Vault-Token": place.bao.root_token},
        timeout=30,
    )
    assert sent.status_code == 200
    assert not (await listed(sink))[place.address()].intact
    await sink.put(desired(place), Unchanged((await look(sink, place)).version))
    assert (await look(sink, place)).intact


# --- a foreign version under our mark


@pytest.mark.fault(44)
async def test_equal_bytes_of_somebody_else_are_marked_without_a_new_version(place, sink):
    await sink.put(desired(place), Absent())
    place.write({"password": CANARY.decode()})
    seen = await look(sink, place)
    assert (seen.ours, seen.intact) == (True, False)
    await sink.put(desired(place), Unchanged(seen.version))
    assert (place.metadata() or {})["current_version"] == 2
    assert place.proven() == {1, 2}
    assert (await look(sink, place)).intact


@pytest.mark.fault(44)
async def test_other_bytes_of_somebody_else_are_drift_and_kept_as_an_older_version(place, sink):
    version = await sink.put(desired(place), Absent())
    place.write(THEIRS)
    seen = await look(sink, place)
    assert (seen.ours, seen.intact, seen.data) == (True, False, {"password": SecretValue(b"theirs-canary")})
    assert not (await listed(sink))[place.address()].intact
    with refused(PreconditionFailed):
        await sink.put(desired(place), Unchanged(version))
    await sink.put(desired(place), Unchanged(seen.version))
    assert place.fields() == {"password": CANARY.decode()}
    assert place.fields(version=2) == THEIRS
    assert place.proven() == {1, 3}


@pytest.mark.fault(44)
@pytest.mark.parametrize("repaired", [False, True])
async def test_removing_destroys_own_versions_and_leaves_the_foreign_one_readable(place, sink, repaired):
    await sink.put(desired(place), Absent())
    place.write(THEIRS)
    if repaired:
        await sink.put(desired(place), Unchanged((await look(sink, place)).version))
    await sink.remove(await look(sink, place))
    assert place.fields(version=2) == THEIRS
    assert place.fields(version=1) is None
    assert place.fields(version=3) is None
    assert not place.marked()
    assert set(await listed(sink)) == {place.address("first")}
    assert (await look(sink, place)).foreign == "no mark"


@pytest.mark.fault(44)
async def test_a_foreign_version_that_could_be_undeleted_is_kept_too(place, sink):
    await sink.put(desired(place), Absent())
    place.write(THEIRS)
    place.bury("delete", 2)
    await sink.remove(await look(sink, place))
    place.bury("undelete", 2)
    assert place.fields(version=2) == THEIRS
    assert not place.marked()


@pytest.mark.fault(43)
async def test_a_second_writer_between_look_and_write_loses_nothing(place, sink):
    await sink.put(desired(place), Absent())
    seen = await look(sink, place)
    place.write(THEIRS)
    with refused(PreconditionFailed):
        await sink.put(desired(place, data={"password": CANARY + b"2"}), Unchanged(seen.version))
    with refused(PreconditionFailed):
        await sink.remove(seen)
    assert place.fields() == THEIRS


# --- our own, deleted


async def test_an_own_secret_that_is_deleted_is_seen_without_bytes_and_repaired(place, sink):
    await sink.put(desired(place), Absent())
    place.bury("delete", 1)
    seen = await look(sink, place)
    assert (seen.ours, seen.intact, seen.data) == (True, False, {})
    await sink.put(desired(place), Unchanged(seen.version))
    assert (await look(sink, place)).intact
    assert place.proven() == {1, 2}


async def test_an_own_secret_that_is_undeleted_is_what_it_was(place, sink):
    version = await sink.put(desired(place), Absent())
    place.bury("delete", 1)
    place.bury("undelete", 1)
    seen = await look(sink, place)
    assert (seen.intact, seen.version) == (True, version)


async def test_an_own_secret_that_is_destroyed_is_repaired(place, sink):
    await sink.put(desired(place), Absent())
    place.bury("destroy", 1)
    seen = await look(sink, place)
    assert (seen.ours, seen.intact, seen.data) == (True, False, {})
    await sink.put(desired(place), Unchanged(seen.version))
    assert place.proven() == {2}


@pytest.mark.parametrize("verb", ["delete", "destroy"])
async def test_a_deleted_own_secret_is_removed_whole(place, sink, verb):
    await sink.put(desired(place), Absent())
    place.bury(verb, 1)
    await sink.remove(await look(sink, place))
    assert place.metadata() is None


async def test_where_the_metadata_were_deleted_an_update_writes_nothing(place, sink):
    version = await sink.put(desired(place), Absent())
    seen = await look(sink, place)
    place.bao.delete(f"{place.mount}/metadata/{place.address()}")
    with refused(PreconditionFailed):
        await sink.put(desired(place, data={"password": b"2"}), Unchanged(version))
    await sink.remove(seen)
    assert place.metadata() is None
    await sink.put(desired(place), Absent())
    assert place.proven() == {1}


# --- metadata of users, layouts, bytes


async def test_metadata_of_users_are_kept_by_updates(place, sink):
    version = await sink.put(desired(place), Absent())
    place.bao.patch(
        f"{place.mount}/metadata/{place.address()}", {"custom_metadata": {"team": "a"}, "max_versions": 5}
    )
    with refused(PreconditionFailed):
        await sink.put(desired(place), Unchanged(version))
    await sink.put(desired(place, data={"k": b"2"}), Unchanged((await look(sink, place)).version))
    assert place.custom()["team"] == "a"
    assert (place.metadata() or {})["max_versions"] == 5


async def test_metadata_of_users_on_a_claim_without_data_are_kept(place, sink):
    claim = {MARK + name: text for name, text in _claim(place).items()}
    place.describe(claim | {"team": "a"})
    seen = await look(sink, place)
    assert (seen.ours, seen.intact, seen.data) == (True, False, {})
    with refused(PreconditionFailed):
        await sink.put(desired(place), Absent())
    await sink.put(desired(place), Unchanged(seen.version))
    assert (place.custom()["team"], place.proven()) == ("a", {1})


def _claim(place: Place) -> dict[str, str]:
    from backends.marking import mark_fields  # noqa: PLC0415

    return {name: text for name, text in mark_fields(desired(place).mark).items() if text} | {"versions": "0"}


@pytest.mark.parametrize("mark", [{}, {"rule": "r" * 513}])
async def test_a_mark_that_does_not_fit_is_refused_before_anything_is_written(place, sink, mark):
    version = await sink.put(desired(place), Absent())
    before = place.snapshot()
    names = {} if mark else {f"{'n' * 500}-{number}": b"\xff" for number in range(60)}
    with refused(Refused):
        await sink.put(desired(place, data={"password": b"2", **names}, **mark), Unchanged(version))
    with refused(Refused):
        await sink.put(desired(place, "another", data={"password": b"2", **names}, **mark), Absent())
    assert place.snapshot() == before
    assert place.metadata("another") is None


async def test_a_mark_that_the_server_does_not_take_is_refused_and_leaves_nothing(place, sink):
    with refused(Refused):
        await sink.put(desired(place, rule="line\nbreak"), Absent())
    assert place.metadata() is None


async def test_a_secret_of_one_output_is_marked_with_its_name(place, sink):
    await sink.put(desired(place, "orders/password", {"value": CANARY}, output="password"), Absent())
    seen = await look(sink, place, "orders/password")
    assert (seen.mark.output if seen.mark else None, seen.intact) == ("password", True)
    assert place.fields("orders/password") == {"value": CANARY.decode()}


async def test_bytes_that_are_no_text_are_base64_and_anybody_can_tell(place, sink):
    await sink.put(
        desired(place, data={"key": b"\xff\0\xfe", "text": "ü\n".encode(), "b64": b"/w=="}), Absent()
    )
    fields, custom = place.fields() or {}, place.custom()
    assert json.loads(custom[f"{MARK}base64"]) == ["key"]
    assert base64.b64decode(fields["key"]) == b"\xff\0\xfe"
    assert (fields["text"], fields["b64"]) == ("ü\n", "/w==")


async def test_an_address_outside_of_the_paths_is_refused_before_anything_is_sent(place, sink):
    position = place.bao.audit.position()
    for address in (
        "other/orders",
        f"{place.path}/../x",
        f"{place.path}/.syncer/x",
        place.path,
        f"{place.path}/a?b",
    ):
        with refused(Refused):
            await sink.observe(OWNER, [address])
        with refused(Refused):
            await sink.put(desired(place, address=address), Absent())
    assert place.bao.audit.requests(since=position, prefix=f"{place.mount}/") == ()
