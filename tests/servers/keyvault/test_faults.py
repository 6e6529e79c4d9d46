from __future__ import annotations

import asyncio

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError
from azure.keyvault.secrets.aio import SecretClient

from tests.servers.keyvault import Clock, KeyVaultServer, Vault
from tests.servers.keyvault.faults import Answer, Call, Delay, Drop, Hold, failed, throttled, web_page
from tests.servers.keyvault.sdk import NOON, client_of, header, plainly, refusal
from tests.servers.keyvault.throttle import Limits


async def test_past_the_published_limit_sets_are_refused_until_the_window_passes(
    server: KeyVaultServer,
) -> None:
    vault = server.new_vault(clock=Clock(NOON.timestamp()), limits=Limits(creates=2, others=3))
    async with client_of(server, vault) as client:
        await client.set_secret("key", "1")
        vault.clock.advance(4)
        await client.set_secret("key", "2")
        for _ in range(2):
            with pytest.raises(HttpResponseError) as caught:
                await client.set_secret("key", "3")
            assert refusal(caught.value) == (429, "Throttled", None)
            assert header(caught.value, "Retry-After") == "6"
        assert (await client.get_secret("key")).value == "2"
        vault.clock.advance(6)
        await client.set_secret("key", "3")
        assert [each.value for each in vault.versions("key")] == ["1", "2", "3"]
        for _ in range(2):
            await client.get_secret("key")
        vault.set_limits(Limits(creates=2, others=0, retry_after=False))
        with pytest.raises(HttpResponseError) as caught:
            await client.get_secret("key")
        assert header(caught.value, "Retry-After") is None


def test_the_limits_are_the_published_ones() -> None:
    assert (Limits().creates, Limits().others) == (300, 4000)


async def test_the_busiest_stretch_and_the_counts_are_known(client: SecretClient, vault: Vault) -> None:
    for _ in range(5):
        await client.set_secret("key", "x")
        vault.clock.advance(4)
    await client.get_secret("key")
    assert (vault.busiest("set", 10), vault.busiest("set", 4), vault.busiest("delete", 10)) == (3, 1, 0)
    assert vault.counts() == {"set": 5, "get": 1}
    assert vault.writes == 5
    vault.forget_requests()
    assert (vault.counts(), vault.writes, vault.requests()) == ({}, 0, ())


async def test_the_log_knows_who_asked_for_what_and_no_value(
    server: KeyVaultServer, client: SecretClient, vault: Vault
) -> None:
    await client.set_secret("Key", "top-secret")
    challenged, written = vault.requests()
    assert (challenged.status, challenged.client_id) == (401, None)
    assert (written.method, written.operation, written.name) == ("PUT", "set", "Key")
    assert (written.status, written.client_id, written.at) == (
        200,
        server.identity.client_id,
        NOON.timestamp(),
    )
    shown = repr((vault, vault.requests(), vault.versions("key"), server, server.identity, vault.faults))
    assert "top-secret" not in shown
    assert server.identity.client_secret not in shown


async def test_an_answer_replaces_the_services_own_as_often_as_asked(
    client: SecretClient, vault: Vault
) -> None:
    vault.put("other", "x")
    fault = vault.faults.add(throttled(retry_after=7), operation="set", name="KEY", times=2)
    await client.set_secret("other", "y")
    for _ in range(2):
        with pytest.raises(HttpResponseError) as caught:
            await client.set_secret("key", "x")
        assert caught.value.status_code == 429
        assert header(caught.value, "Retry-After") == "7"
    await client.set_secret("key", "x")
    assert (fault.hits, vault.writes) == (2, 2)


@pytest.mark.parametrize("status", [500, 503])
async def test_a_fault_lasts_until_it_is_taken_back(client: SecretClient, vault: Vault, status: int) -> None:
    fault = vault.faults.add(failed(status), when=lambda arrival: arrival.operation in ("get", "list"))
    for _ in range(3):
        with pytest.raises(HttpResponseError) as caught:
            await client.get_secret("key")
        assert caught.value.status_code == status
    await client.set_secret("key", "x")
    vault.faults.remove(fault)
    assert (await client.get_secret("key")).value == "x"


