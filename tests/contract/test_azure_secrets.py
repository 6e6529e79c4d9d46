"""What the sink does with what only a key vault has: soft delete, casing, no compare-and-set, rights.

On the stand-in, by a clock that the waits themselves move on. When it does not answer as it should is
in `test_azure_trouble.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from azure_world import (
    NAME,
    OWNER,
    THEIRS,
    Naps,
    desired,
    look,
    marked,
    options_for,
    plant_ours,
    refused,
    sink,
    sink_for,
    vault,
)

from backends.azure_keyvault.marks import mark_tags
from backends.azure_keyvault.sink import AzureKeyVaultSink
from backends.clients.azure_errors import NameTaken
from backends.contract import (
    Absent,
    FindingLevel,
    TakeOver,
    Unchanged,
)
from backends.errors import (
    Forbidden,
    ForeignSecret,
    PreconditionFailed,
    Refused,
    TargetUnavailable,
    TooLarge,
)
from backends.testing import CANARY
from tests.servers.keyvault.faults import Call
from tests.servers.keyvault.model import Changes
from tests.servers.keyvault.tokens import ALL, WRITE

__all__ = ["sink", "vault"]  # fixtures

# --- requests


async def test_a_create_takes_a_look_a_write_and_a_list_of_versions(vault, sink):
    await sink.put(desired(), Absent())
    assert vault.counts() == {"get": 1, "set": 1, "versions": 1}


async def test_what_is_there_already_is_not_written_again(vault, sink):
    attributes = {"tag:team": "orders", "expires": "2099-01-01T00:00:00Z", "content-type": "text/x-dsn"}
    version = await sink.put(desired(**attributes), Absent())
    vault.forget_requests()
    assert await sink.put(desired(**attributes), Unchanged(version)) == version
    assert (vault.counts(), vault.writes) == ({"get": 1}, 0)
    await sink.put(desired(**attributes | {"tag:team": "shop"}), Unchanged(version))
    assert vault.writes == 1


async def test_an_inventory_reads_no_secret(vault, sink):
    for number in range(7):
        plant_ours(vault, name=f"{NAME}-{number}")
    vault.put("theirs", "x", tags=THEIRS)
    vault.put("disabled", "x", tags=mark_tags(marked("disabled")), enabled=False)
    found = {seen.address: seen async for seen in sink.inventory(OWNER)}
    assert set(found) == {"disabled"} | {f"{NAME}-{number}" for number in range(7)}
    assert [name for name, seen in found.items() if not seen.intact] == ["disabled"]
    assert vault.counts() == {"list": 3}


async def test_a_version_of_the_inventory_allows_an_update_and_a_removal(vault, sink):
    plant_ours(vault)
    vault.clock.advance(1)
    (listed,) = [seen async for seen in sink.inventory(OWNER)]
    await sink.put(desired(), Unchanged(listed.version))
    assert vault.read(NAME).value == CANARY.decode()
    with refused(PreconditionFailed):
        await sink.put(desired(content=b"2"), Unchanged(listed.version))
    with refused(PreconditionFailed):
        await sink.remove(listed)
    (listed,) = [seen async for seen in sink.inventory(OWNER)]
    await sink.remove(listed)
    assert vault.deleted(NAME) is not None


@pytest.mark.parametrize(
    "changes",
    [{"tags": THEIRS}, {"enabled": False}, {"content_type": "x"}, {"expires": 1}, {"not_before": 1}],
    ids=lambda changes: next(iter(changes)),
)
async def test_what_is_changed_without_a_new_version_is_a_change(vault, sink, changes):
    await sink.put(desired(), Absent())
    before = await look(sink)
    vault.clock.advance(1)
    vault.update(NAME, Changes(**changes))
    with refused(ForeignSecret if "tags" in changes else PreconditionFailed):
        await sink.put(desired(content=b"2"), Unchanged(before.version))
    with refused(ForeignSecret if "tags" in changes else PreconditionFailed):
        await sink.remove(before)


async def test_a_disabled_secret_of_ours_is_seen_and_repaired(vault, sink):
    version = await sink.put(desired(), Absent())
    vault.update(NAME, Changes(enabled=False))
    seen = await look(sink)
    assert (seen.ours, seen.intact, seen.data) == (True, False, None)
    with refused(PreconditionFailed):
        await sink.put(desired(), Unchanged(version))
    await sink.put(desired(), Unchanged(seen.version))
    assert (await look(sink)).intact


async def test_a_disabled_secret_of_somebody_else_stays(vault, sink):
    vault.put(NAME, "theirs", tags=THEIRS, enabled=False)
    assert (await look(sink)).foreign == "no mark"
    with refused(ForeignSecret):
        await sink.put(desired(), Absent())
    assert vault.read(NAME).value == "theirs"


# --- names and sizes


async def test_a_vault_tells_no_cases_apart_and_so_does_the_sink(vault, sink):
    plant_ours(vault, name="Shop-Orders-DSN")
    seen = await look(sink)
    assert (seen.ours, seen.address) == (True, "Shop-Orders-DSN")
    vault.put(NAME, "copied", tags=mark_tags(marked("shop-orders-other")))
    assert "another address" in (await look(sink)).foreign


@pytest.mark.bad_input(9)
@pytest.mark.parametrize("content", [CANARY.ljust(25 * 1024 + 1), CANARY + b"\xff" * 20_000])
async def test_what_is_too_large_as_it_is_stored_is_told_before_anything_is_sent(vault, sink, content):
    with refused(TooLarge) as caught:
        await sink.put(desired(content=content), Absent())
    assert "a key vault's secret takes 25600" in caught.value.reason
    assert vault.requests() == ()


@pytest.mark.parametrize("name", ["", "a/b", "a_b", "ä", "x" * 128])
async def test_what_is_no_name_is_refused_before_anything_is_sent(vault, sink, name):
    with refused(Refused):
        await sink.put(desired(name), Absent())
    with refused(Refused):
        await sink.observe(OWNER, [name])
    assert vault.requests() == ()


# --- soft delete


@pytest.mark.fault(48)
async def test_a_deleted_secret_of_ours_is_absent_and_recovered_before_it_is_written(vault, sink):
    plant_ours(vault, "old")
    vault.soft_delete(NAME)
    assert await look(sink) is None
    await sink.put(desired(), Absent())
    assert [version.value for version in vault.versions(NAME)] == ["old", CANARY.decode()]
    assert (await look(sink)).ours


@pytest.mark.fault(49)
async def test_a_deleted_secret_of_somebody_else_is_neither_recovered_nor_purged(vault, sink):
    vault.put(NAME, "theirs", tags=THEIRS)
    vault.soft_delete(NAME)
    seen = await look(sink)
    assert seen.foreign == "a deleted secret of somebody else holds the name (no mark)"
    for expect in (Absent(), TakeOver(seen.version)):
        with refused(ForeignSecret) as caught:
            await sink.put(desired(), expect)
        assert "a deleted secret of somebody else holds the name" in caught.value.reason
    with refused(ForeignSecret):
        await sink.remove(seen)
    assert vault.deleted(NAME).value == "theirs"
    assert vault.writes == 0
    assert [seen async for seen in sink.inventory(OWNER)] == []


@pytest.mark.fault(50)
@pytest.mark.parametrize("reads", [False, True])
async def test_what_is_still_being_recovered_is_waited_for(keyvault_server, vault, reads):
    plant_ours(vault, "old")
    vault.soft_delete(NAME)
    vault.set_transition(None, reads_while_recovering=reads)
    naps = Naps(vault.clock, lambda number: vault.finish_transitions() if number == 4 else None)
    async with sink_for(options_for(keyvault_server, vault), vault, naps=naps) as sink:
        await sink.put(desired(), Absent())
    assert naps.taken == [1, 2, 4, 8]
    assert vault.read(NAME).value == CANARY.decode()


@pytest.mark.fault(50)
async def test_what_is_still_being_deleted_is_waited_for_and_then_recovered(keyvault_server, vault):
    plant_ours(vault, "old")
    vault.set_transition(5)
    vault.soft_delete(NAME)
    async with sink_for(options_for(keyvault_server, vault), vault) as sink:
        await sink.put(desired(), Absent())
    assert vault.read(NAME).value == CANARY.decode()
    assert vault.counts()["recover"] == 1


@pytest.mark.fault(50)
async def test_a_name_that_never_becomes_free_is_given_up_after_a_minute(keyvault_server, vault):
    plant_ours(vault, "old")
    vault.set_transition(None)
    vault.soft_delete(NAME)
    naps = Naps(vault.clock)
    async with sink_for(options_for(keyvault_server, vault), vault, naps=naps) as sink:
        with refused(NameTaken) as caught:
            await sink.put(desired(), Absent())
    assert isinstance(caught.value, TargetUnavailable)
    assert caught.value.reason == f"set {NAME}: a secret of that name is being deleted"
    assert caught.value.retry_after == 10
    assert 50 < sum(naps.taken) < 70


async def test_an_update_never_recovers_what_was_deleted_meanwhile(vault, sink):
    version = await sink.put(desired(), Absent())
    vault.faults.add(Call(lambda: vault.soft_delete(NAME), applied=True), operation="get", times=1)
    with refused(PreconditionFailed):
        await sink.put(desired(content=b"2"), Unchanged(version))
    assert vault.deleted(NAME).value == CANARY.decode()


async def test_what_is_deleted_or_on_its_way_there_is_removed_already(vault, sink):
    await sink.put(desired(), Absent())
    seen = await look(sink)
    vault.set_transition(None)
    vault.faults.add(Call(lambda: vault.soft_delete(NAME), applied=True), operation="get", times=1)
    await sink.remove(seen)
    await sink.remove(seen)
    assert vault.counts()["delete"] == 1


async def test_purging_waits_for_the_deletion_and_destroys_only_our_own(keyvault_server, vault):
    identity = keyvault_server.new_identity(ALL)
    options = options_for(keyvault_server, vault, identity=identity, purge=True)
    vault.set_transition(3)
    async with sink_for(options, vault) as sink:
        await sink.put(desired(), Absent())
        seen = await look(sink)
        await sink.remove(seen)
        assert vault.versions(NAME) == () or vault.counts()["purge"] == 1
        vault.clock.advance(5)
        assert vault.versions(NAME) == ()
        vault.put(NAME, "theirs", tags=THEIRS)
        vault.soft_delete(NAME)
        vault.clock.advance(5)
        await sink.remove(seen)
    assert vault.deleted(NAME).value == "theirs"


# --- no compare-and-set


@pytest.mark.fault(51)
@pytest.mark.parametrize("expect", ["absent", "unchanged"])
async def test_who_writes_between_look_and_write_is_reported_and_keeps_his_version(vault, sink, expect):
    if expect == "unchanged":
        plant_ours(vault, "old")
        vault.clock.advance(60)
    seen = await look(sink)
    vault.faults.add(
        Call(lambda: vault.put(NAME, "theirs", tags=THEIRS), applied=False), operation="set", times=1
    )
    with refused(ForeignSecret) as caught:
        await sink.put(desired(), Absent() if seen is None else Unchanged(seen.version))
    theirs = next(version for version in vault.versions(NAME) if version.value == "theirs")
    assert caught.value.reason == (
        f"{NAME}: somebody else wrote it at the same time; theirs is version {theirs.version}, "
        "kept as an older version"
    )
    assert vault.counts()["set"] == 1


@pytest.mark.fault(51)
async def test_who_writes_right_after_us_is_reported_and_stays(vault, sink):
    def theirs() -> None:
        vault.clock.advance(1)
        vault.put(NAME, "theirs", tags=THEIRS)

    vault.faults.add(Call(theirs, applied=True), operation="set", times=1)
    with refused(ForeignSecret) as caught:
        await sink.put(desired(), Absent())
    assert caught.value.reason.endswith("in use now")
    assert vault.read(NAME).value == "theirs"
    assert not (await look(sink)).ours


async def test_strangers_of_former_times_are_no_race(vault, sink):
    vault.put(NAME, "theirs", tags=THEIRS)
    vault.clock.advance(60)
    plant_ours(vault, "adopted")
    vault.clock.advance(60)
    version = (await look(sink)).version
    await sink.put(desired(), Unchanged(version))
    assert vault.read(NAME).value == CANARY.decode()


async def test_a_second_writer_of_our_instance_is_no_stranger(vault, sink):
    vault.faults.add(Call(lambda: plant_ours(vault), applied=False), operation="set", times=1)
    await sink.put(desired(), Absent())
    assert vault.read(NAME).value == CANARY.decode()


@pytest.mark.parametrize("forgery", ["instance", "address", "format", "ids"])
async def test_a_forged_or_copied_mark_is_foreign(vault, sink, forgery):
    tags = mark_tags(marked())
    ids = "outputs.porter.sh/ids"
    tags |= {
        "instance": {"outputs.porter.sh/instance": "staging"},
        "address": {"outputs.porter.sh/address": "elsewhere"},
        "format": {ids: tags[ids].replace("1,", "2,", 1)},
        "ids": {ids: "1,only"},
    }[forgery]
    vault.put(NAME, "theirs", tags=tags)
    seen = await look(sink)
    assert seen.foreign
    assert seen.data is None
    with refused(ForeignSecret):
        await sink.put(desired(), Unchanged(seen.version))
    with refused(ForeignSecret):
        await sink.remove(replace(seen, foreign=None, mark=marked()))
    assert vault.writes == 0


# --- rights


@pytest.mark.fault(35)
@pytest.mark.parametrize("right", sorted(WRITE))
@pytest.mark.parametrize("rbac", [False, True])
async def test_a_missing_right_is_named(keyvault_server, vault, right, rbac):
    identity = keyvault_server.new_identity(WRITE)
    vault.permit(identity, WRITE - {right}, rbac=rbac)
    plant_ours(vault, name="present")
    plant_ours(vault, name="deleted")
    vault.soft_delete("deleted")
    seen = {}
    async with sink_for(options_for(keyvault_server, vault), vault) as able:
        seen = (await able.observe(OWNER, ["present"]))["present"]

    async def listed(sink: AzureKeyVaultSink) -> None:
        [_ async for _ in sink.inventory(OWNER)]

    acts: dict[str, Callable[[AzureKeyVaultSink], Awaitable[object]]] = {
        "get": look,
        "list": listed,
        "set": lambda sink: sink.put(desired(), Absent()),
        "delete": lambda sink: sink.remove(seen),
        "recover": lambda sink: sink.put(desired("deleted"), Absent()),
    }
    async with sink_for(options_for(keyvault_server, vault, identity=identity), vault) as sink:
        with refused(Forbidden) as caught:
            await acts[right](sink)
        assert caught.value.reason == f"the right to {right} secrets is missing"
        found = await sink.check()
    levels = [finding.level for finding in found]
    untried = right in ("set", "delete", "recover")
    assert levels == [FindingLevel.OK if untried else FindingLevel.ERROR, FindingLevel.OK]
    assert (right in found[0].detail) or untried
    assert "set, delete and recover" in found[1].detail


async def test_a_check_writes_nothing_and_says_what_it_did_not_try(vault, sink):
    found = await sink.check()
    assert [finding.detail for finding in found] == [
        "may list and get secrets",
        "not tried, since it takes writing: set, delete and recover",
    ]
    assert vault.writes == 0
