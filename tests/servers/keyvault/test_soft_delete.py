from __future__ import annotations

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.keyvault.secrets.aio import SecretClient

from tests.servers.keyvault import Clock, KeyVaultServer, Vault
from tests.servers.keyvault.faults import Call
from tests.servers.keyvault.model import Rules
from tests.servers.keyvault.sdk import NOON, client_of, refusal
from tests.servers.keyvault.tokens import ALL

DAY = 24 * 60 * 60


async def test_a_deleted_secret_is_among_the_deleted_and_comes_back_whole(
    client: SecretClient, vault: Vault
) -> None:
    await client.set_secret("Key", "one")
    await client.set_secret("Key", "two", tags={"a": "1"})
    deleted = await client.delete_secret("Key")
    assert deleted.recovery_id == f"{vault.url}/deletedsecrets/Key"
    assert deleted.deleted_date == NOON
    assert deleted.scheduled_purge_date is not None
    assert (deleted.scheduled_purge_date - NOON).days == 90
    assert [each.name async for each in client.list_properties_of_secrets()] == []
    assert [each.name async for each in client.list_deleted_secrets()] == ["Key"]
    with pytest.raises(ResourceNotFoundError):
        await client.get_secret("Key")
    await client.recover_deleted_secret("key")
    assert (await client.get_secret("Key")).value == "two"
    assert [each.value for each in vault.versions("key")] == ["one", "two"]


async def test_a_deleted_name_cannot_be_set(client: SecretClient, vault: Vault) -> None:
    vault.put("key", "one")
    vault.soft_delete("key")
    with pytest.raises(ResourceExistsError) as caught:
        await client.set_secret("key", "two")
    assert refusal(caught.value) == (409, "Conflict", "ObjectIsDeletedButRecoverable")


async def test_a_deletion_takes_its_time(client: SecretClient, vault: Vault) -> None:
    vault.put("key", "one")
    vault.set_transition(5)
    vault.soft_delete("key")
    for missing in (client.get_secret("key"), client.get_deleted_secret("key")):
        with pytest.raises(ResourceNotFoundError):
            await missing
    for refused in (client.set_secret("key", "two"), client.recover_deleted_secret("key")):
        with pytest.raises(ResourceExistsError) as caught:
            await refused
        assert refusal(caught.value)[2] == "ObjectIsBeingDeleted"
    assert (vault.read("key"), vault.deleted("key")) == (None, None)
    vault.clock.advance(5)
    assert (await client.get_deleted_secret("key")).name == "key"
    assert vault.deleted_names() == ["key"]


async def test_the_sdk_waits_for_a_deletion_and_a_recovery(client: SecretClient, vault: Vault) -> None:
    vault.put("key", "one")
    vault.set_transition(None)
    looked = vault.faults.add(Call(vault.finish_transitions, applied=True), operation="get_deleted", times=1)
    await client.delete_secret("key", _polling_interval=0)
    assert (looked.hits, vault.counts()["get_deleted"]) == (1, 2)
    vault.faults.add(Call(vault.finish_transitions, applied=True), operation="get", times=1)
    await client.recover_deleted_secret("key", _polling_interval=0)
    assert vault.counts()["get"] == 2
    assert vault.names() == ["key"]


async def test_a_recovery_takes_its_time(client: SecretClient, vault: Vault) -> None:
    vault.put("key", "one")
    vault.soft_delete("key")
    vault.set_transition(5)
    vault.recover("key")
    with pytest.raises(ResourceNotFoundError):
        await client.get_secret("key")
    with pytest.raises(ResourceExistsError, match="currently being recovered") as caught:
        await client.set_secret("key", "two")
    assert refusal(caught.value)[2] == "ObjectIsBeingRecovered"
    vault.clock.advance(5)
    await client.set_secret("key", "two")
    assert len(vault.versions("key")) == 2


async def test_a_secret_may_be_readable_before_its_recovery_is_done(
    client: SecretClient, vault: Vault
) -> None:
    vault.put("key", "one")
    vault.soft_delete("key")
    vault.set_transition(None, reads_while_recovering=True)
    await client.recover_deleted_secret("key", _polling_interval=0)
    assert (await client.get_secret("key")).value == "one"
    with pytest.raises(ResourceExistsError):
        await client.set_secret("key", "two")


async def test_a_purged_name_is_free_once_the_purge_is_done(server: KeyVaultServer, vault: Vault) -> None:
    vault.put("key", "one")
    vault.soft_delete("key")
    vault.set_transition(5)
    async with client_of(server, vault, server.new_identity(ALL)) as client:
        await client.purge_deleted_secret("key")
        for missing in (client.get_secret("key"), client.get_deleted_secret("key")):
            with pytest.raises(ResourceNotFoundError):
                await missing
        with pytest.raises(ResourceExistsError, match="currently being deleted") as caught:
            await client.set_secret("key", "two")
        assert refusal(caught.value)[2] == "ObjectIsBeingDeleted"
        vault.clock.advance(5)
        await client.set_secret("key", "two")
    assert [each.value for each in vault.versions("key")] == ["two"]


async def test_a_purge_during_the_deletion_is_refused(server: KeyVaultServer, vault: Vault) -> None:
    vault.put("key", "one")
    vault.set_transition(5)
    vault.soft_delete("key")
    async with client_of(server, vault, server.new_identity(ALL)) as client:
        with pytest.raises(HttpResponseError, match="currently being deleted") as caught:
            await client.purge_deleted_secret("key")
    assert refusal(caught.value)[2] == "ObjectIsBeingDeleted"


async def test_a_deleted_secret_ends_with_its_retention(server: KeyVaultServer) -> None:
    vault = server.new_vault(clock=Clock(NOON.timestamp()), rules=Rules(retention_days=7))
    vault.put("key", "one")
    vault.soft_delete("key")
    async with client_of(server, vault) as client:
        deleted = await client.get_deleted_secret("key")
        assert deleted.properties.recovery_level == "CustomizedRecoverable+Purgeable"
        vault.clock.advance(7 * DAY)
        with pytest.raises(ResourceNotFoundError):
            await client.get_deleted_secret("key")


async def test_nothing_is_purged_with_purge_protection(server: KeyVaultServer) -> None:
    vault = server.new_vault(rules=Rules(purge_protection=True))
    vault.put("key", "one")
    vault.soft_delete("key")
    async with client_of(server, vault, server.new_identity(ALL)) as client:
        with pytest.raises(HttpResponseError, match="purge protection"):
            await client.purge_deleted_secret("key")
    assert vault.deleted_names() == ["key"]
