from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from azure.core.rest import HttpRequest
from azure.identity.aio import ClientSecretCredential
from azure.keyvault.secrets.aio import SecretClient

from tests.servers.keyvault import Vault


async def test_what_is_planted_is_served_and_what_is_served_is_read(
    client: SecretClient, vault: Vault
) -> None:
    planted = vault.put("key", "theirs", tags={"owner": "them"}, content_type="text/plain", enabled=True)
    served = await client.get_secret("key")
    assert (served.value, served.properties.version) == ("theirs", planted.version)
    await client.set_secret("key", "ours", tags={"owner": "us"})
    latest = vault.read("KEY")
    assert latest is not None
    assert (latest.value, latest.tags) == ("ours", {"owner": "us"})
    vault.set_tags("key", {"owner": "them again"})
    assert (await client.get_secret("key")).properties.tags == {"owner": "them again"}
    assert len(vault.versions("key")) == 2
    assert vault.writes == 1
    assert vault.read("none") is None


async def test_somebody_else_deletes_recovers_and_purges(client: SecretClient, vault: Vault) -> None:
    vault.put("key", "x")
    vault.soft_delete("key")
    gone = vault.deleted("key")
    assert gone is not None
    assert (gone.value, vault.read("key")) == ("x", None)
    vault.recover("key")
    assert (await client.get_secret("key")).value == "x"
    vault.soft_delete("key")
    vault.purge("key")
    await client.set_secret("key", "new")
    assert [each.value for each in vault.versions("key")] == ["new"]
    assert vault.writes == 1


def test_it_runs_in_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "tests.servers.keyvault", "--limits", "--creates", "1"]
    repository = Path(__file__).parents[3]
    with subprocess.Popen(
        command, cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        reach = json.loads(process.stdout.readline())
        secret = Path(reach["client_secret_file"])
        assert oct(secret.stat().st_mode & 0o777) == "0o600"
        found = asyncio.run(write_twice(reach, secret.read_text()))
        assert found == [200, 429]
        process.stdin.write("stats\n")
        process.stdin.flush()
        stats = json.loads(process.stdout.readline())
        assert stats == {"counts": {"set": 2}, "writes": 1, "busiest_set": 2}
        os.kill(process.pid, signal.SIGTERM)
    assert process.returncode == 0
    assert not secret.exists()


async def write_twice(reach: dict[str, str], secret: str) -> list[int]:
    options: dict[str, Any] = {"connection_verify": reach["ca_file"], "retry_total": 0}
    credential = ClientSecretCredential(
        reach["tenant"],
        reach["client_id"],
        secret,
        authority=reach["authority"],
        disable_instance_discovery=True,
        **options,
    )
    client = SecretClient(reach["url"], credential, verify_challenge_resource=False, **options)
    async with credential, client:
        statuses = []
        for _ in range(2):
            sent = client.send_request(HttpRequest("PUT", "/secrets/key", json={"value": "x"}))
            statuses.append((await sent).status_code)
        return statuses
