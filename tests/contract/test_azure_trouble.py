"""A key vault that is down, silent, somebody else, or has had enough; and a process that is killed.

On the stand-in, by a clock that the waits themselves move on.
"""

from __future__ import annotations

import asyncio
import itertools
import logging

import pytest
from azure_world import (
    NAME,
    NOON,
    OWNER,
    THEIRS,
    Naps,
    desired,
    look,
    options_for,
    plant_ours,
    refused,
    sink,
    sink_for,
    vault,
)

from backends.azure_keyvault.sink import AzureKeyVaultSink
from backends.clients.azure import KeyVaultClient
from backends.contract import (
    Absent,
    Unchanged,
)
from backends.errors import (
    AuthenticationFailed,
    OutcomeUnknown,
    SinkError,
    SinkUnavailable,
    Throttled,
)
from backends.secret_value import SecretValue
from backends.testing import CANARY
from tests.servers.keyvault import Clock
from tests.servers.keyvault.faults import Drop, Hold, failed, throttled, web_page
from tests.servers.keyvault.throttle import Limits

__all__ = ["sink", "vault"]  # fixtures

# --- when the vault does not answer as it should


async def test_a_lost_answer_to_a_write_is_an_unknown_outcome(vault, sink):
    vault.faults.add(Drop(applied=True), operation="set", times=1)
    with refused(OutcomeUnknown) as caught:
        await sink.put(desired(), Absent())
    assert caught.value.reason.startswith(f"set {NAME}: sent, but the connection broke")
    seen = await look(sink)
    assert (seen.ours, seen.data) == (True, desired().data)
    vault.faults.add(Drop(applied=True), operation="delete", times=1)
    with refused(OutcomeUnknown):
        await sink.remove(seen)
    assert await look(sink) is None


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_failing_vault_is_never_empty_and_may_have_written(vault, sink, status):
    plant_ours(vault)
    fault = vault.faults.add(failed(status), operation="get")
    with refused(SinkUnavailable):
        await look(sink)
    vault.faults.remove(fault)
    fault = vault.faults.add(failed(status), operation="list")
    with refused(SinkUnavailable):
        [_ async for _ in sink.inventory(OWNER)]
    vault.faults.remove(fault)
    vault.faults.add(failed(status), operation="set")
    with refused(OutcomeUnknown):
        await sink.put(desired("another"), Absent())


@pytest.mark.parametrize("status", [200, 404, 302])
async def test_a_page_in_between_is_no_vault(vault, sink, status):
    vault.faults.add(web_page(status))
    with refused(SinkUnavailable) as caught:
        await look(sink)
    assert "key vault" in caught.value.reason or "cannot be read" in caught.value.reason
    with refused(SinkUnavailable):
        [_ async for _ in sink.inventory(OWNER)]


async def test_a_list_that_is_cut_raises(vault, sink):
    for number in range(7):
        plant_ours(vault, name=f"{NAME}-{number}")
    counter = itertools.count()
    vault.faults.add(Drop(), operation="list", when=lambda _: next(counter) == 1)
    with refused(SinkUnavailable):
        [_ async for _ in sink.inventory(OWNER)]


async def test_a_vault_that_cannot_be_reached_or_is_silent_is_unavailable(keyvault_server, vault):
    options = options_for(keyvault_server, vault, requestTimeout="200ms")
    async with sink_for(options, vault) as sink:
        await look(sink)
        with vault.refusing():
            for _ in range(2):  # the first one meets the connection that was kept
                with refused(SinkUnavailable) as caught:
                    await look(sink)
            assert caught.value.reason == f"get {NAME}: the server cannot be reached"
        hold = Hold()
        fault = vault.faults.add(hold, operation="set")
        with refused(OutcomeUnknown) as caught:
            await sink.put(desired(), Absent())
        assert caught.value.reason == f"set {NAME}: sent, but there was no answer in time"
        vault.faults.remove(fault)


async def test_a_write_that_only_asked_for_the_challenge_wrote_nothing(keyvault_server, vault):
    vault.faults.add(Drop(), unauthenticated=True, times=1)
    async with KeyVaultClient(options_for(keyvault_server, vault)) as client:
        with refused(SinkUnavailable):
            await client.delete(NAME)


async def test_a_certificate_that_is_not_trusted_is_told(keyvault_server, vault):
    options = options_for(keyvault_server, vault).model_copy(update={"ca_file": None})
    async with sink_for(options, vault) as sink:
        with refused(SinkUnavailable) as caught:
            await look(sink)
    assert "certificate is not trusted" in caught.value.reason


async def test_a_token_for_another_domain_is_not_sent(keyvault_server, vault):
    options = options_for(keyvault_server, vault, verifyChallengeResource=True)
    async with sink_for(options, vault) as sink:
        with refused(AuthenticationFailed) as caught:
            await look(sink)
    assert "verifyChallengeResource" in caught.value.reason
    assert [request.status for request in vault.requests()] == [401]


async def test_a_revoked_token_is_replaced(keyvault_server, vault, sink):
    await look(sink)
    keyvault_server.entra.revoke_tokens()
    assert await look(sink) is None


