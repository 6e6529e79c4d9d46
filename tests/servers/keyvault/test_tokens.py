from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.identity import CredentialUnavailableError
from azure.identity.aio import (
    CertificateCredential,
    ClientSecretCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)

from tests.servers.keyvault import Clock, KeyVaultServer, Vault
from tests.servers.keyvault.faults import Answer, Drop, failed, web_page
from tests.servers.keyvault.sdk import NOON, SCOPE, Known, client_of, client_with, login, plainly, refusal


async def test_a_request_without_a_token_is_told_where_to_get_one(
    server: KeyVaultServer, vault: Vault
) -> None:
    status, headers, body = await plainly(server, f"{vault.url}/secrets?api-version=7.4")
    assert (status, body["error"]["code"]) == (401, "Unauthorized")
    assert headers["WWW-Authenticate"] == (
        f'Bearer authorization="{server.authority}/{server.tenant}", resource="https://vault.azure.net"'
    )
    assert [(each.status, each.client_id) for each in vault.requests()] == [(401, None)]


async def test_a_token_that_is_wrong_or_for_another_resource_is_refused(
    server: KeyVaultServer, vault: Vault
) -> None:
    for token in ("wrong", server.entra.issue(server.identity, "https://management.azure.com")):
        async with client_with(server, vault, Known(token)) as client:
            with pytest.raises(ClientAuthenticationError):
                await client.get_secret("key")
    assert vault.counts() == {}


async def test_a_token_expires_and_is_refused_when_revoked(vault: Vault) -> None:
    clock = Clock(NOON.timestamp())
    server = KeyVaultServer.start(clock=clock, lifetime=60)
    mine = server.new_vault()
    async with client_of(server, mine) as client:
        await client.set_secret("key", "one")
        clock.advance(60)
        with pytest.raises(ClientAuthenticationError):
            await client.get_secret("key")
    async with client_of(server, mine) as client:
        assert (await client.get_secret("key")).value == "one"
        server.entra.revoke_tokens()
        with pytest.raises(ClientAuthenticationError):
            await client.get_secret("key")
    await asyncio.to_thread(server.stop)


async def test_a_reader_may_only_get_and_list(server: KeyVaultServer, vault: Vault) -> None:
    vault.put("key", "one")
    async with client_of(server, vault, server.reader) as client:
        assert (await client.get_secret("key")).value == "one"
        assert [each.name async for each in client.list_properties_of_secrets()] == ["key"]
        for forbidden in (
            client.set_secret("key", "two"),
            client.update_secret_properties("key", tags={}),
            client.delete_secret("key"),
            client.recover_deleted_secret("key"),
            client.purge_deleted_secret("key"),
        ):
            with pytest.raises(HttpResponseError) as caught:
                await forbidden
            assert refusal(caught.value) == (403, "Forbidden", "AccessDenied")
    assert vault.writes == 0


async def test_permissions_differ_by_vault_and_may_be_refused_in_the_words_of_rbac(
    server: KeyVaultServer, vault: Vault
) -> None:
    other = server.new_vault()
    vault.permit(server.identity, ["list"], rbac=True)
    async with client_of(server, vault) as client:
        with pytest.raises(HttpResponseError, match="Caller is not authorized") as caught:
            await client.get_secret("key")
        assert refusal(caught.value)[2] == "ForbiddenByRbac"
    async with client_of(server, other) as client:
        await client.set_secret("key", "one")
    assert (vault.names(), other.names()) == ([], ["key"])


async def test_a_client_secret_is_proof_and_a_wrong_one_is_not(server: KeyVaultServer, vault: Vault) -> None:
    identity = server.new_identity()
    before = server.entra.requests()
    good = ClientSecretCredential(server.tenant, identity.client_id, identity.client_secret, **login(server))
    async with good, client_with(server, vault, good) as client:
        await client.set_secret("key", "x")
        await client.get_secret("key")
    assert (server.entra.requests() - before) == {"client_secret": 1}
    bad = ClientSecretCredential(server.tenant, identity.client_id, "wrong", **login(server))
    async with bad:
        with pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
            await bad.get_token(SCOPE)


async def test_an_unknown_application_or_tenant_gets_no_token(server: KeyVaultServer) -> None:
    secret = server.identity.client_secret
    for tenant, client_id, number in (
        (server.tenant, "nobody", "AADSTS700016"),
        ("elsewhere", server.identity.client_id, "AADSTS90002"),
    ):
        async with ClientSecretCredential(tenant, client_id, secret, **login(server)) as credential:
            with pytest.raises(ClientAuthenticationError, match=number):
                await credential.get_token(SCOPE)


