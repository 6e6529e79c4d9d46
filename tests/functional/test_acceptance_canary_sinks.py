"""No value leaves on its way to Vault and Key Vault but in the requests that write it; nor does a credential.

Simulates servers that quote what they were sent, answer web pages and break off, seen from outside of the
process at debug level. Excludes what the servers keep of the data itself, and memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from backends.azure_keyvault.marks import PREFIX as TAG_PREFIX
from backends.vault.marks import PREFIX
from syncer.core.model import InstallationKey
from tests.functional.acceptance import DumpFolder
from tests.functional.test_acceptance_canary import aviary
from tests.servers.http_proxy import HttpProxy
from tests.servers.http_rules import answer, drop_reply, on, rewrite_reply
from tests.servers.keyvault.faults import Answer, Drop
from tests.unit.sources.porter_world import PLAIN, SENSITIVE, World, bundle

__all__ = ["aviary"]

KEY = InstallationKey("shop", "good")
POLICY = Path(__file__).parents[2] / "examples/vault/policy.hcl"


@pytest.fixture
def proxy(bao_server):
    found = HttpProxy.start(bao_server.url, bao_server.ca_file)
    yield found
    found.stop()


@pytest.fixture
def world(aviary) -> World:
    """An installation with a plain output, a sensitive one, and one that is no text."""
    found = World()
    found.installation(KEY)
    contents = {name: aviary.plant(name).encode() for name in ("plain", "sealed")}
    contents["binary"] = b"\xff" + aviary.plant("binary").encode()
    declares = bundle(plain=PLAIN, sealed=SENSITIVE, binary=PLAIN)
    written = found.run(contents, key=KEY, declares=declares)
    written["sealed"].update(value=None, key=f"{written['run']['_id']}-sealed")
    (aviary.folder / "secrets" / written["sealed"]["key"]).write_bytes(contents["sealed"])
    DumpFolder(folder=aviary.folder / "dump").publish(found.documents)
    return found


@pytest.fixture
def run(aviary, world, bao_server, proxy, keyvault_server, key_vault):
    """A command of the program, heard."""
    mount = bao_server.mount(2)
    token = bao_server.token(POLICY.read_text().replace('path "secret/', f'path "{mount}/'))
    aviary.canaries["the token"] = token
    aviary.canaries["the client secret"] = keyvault_server.identity.client_secret
    config = aviary.folder / "syncer.yaml"
    config.write_text(json.dumps(configuration(aviary.folder, proxy, mount, keyvault_server, key_vault)))
    environ = {"VAULT_TOKEN": token, "AZURE_CLIENT_SECRET": keyvault_server.identity.client_secret}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "syncer", *arguments, "-c", str(config), "--log-level", "debug"]
        done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=100, check=False)
        assert "Traceback" not in done.stderr
        aviary.hear(" ".join(arguments), done.stdout + done.stderr)
        return done.stdout + done.stderr

    run.mount = mount
    return run


def configuration(folder, proxy, mount, entra, vault):
    azure = {
        "kind": "azure-keyvault",
        "vaultUrl": vault.url,
        "caFile": str(entra.ca_file),
        "authority": entra.authority,
        "verifyChallengeResource": False,
        "disableInstanceDiscovery": True,
        "auth": {
            "method": "client-secret",
            "tenantId": entra.tenant,
            "clientId": entra.identity.client_id,
            "clientSecret": {"env": "AZURE_CLIENT_SECRET"},
        },
    }
    bao = {
        "kind": "vault",
        "address": proxy.url,
        "caFile": str(proxy.ca_file),
        "mount": mount,
        "auth": {"method": "token", "token": {"env": "VAULT_TOKEN"}},
    }
    secrets = {"kind": "filesystem", "path": str(folder / "secrets")}
    return {
        "instance": "canary",
        "source": {"kind": "dump", "path": str(folder / "dump"), "secrets": secrets},
        "sinks": [{"name": "vault", **bao}, {"name": "azure", **azure}],
        "rules": [{"name": "all", "targets": [{"sink": "vault"}, {"sink": "azure"}]}],
    }


def hear_the_sinks(aviary, run, bao, proxy, vault) -> None:
    """Everything the servers know but the values: addresses, metadata, tags, logs."""
    for seen in proxy.log:
        aviary.hear("the addresses Vault was asked for", f"{seen.path}?{seen.query}")
    metadata = bao.read(f"{run.mount}/metadata/porter/shop/good")
    assert metadata["custom_metadata"][f"{PREFIX}instance"] == "canary"
    aviary.hear("metadata", json.dumps(metadata))
    aviary.hear("the server's log", bao.log_tail(), bao.audit.path.read_text())
    aviary.hear("the addresses Key Vault was asked for", vault.requests())
    for name in vault.names():
        found = vault.read(name)
        assert found.tags[f"{TAG_PREFIX}instance"] == "canary"
        aviary.hear("tags", json.dumps(dict(found.tags)), name, found.content_type)


def test_nothing_is_said_of_values_and_credentials_when_all_goes_well(
    aviary, run, bao_server, proxy, key_vault
):
    run("plan", "-o", "json")
    assert '"create": 4' in run("once", "-o", "json")
    for command in ("once", "plan", "status", "doctor"):
        run(command)
    hear_the_sinks(aviary, run, bao_server, proxy, key_vault)
    assert aviary.found() == set()
    assert key_vault.read("shop-good-sealed").value == aviary.canaries["sealed"]
    stored = bao_server.read(f"{run.mount}/data/porter/shop/good")["data"]
    assert stored["sealed"] == aviary.canaries["sealed"]


QUOTING = {
    "an error that quotes what was sent": (400, "application/json"),
    "an error of the server's own": (500, "text/plain"),
    "a refusal": (403, "application/json"),
    "a page of somebody else's": (200, "text/html"),
}


@pytest.mark.parametrize(("status", "kind"), QUOTING.values(), ids=QUOTING)
def test_what_servers_quote_is_not_passed_on(aviary, run, proxy, key_vault, status, kind):
    quoted = [aviary.canaries[name] for name in ("plain", "sealed", "the token")]
    body = json.dumps({"errors": quoted, "error": {"code": "BadParameter", "message": " ".join(quoted)}})
    headers = {"Content-Type": kind}
    proxy.rules.add(on("POST", "PATCH", path="/data/"), answer(status, body.encode(), headers))
    key_vault.faults.add(Answer(status, body, content_type=kind), operation="set")
    said = run("once")
    assert "failed" in said
    assert aviary.found() == set()


def test_broken_connections_are_told_without_what_they_carried(aviary, run, proxy, key_vault):
    proxy.rules.add(on("POST", path="/data/"), drop_reply(), times=1)
    key_vault.faults.add(Drop(applied=True), operation="set")
    run("once")
    key_vault.faults.clear()
    proxy.rules.add(
        on("GET", path="/data/"), rewrite_reply(lambda reply: replace(reply, body=reply.body[:-9]))
    )
    run("once")
    assert aviary.found() == set()


def test_credentials_that_are_refused_are_not_named(aviary, run, bao_server, keyvault_server):
    bao_server.revoke(aviary.canaries["the token"])
    keyvault_server.token_service.faults.add(Answer(401, {"error": aviary.canaries["the client secret"]}))
    try:
        said = run("once")
    finally:
        keyvault_server.token_service.faults.clear()
    assert "failed" in said
    run("doctor")
    assert aviary.found() == set()