async def test_the_sdk_retries_what_a_fault_refused(server: KeyVaultServer, vault: Vault) -> None:
    vault.faults.add(Answer(503, {"error": {"code": "x", "message": "y"}}), operation="set", times=1)
    async with client_of(server, vault, retry_total=1, retry_backoff_factor=0) as client:
        await client.set_secret("key", "x")
    assert (vault.counts()["set"], vault.writes) == (2, 1)


async def test_a_connection_breaks_before_the_request_is_applied(client: SecretClient, vault: Vault) -> None:
    vault.faults.add(Drop(), operation="set")
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        await client.set_secret("key", "x")
    assert {(each.status, each.applied) for each in vault.requests() if each.client_id} == {(None, False)}
    assert (vault.names(), vault.writes) == ([], 0)


async def test_a_connection_breaks_after_the_request_is_applied(client: SecretClient, vault: Vault) -> None:
    vault.faults.add(Drop(applied=True), operation="set")
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        await client.set_secret("key", "x")
    assert {(each.status, each.applied) for each in vault.requests() if each.client_id} == {(None, True)}
    assert vault.names() == ["key"]


async def test_a_set_whose_kept_connection_breaks_is_sent_again_below_the_sdk(
    client: SecretClient, vault: Vault
) -> None:
    await client.set_secret("key", "one")
    vault.faults.add(Drop(applied=True), operation="set", times=1)
    await client.set_secret("key", "two")
    assert [each.value for each in vault.versions("key")] == ["one", "two", "two"]


@pytest.mark.parametrize("applied", [False, True])
async def test_a_black_hole_answers_once_it_is_released(
    client: SecretClient, vault: Vault, applied: bool
) -> None:
    hold = Hold(applied=applied)
    vault.faults.add(hold, operation="set")
    writing = asyncio.ensure_future(client.set_secret("key", "x"))
    await asyncio.to_thread(hold.reached.wait, 10)
    assert (writing.done(), vault.names()) == (False, ["key"] if applied else [])
    hold.release()
    assert (await writing).value == "x"
    assert vault.names() == ["key"]


async def test_a_client_that_gives_up_leaves_the_black_hole(server: KeyVaultServer, vault: Vault) -> None:
    vault.faults.add(Hold(), operation="get")
    async with client_of(server, vault, read_timeout=0.05) as client:
        with pytest.raises((ServiceRequestError, ServiceResponseError)):
            await client.get_secret("key")


async def test_a_delay_and_a_page_of_html(client: SecretClient, vault: Vault) -> None:
    vault.put("key", "x")
    vault.faults.add(Delay(0.01), times=1)
    assert (await client.get_secret("key")).value == "x"
    vault.faults.add(web_page(), operation="get", times=1)
    with pytest.raises(ValueError, match="Expecting value"):
        await client.get_secret("key")


async def test_something_happens_between_a_request_and_its_answer(client: SecretClient, vault: Vault) -> None:
    vault.faults.add(Call(lambda: vault.put("key", "mine"), applied=False), operation="set", times=1)
    vault.faults.add(Call(lambda: vault.put("key", "theirs")), operation="set", times=1)
    await client.set_secret("key", "ours")
    await client.set_secret("key", "ours")
    assert [each.value for each in vault.versions("key")] == ["mine", "ours", "ours", "theirs"]


async def test_a_fault_may_strike_requests_without_a_token(server: KeyVaultServer, vault: Vault) -> None:
    vault.faults.add(failed(), times=1)
    assert (await plainly(server, f"{vault.url}/secrets"))[0] == 401
    vault.faults.clear()
    vault.faults.add(failed(), times=1, unauthenticated=True)
    assert (await plainly(server, f"{vault.url}/secrets"))[0] == 500


async def test_a_vault_that_is_down_comes_back_with_its_secrets(client: SecretClient, vault: Vault) -> None:
    await client.set_secret("key", "x")
    with vault.refusing(), pytest.raises((ServiceRequestError, ServiceResponseError)):
        await client.get_secret("key")
    assert (await client.get_secret("key")).value == "x"
