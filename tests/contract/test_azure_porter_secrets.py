"""Porter's `azure.keyvault` store, read from the stand-in with the real SDK.

Simulates what Porter's plugin leaves: one secret for each value, under the cleaned key. Excludes the login
(test_azure_login) and what a digest tells afterwards (tests/unit/sources).
"""

from __future__ import annotations

import hashlib
import re

import pytest
from azure_world import forget_challenges
from hypothesis import given
from hypothesis import strategies as st

from backends.clients.azure_options import AzureOptions
from backends.clients.surroundings import Surroundings
from backends.contract import FindingLevel
from backends.secret_value import SecretValue
from syncer.core.errors import SourceUnavailable
from syncer.sources.porter.secrets.azure_keyvault import AzureKeyVaultSecrets, secret_name
from tests.servers.keyvault.faults import failed

RUN = "01M85E6N1VWE5YGBMF3XZEJTWQ"
CANARY = "battery staple \N{HEAVY CHECK MARK}\n"


@pytest.fixture
def options(keyvault_server, key_vault, tmp_path) -> AzureOptions:
    forget_challenges()
    auth = {"method": "client-secret", "tenantId": keyvault_server.tenant}
    auth |= {"clientId": keyvault_server.identity.client_id, "clientSecret": {"env": "SECRET"}}
    settings = {
        "vaultUrl": key_vault.url,
        "auth": auth,
        "authority": keyvault_server.authority,
        "caFile": str(keyvault_server.ca_file),
        "verifyChallengeResource": False,
    }
    environ = {"SECRET": keyvault_server.identity.client_secret}
    return AzureOptions.model_validate(settings, context=Surroundings(folder=tmp_path, environ=environ))


@pytest.fixture
async def store(options):
    async with AzureKeyVaultSecrets(options) as opened:
        yield opened


# --- names


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (f"{RUN}-admin-password", f"{RUN}-admin-password"),
        (f"{RUN}-API_TOKEN", f"{RUN}-API-TOKEN"),
        (f"{RUN}-tls/key", f"{RUN}-tls-key"),
        (f"{RUN}-\N{SNOWMAN}", f"{RUN}--"),
        ("x" * 127, "x" * 127),
        ("x" * 128, f"{'x' * 94}-{hashlib.md5(b'x' * 128).hexdigest().upper()}"),
    ],
)
def test_the_names_of_porters_plugin(key, name):
    assert secret_name(key) == name


@given(st.text())
def test_every_key_comes_to_a_name_that_a_vault_takes_or_none_at_all(key):
    assert re.fullmatch("[0-9a-zA-Z-]{0,127}", secret_name(key))
    assert bool(secret_name(key)) == bool(key)


# --- values


async def test_values_are_found_and_what_is_not_there_is_absent(store, key_vault):
    key_vault.put(f"{RUN}-API-TOKEN", CANARY, tags={})
    found = await store.resolve([f"{RUN}-API_TOKEN", f"{RUN}-gone", ""])
    assert found == {
        f"{RUN}-API_TOKEN": SecretValue(CANARY.encode()),
        f"{RUN}-gone": "not in the store",
        "": "not in the store",
    }


async def test_two_keys_of_one_name_are_both_left_unresolved(store, key_vault):
    key_vault.put(f"{RUN}-a-b", CANARY, tags={})
    found = await store.resolve([f"{RUN}-a-b", f"{RUN}-A_B", f"{RUN}-other"])
    assert {key: value for key, value in found.items() if "other" not in key} == {
        f"{RUN}-a-b": f"its secret '{RUN}-a-b' is that of another key too",
        f"{RUN}-A_B": f"its secret '{RUN}-A-B' is that of another key too",
    }


async def test_a_key_with_a_slash_never_names_any_other_secret(store, key_vault):
    key_vault.put("password", CANARY, tags={})
    key = f"{RUN}-https://vault/secrets/password"
    assert await store.resolve([key]) == {key: "not in the store"}


@pytest.mark.parametrize("state", ["disabled", "deleted"])
async def test_what_is_disabled_or_deleted_has_no_value(store, key_vault, state):
    key_vault.put(f"{RUN}-x", CANARY, tags={}, enabled=state != "disabled")
    if state == "deleted":
        key_vault.soft_delete(f"{RUN}-x")
    (answer,) = (await store.resolve([f"{RUN}-x"])).values()
    assert answer == {"disabled": "its secret is disabled", "deleted": "not in the store"}[state]


async def test_a_store_that_cannot_be_asked_is_unavailable_and_never_empty(store, key_vault, keyvault_server):
    key_vault.put(f"{RUN}-x", CANARY, tags={})
    fault = key_vault.faults.add(failed(503), operation="get")
    with pytest.raises(SourceUnavailable, match="status 503"):
        await store.resolve([f"{RUN}-x"])
    key_vault.faults.remove(fault)
    key_vault.permit(keyvault_server.identity, {"list"})
    with pytest.raises(SourceUnavailable, match="the right to get secrets is missing"):
        await store.resolve([f"{RUN}-x"])


async def test_a_check_says_whether_values_could_be_read(store, key_vault, keyvault_server):
    (good,) = await store.check()
    assert (good.level, good.detail) == (FindingLevel.OK, f"key vault {key_vault.url}")
    key_vault.permit(keyvault_server.identity, ())
    (bad,) = await store.check()
    assert bad.level is FindingLevel.ERROR
    assert bad.detail == f"key vault {key_vault.url}: the right to get secrets is missing"


async def test_a_login_that_cannot_be_made_is_unavailable(options, tmp_path):
    auth = {
        "method": "client-certificate",
        "tenantId": "t",
        "clientId": "c",
        "certificate": str(tmp_path / "gone"),
    }
    broken = AzureOptions.model_validate({"vaultUrl": options.vault_url, "auth": auth})
    with pytest.raises(SourceUnavailable, match="secrets: no login by client-certificate"):
        async with AzureKeyVaultSecrets(broken):
            pass
