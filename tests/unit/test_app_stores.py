"""Which secret store Porter's own configuration leads to, and with which login. Nothing is connected to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from syncer.app import open_source
from syncer.config.loading import load_config
from syncer.core.errors import SourceRefused
from syncer.sources.porter.secrets.azure_keyvault import AzureKeyVaultSecrets
from syncer.sources.porter.secrets.vault import VaultSecrets

TOKEN = "hvs.canary-1d5f"
PRINCIPAL = {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client", "AZURE_CLIENT_SECRET": "canary-77"}


def opened(folder: Path, plugin: str, settings: dict[str, str], environ: dict[str, str] | None = None):
    porter = {
        "default-storage": "db",
        "storage": [{"name": "db", "plugin": "mongodb", "config": {"url": "mongodb://localhost/porter"}}],
        "default-secrets": "store",
        "secrets": [{"name": "store", "plugin": plugin, "config": settings}],
    }
    (folder / "config.json").write_text(json.dumps(porter))
    ours = {
        "instance": "test",
        "source": {"kind": "porter", "home": str(folder)},
        "sinks": [{"name": "out", "kind": "file", "path": "out"}],
        "rules": [{"name": "all", "targets": [{"sink": "out"}]}],
    }
    path = folder / "syncer.yaml"
    path.write_text(json.dumps(ours))
    return open_source(load_config(path, {"VAULT": TOKEN, **(environ or {})})).resolver


def test_the_hashicorp_plugin_is_read_with_porters_own_token(tmp_path):
    settings = {
        "vault_addr": "http://localhost:8200",
        "vault_token": "${env.VAULT}",
        "path_prefix": "secret/porter",
    }
    store = opened(tmp_path, "hashicorp.vault", settings)
    assert isinstance(store, VaultSecrets)
    assert store._where == "secret 'porter' of the KV engine at 'secret'"
    assert TOKEN not in repr(vars(store))


@pytest.mark.parametrize("missing", ["vault_addr", "vault_token", "path_prefix"])
def test_a_hashicorp_plugin_without_a_setting_is_refused_by_its_name(tmp_path, missing):
    settings = {"vault_addr": "http://localhost:8200", "vault_token": TOKEN, "path_prefix": "secret/porter"}
    with pytest.raises(SourceRefused, match=f"have no {missing}"):
        opened(tmp_path, "hashicorp.vault", settings | {missing: ""})


def test_an_address_that_is_none_is_refused(tmp_path):
    settings = {"vault_addr": "localhost", "vault_token": TOKEN, "path_prefix": "secret/porter"}
    with pytest.raises(SourceRefused, match="a vault_addr that is no address") as caught:
        opened(tmp_path, "hashicorp.vault", settings)
    assert TOKEN not in str(caught.value)
    with pytest.raises(SourceRefused, match="no https address"):
        opened(tmp_path, "azure.keyvault", {"vault-url": "http://x"})


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"vault": "mine"}, "https://mine.vault.azure.net"),
        ({"vault": "mine", "vault-url": "https://mine.vault.azure.cn"}, "https://mine.vault.azure.cn"),
    ],
)
@pytest.mark.parametrize("environ", [{}, PRINCIPAL], ids=["az", "service principal"])
def test_the_azure_plugin_logs_in_as_porter_does(tmp_path, settings, url, environ):
    store = opened(tmp_path, "azure.keyvault", settings, environ)
    assert isinstance(store, AzureKeyVaultSecrets)
    options = store._client._options
    assert options.vault_url == url
    assert options.auth.method == ("client-secret" if environ else "azure-cli")
    assert "canary-77" not in repr(options)
