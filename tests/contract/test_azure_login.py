"""Every way to log in to Azure, against a stand-in for Entra and for managed identities.

`az` itself cannot be had here: a program of that name that prints what it would stands in.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from pathlib import Path

import pytest
from azure_world import (
    NAME,
    by_secret,
    environment,
    failing,
    options_of,
    planted,
    read,
)
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509 import load_pem_x509_certificates

from backends.clients.azure import KeyVaultClient
from backends.errors import AuthenticationFailed, SinkUnavailable
from tests.servers.keyvault.faults import Answer, Hold, failed
from tests.servers.keyvault.tokens import WRITE

__all__ = ["environment", "planted"]  # fixtures

SERVICE_ACCOUNT_TOKEN = "service-account-token-of-the-kubelet"


def callers(vault) -> set[str | None]:
    return {request.client_id for request in vault.requests() if request.status == 200}


# --- client secret


async def test_a_client_secret_logs_in(keyvault_server, planted):
    auth, secret = by_secret(keyvault_server)
    assert await read(options_of(keyvault_server, planted, auth, secret=secret)) == "value"
    assert callers(planted) == {keyvault_server.identity.client_id}


async def test_many_requests_at_once_ask_for_one_token(keyvault_server, planted):
    auth, secret = by_secret(keyvault_server)
    before = keyvault_server.entra.requests()["client_secret"]
    async with KeyVaultClient(options_of(keyvault_server, planted, auth, secret=secret)) as client:
        await asyncio.gather(*(client.get(NAME) for _ in range(20)))
    assert keyvault_server.entra.requests()["client_secret"] == before + 1


async def test_a_wrong_secret_is_refused_and_not_shown(keyvault_server, planted, caplog):
    caplog.set_level(logging.DEBUG)
    auth, _ = by_secret(keyvault_server)
    options = options_of(keyvault_server, planted, auth, secret="canary-wrong-secret")
    error = await failing(options, AuthenticationFailed, "canary-wrong-secret")
    assert error.reason == "the login was refused"
    assert "canary-wrong-secret" not in caplog.text
    assert "canary-wrong-secret" not in repr(options)


async def test_a_tenant_that_is_not_there_is_refused(keyvault_server, planted):
    auth, secret = by_secret(keyvault_server)
    options = options_of(keyvault_server, planted, auth | {"tenantId": "nowhere.example"}, secret=secret)
    error = await failing(options, AuthenticationFailed)
    assert error.reason == "the login was refused"


async def test_who_waits_for_a_login_that_fails_shares_its_failure(keyvault_server, planted):
    auth, _ = by_secret(keyvault_server)
    before = keyvault_server.entra.requests()["client_secret"]
    async with KeyVaultClient(options_of(keyvault_server, planted, auth, secret="wrong")) as client:
        logins = [client._login.get_token_info("https://vault.azure.net/.default") for _ in range(20)]
        outcomes = await asyncio.gather(*logins, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {AuthenticationFailed}
    assert keyvault_server.entra.requests()["client_secret"] == before + 1


async def test_many_requests_whose_token_is_revoked_share_a_new_one(keyvault_server, planted):
    auth, secret = by_secret(keyvault_server)
    async with KeyVaultClient(options_of(keyvault_server, planted, auth, secret=secret)) as client:
        await client.get(NAME)
        before = keyvault_server.entra.requests()["client_secret"]
        keyvault_server.entra.revoke_tokens()
        await asyncio.gather(*(client.get(NAME) for _ in range(20)))
        assert keyvault_server.entra.requests()["client_secret"] == before + 1


async def test_tokens_that_are_never_accepted_are_not_asked_for_again_and_again(keyvault_server, planted):
    auth, secret = by_secret(keyvault_server)
    before = keyvault_server.entra.requests()["client_secret"]
    where = f"{keyvault_server.authority}/{keyvault_server.tenant}"
    challenge = f'Bearer authorization="{where}", resource="https://vault.azure.net"'
    planted.faults.add(Answer(401, headers={"WWW-Authenticate": challenge}))
    async with KeyVaultClient(options_of(keyvault_server, planted, auth, secret=secret)) as client:
        for _ in range(5):
            with pytest.raises(AuthenticationFailed) as caught:
                await client.get(NAME)
            assert "is it of the vault's tenant?" in caught.value.reason
    assert keyvault_server.entra.requests()["client_secret"] <= before + 2


# --- client certificate


async def test_a_certificate_logs_in_and_is_read_anew_when_it_is_refused(keyvault_server, planted, tmp_path):
    identity = keyvault_server.new_identity(WRITE)
    path = tmp_path / "client.pem"
    shutil.copy(keyvault_server.new_certificate(identity, registered=False), path)
    auth = {
        "method": "client-certificate",
        "tenantId": keyvault_server.tenant,
        "clientId": identity.client_id,
        "certificate": str(path),
    }
    async with KeyVaultClient(options_of(keyvault_server, planted, auth)) as client:
        with pytest.raises(AuthenticationFailed):
            await client.get(NAME)
        shutil.copy(keyvault_server.new_certificate(identity), path)
        assert await client.get(NAME) is not None
    assert callers(planted) == {identity.client_id}


async def test_a_certificate_may_have_a_password(keyvault_server, planted, tmp_path):
    identity = keyvault_server.new_identity(WRITE)
    pem = keyvault_server.new_certificate(identity).read_bytes()
    key = serialization.load_pem_private_key(pem, None)
    path = tmp_path / "client.pfx"
    sealed = serialization.BestAvailableEncryption(b"canary-password")
    certificate = load_pem_x509_certificates(pem)[0]
    path.write_bytes(pkcs12.serialize_key_and_certificates(b"client", key, certificate, None, sealed))
    auth = {
        "method": "client-certificate",
        "tenantId": keyvault_server.tenant,
        "clientId": identity.client_id,
        "certificate": str(path),
        "password": {"env": "SECRET"},
    }
    assert await read(options_of(keyvault_server, planted, auth, secret="canary-password")) == "value"
    error = await failing(
        options_of(keyvault_server, planted, auth, secret="canary-wrong"),
        AuthenticationFailed,
        "canary-wrong",
    )
    assert str(path) in error.reason


async def test_a_certificate_that_is_not_there_is_told_when_the_client_opens(
    keyvault_server, planted, tmp_path
):
    auth = {
        "method": "client-certificate",
        "tenantId": keyvault_server.tenant,
        "clientId": "client",
        "certificate": str(tmp_path / "none.pem"),
    }
    error = await failing(options_of(keyvault_server, planted, auth), AuthenticationFailed)
    assert "none.pem" in error.reason
    assert planted.requests() == ()


# --- workload identity


@pytest.fixture
def federated(keyvault_server, tmp_path):
    identity = keyvault_server.new_identity(WRITE)
    keyvault_server.federate(identity, {SERVICE_ACCOUNT_TOKEN})
    path = tmp_path / "token"
    path.write_text(SERVICE_ACCOUNT_TOKEN)
    return identity, path


async def test_a_workload_identity_logs_in(keyvault_server, planted, federated, environment):
    identity, path = federated
    auth = {"method": "workload-identity", "tenantId": keyvault_server.tenant}
    auth |= {"clientId": identity.client_id, "tokenFile": str(path)}
    assert await read(options_of(keyvault_server, planted, auth)) == "value"
    assert callers(planted) == {identity.client_id}


async def test_what_the_webhook_injects_is_the_default(keyvault_server, planted, federated, environment):
    identity, path = federated
    environment.setenv("AZURE_CLIENT_ID", identity.client_id)
    environment.setenv("AZURE_TENANT_ID", keyvault_server.tenant)
    environment.setenv("AZURE_FEDERATED_TOKEN_FILE", str(path))
    environment.setenv("AZURE_AUTHORITY_HOST", keyvault_server.authority)
    options = options_of(keyvault_server, planted, {"method": "workload-identity"}, authority=None)
    assert await read(options) == "value"
    assert callers(planted) == {identity.client_id}


async def test_without_them_the_login_says_what_is_missing(keyvault_server, planted, environment):
    options = options_of(keyvault_server, planted, {"method": "workload-identity"})
    error = await failing(options, AuthenticationFailed)
    assert "tenantId, clientId and tokenFile" in error.reason
    assert planted.requests() == ()


async def test_a_token_file_that_vanished_is_no_login(keyvault_server, planted, federated, environment):
    identity, path = federated
    auth = {"method": "workload-identity", "tenantId": keyvault_server.tenant}
    auth |= {"clientId": identity.client_id, "tokenFile": str(path)}
    path.unlink()
    await failing(options_of(keyvault_server, planted, auth), AuthenticationFailed, SERVICE_ACCOUNT_TOKEN)


# --- managed identity


@pytest.fixture(params=["IMDS", "App Service"])
def machine(request, keyvault_server, environment):
    imds = request.param == "IMDS"
    found = keyvault_server.imds_environment() if imds else keyvault_server.app_service_environment()
    for name, value in found.items():
        environment.setenv(name, value)


async def test_the_systems_identity_logs_in(keyvault_server, planted, machine):
    identity = keyvault_server.new_identity(WRITE)
    keyvault_server.assign(identity, system=True)
    assert await read(options_of(keyvault_server, planted, {"method": "managed-identity"})) == "value"
    assert callers(planted) == {identity.client_id}


@pytest.mark.parametrize("by", ["clientId", "resourceId"])
async def test_a_user_assigned_identity_logs_in(keyvault_server, planted, machine, by):
    identity, resource = keyvault_server.new_identity(WRITE), "/subscriptions/s/resourceGroups/g/id"
    keyvault_server.assign(identity, resource_id=resource)
    auth = {"method": "managed-identity", by: identity.client_id if by == "clientId" else resource}
    assert await read(options_of(keyvault_server, planted, auth)) == "value"
    assert callers(planted) == {identity.client_id}


async def test_an_identity_that_is_not_assigned_is_refused(keyvault_server, planted, machine):
    auth = {"method": "managed-identity", "clientId": "nobody"}
    await failing(options_of(keyvault_server, planted, auth), AuthenticationFailed)


@pytest.mark.fault(52)
async def test_a_machine_that_does_not_answer_is_unavailable(keyvault_server, planted, machine):
    keyvault_server.assign(keyvault_server.new_identity(WRITE), system=True)
    options = options_of(keyvault_server, planted, {"method": "managed-identity"}, requestTimeout="300ms")
    keyvault_server.managed_service.faults.add(failed(503))
    await failing(options, SinkUnavailable)
    keyvault_server.managed_service.faults.clear()
    with keyvault_server.managed_endpoint.refusing():
        await failing(options, SinkUnavailable)
    keyvault_server.managed_service.faults.add(Hold())
    error = await failing(options, SinkUnavailable)
    assert error.reason == "log in: there was no answer in time"


# --- az


def fake_az(folder: Path, script: str) -> None:
    program = folder / "az"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


async def test_whoever_az_is_logged_in_as_logs_in(keyvault_server, planted, environment, tmp_path):
    token = keyvault_server.entra.issue(keyvault_server.reader)
    answer = json.dumps({"accessToken": token, "expires_on": 4102444800, "tokenType": "Bearer"})
    (tmp_path / "answer").write_text(answer)
    fake_az(tmp_path, f"echo $@ >{tmp_path}/asked; cat {tmp_path}/answer")
    environment.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    auth = {"method": "azure-cli", "tenantId": keyvault_server.tenant}
    assert await read(options_of(keyvault_server, planted, auth)) == "value"
    assert callers(planted) == {keyvault_server.reader.client_id}
    assert f"--tenant {keyvault_server.tenant}" in (tmp_path / "asked").read_text()


@pytest.mark.parametrize("script", ["echo 'Please run az login' >&2; exit 1", "echo canary-token", None])
async def test_an_az_without_a_token_is_no_login(keyvault_server, planted, environment, tmp_path, script):
    if script:
        fake_az(tmp_path, script)
    environment.setenv("PATH", str(tmp_path) if script is None else f"{tmp_path}:/usr/bin:/bin")
    await failing(
        options_of(keyvault_server, planted, {"method": "azure-cli"}), AuthenticationFailed, "canary-token"
    )