async def test_a_certificate_is_proof_once_it_is_registered(server: KeyVaultServer, vault: Vault) -> None:
    identity = server.new_identity()
    stranger = server.new_certificate(identity, registered=False)
    known = server.new_certificate(identity)
    good = CertificateCredential(server.tenant, identity.client_id, str(known), **login(server))
    async with good, client_with(server, vault, good) as client:
        await client.set_secret("key", "x")
    for client_id, path in ((identity.client_id, stranger), (server.reader.client_id, known)):
        async with CertificateCredential(server.tenant, client_id, str(path), **login(server)) as bad:
            with pytest.raises(ClientAuthenticationError, match="AADSTS700027"):
                await bad.get_token(SCOPE)


async def test_another_issuers_token_is_proof_if_it_is_accepted(
    server: KeyVaultServer, vault: Vault, tmp_path: Path
) -> None:
    identity = server.new_identity()
    token = tmp_path / "token"
    token.write_text("from-the-cluster")
    server.federate(identity, {"from-the-cluster"})
    options = {"tenant_id": server.tenant, "client_id": identity.client_id, "token_file_path": str(token)}
    good = WorkloadIdentityCredential(**options, **login(server))
    async with good, client_with(server, vault, good) as client:
        await client.set_secret("key", "x")
    token.write_text("from-elsewhere")
    async with WorkloadIdentityCredential(**options, **login(server)) as bad:
        with pytest.raises(ClientAuthenticationError, match="AADSTS70021:"):
            await bad.get_token(SCOPE)


@pytest.mark.parametrize("place", ["imds", "app_service"])
async def test_a_managed_identity_needs_no_proof(
    server: KeyVaultServer, vault: Vault, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    environment = server.imds_environment() if place == "imds" else server.app_service_environment()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    server.assign(server.identity, system=True)
    resource = "/subscriptions/1/userAssignedIdentities/reader"
    server.assign(server.reader, resource_id=resource)
    vault.put("key", "x")
    system = ManagedIdentityCredential()
    async with system, client_with(server, vault, system) as client:
        await client.set_secret("key", "y")
    for user in (
        ManagedIdentityCredential(client_id=server.reader.client_id),
        ManagedIdentityCredential(identity_config={"mi_res_id": resource}),
    ):
        async with user, client_with(server, vault, user) as client:
            assert (await client.get_secret("key")).value == "y"
    assert vault.requests()[-1].client_id == server.reader.client_id
    assert server.entra.requests()["managed"] >= 3


async def test_a_managed_identity_that_was_not_assigned_is_unavailable(
    server: KeyVaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.imds_environment().items():
        monkeypatch.setenv(name, value)
    server.assign(None, system=True)
    for credential in (ManagedIdentityCredential(), ManagedIdentityCredential(client_id="nobody")):
        async with credential:
            with pytest.raises(CredentialUnavailableError, match="Identity not found"):
                await credential.get_token(SCOPE)


async def asks_in_vain(server: KeyVaultServer, *errors: type[Exception]) -> None:
    identity = server.identity
    async with ClientSecretCredential(
        server.tenant, identity.client_id, identity.client_secret, **login(server)
    ) as credential:
        with pytest.raises(errors):
            await credential.get_token(SCOPE)


async def test_the_token_endpoint_fails_on_request(server: KeyVaultServer) -> None:
    faults = server.token_service.faults
    for action in (failed(503), web_page(), Answer(200, {"token_type": "Bearer"})):
        fault = faults.add(action, operation="token", name=server.identity.client_id)
        await asks_in_vain(server, ClientAuthenticationError, HttpResponseError)
        assert fault.hits == 1
        faults.remove(fault)
    faults.add(Drop(), times=1)
    await asks_in_vain(server, ServiceRequestError, ServiceResponseError)


async def test_the_token_endpoint_may_be_down(server: KeyVaultServer) -> None:
    with server.token_endpoint.refusing():
        await asks_in_vain(server, ServiceRequestError)


async def test_the_discovery_documents_lead_to_the_token_endpoint(server: KeyVaultServer) -> None:
    _, _, instance = await plainly(server, f"{server.authority}/common/discovery/instance")
    _, _, configuration = await plainly(server, instance["tenant_discovery_endpoint"])
    assert configuration["token_endpoint"] == f"{server.authority}/{server.tenant}/oauth2/v2.0/token"