@pytest.mark.fault(52)
async def test_with_entra_down_a_token_serves_until_it_ends(keyvault_server, vault, sink):
    await look(sink)
    with keyvault_server.token_endpoint.refusing():
        assert await look(sink) is None
        keyvault_server.entra.revoke_tokens()
        with refused(SinkUnavailable) as caught:
            await look(sink)
        assert caught.value.reason == "log in: the server cannot be reached"
        assert caught.value.retry_after is None
    assert await look(sink) is None


# --- pace


@pytest.mark.fault(47)
async def test_a_storm_of_429_is_met_with_one_request_for_each_pause(keyvault_server, vault):
    other_vault = keyvault_server.new_vault(clock=Clock(NOON))
    naps = Naps(vault.clock)
    options = options_for(keyvault_server, vault)
    async with (
        sink_for(options, vault, naps=naps) as sink,
        sink_for(options_for(keyvault_server, other_vault), other_vault) as other,
    ):
        vault.faults.add(throttled(60), when=lambda _: vault.clock() < NOON + 300)

        async def stubborn(number: int) -> None:
            while True:
                try:
                    await sink.put(desired(f"{NAME}-{number}"), Absent())
                except Throttled:
                    continue
                else:
                    return

        await asyncio.gather(*(stubborn(number) for number in range(8)))
        await other.put(desired(), Absent())
    refusals = sorted(request.at for request in vault.requests() if request.status == 429)
    later = [at for at in refusals if at > refusals[0] + 1]
    assert len(later) <= 4
    assert all(second - first >= 59 for first, second in itertools.pairwise(later))
    assert other_vault.clock() == NOON
    assert len(vault.names()) == 8


@pytest.mark.fault(47)
async def test_whoever_would_wait_too_long_is_told_at_once_and_sends_nothing(keyvault_server, vault):
    async with sink_for(options_for(keyvault_server, vault), vault, patience=30) as sink:
        vault.faults.add(throttled(60), times=1)
        for _ in range(3):
            with refused(Throttled) as caught:
                await look(sink)
            assert caught.value.retry_after == 60
        assert len([request for request in vault.requests() if request.client_id]) == 1
        vault.clock.advance(60)
        assert await look(sink) is None


@pytest.mark.fault(47)
async def test_no_ten_seconds_see_more_than_four_fifths_of_what_the_service_takes(keyvault_server, vault):
    vault.set_limits(Limits())
    async with sink_for(options_for(keyvault_server, vault), vault) as sink:
        for number in range(300):
            await sink._client.set(f"name-{number}", _new())
    assert vault.busiest("set", 10) <= 240
    assert {request.status for request in vault.requests() if request.client_id} == {200}
    assert vault.clock() < NOON + 20


def _new():
    from backends.clients.azure_objects import NewSecret  # noqa: PLC0415

    return NewSecret(value=SecretValue(b"x"))


# --- killed anywhere


WORLDS = ("nothing", "ours", "ours deleted")


def build(vault, world: str) -> None:
    vault.put("bystander", "theirs", tags=THEIRS)
    vault.put("gone", "theirs", tags=THEIRS)
    vault.soft_delete("gone")
    if world != "nothing":
        plant_ours(vault, "old")
    if world == "ours deleted":
        vault.soft_delete(NAME)
    vault.clock.advance(60)


async def written(sink: AzureKeyVaultSink) -> None:
    seen = await look(sink)
    await sink.put(desired(), Absent() if seen is None else Unchanged(seen.version))


async def removed(sink: AzureKeyVaultSink) -> None:
    seen = await look(sink)
    if seen is not None:
        await sink.remove(seen)


@pytest.mark.parametrize("applied", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("act", [written, removed])
async def test_killed_at_any_request_the_next_pass_ends_where_it_should(keyvault_server, act, world, applied):
    for number in itertools.count():
        vault = keyvault_server.new_vault(clock=Clock(NOON))
        options = options_for(keyvault_server, vault)
        build(vault, world)
        counter = itertools.count()
        fault = vault.faults.add(Drop(applied=applied), when=lambda _, c=counter, n=number: next(c) == n)
        try:
            async with sink_for(options, vault) as sink:
                await act(sink)
        except SinkError:
            pass
        vault.faults.clear()
        assert_nothing_foreign_touched(vault)
        async with sink_for(options, vault) as sink:
            await act(sink)
        assert_nothing_foreign_touched(vault)
        left = vault.read(NAME)
        assert (left and left.value) == (CANARY.decode() if act is written else None)
        vault.close()
        if not fault.hits:
            break
    assert number >= {written: 4, removed: 2}[act]


def assert_nothing_foreign_touched(vault) -> None:
    assert [version.value for version in vault.versions("bystander")] == ["theirs"]
    assert vault.read("bystander") is not None
    assert vault.deleted("gone").value == "theirs"
    assert all("outputs.porter.sh/ids" in version.tags for version in vault.versions(NAME))


# --- nothing shown


async def test_no_log_shows_a_value_a_token_or_a_secret(keyvault_server, vault, caplog):
    caplog.set_level(logging.DEBUG)
    async with sink_for(options_for(keyvault_server, vault), vault) as sink:
        await sink.put(desired(), Absent())
        vault.faults.add(failed(), operation="get")
        with refused(SinkUnavailable):
            await look(sink)
    assert CANARY.decode() not in caplog.text
    assert keyvault_server.identity.client_secret not in caplog.text
    assert "Bearer" not in caplog.text
    assert [record.name for record in caplog.records if record.name.startswith("azure")] == []
