"""What can be wrong with a vault or azure-keyvault sink, or store: one clear line each, before anything is done.

The real kinds, and an environment made up here. Left out: what the models alone refuse (tests of the sinks).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from syncer.config.errors import ConfigError
from syncer.config.loading import load_config
from syncer.config.model import AzureSecretsConfig, DumpSourceConfig, VaultSecretsConfig

CANARY = "hvs.canary-5f1e"
ENVIRON = {"TOKEN": CANARY, "EMPTY": ""}
VAULT = "address: 'https://v:8200', auth: {method: token, token: {env: TOKEN}}"
AZURE = "vaultUrl: 'https://x.vault.azure.net', auth: {method: managed-identity}"
PRINCIPAL = (
    "kind: azure-keyvault, vaultUrl: 'https://x', "
    "auth: {method: client-secret, tenantId: t, clientId: c, clientSecret: %s}"
)
METHODS = "'token', 'kubernetes', 'approle', 'jwt', 'userpass', 'cert', 'ldap', 'aws', 'azure', 'gcp'"
AZURE_METHODS = "'workload-identity', 'managed-identity', 'client-secret', 'client-certificate', 'azure-cli'"

FILE = """\
instance: test
source: {{kind: dump, path: dump, secrets: {{{secrets}}}}}
sinks: [{{name: out, {sink}}}]
rules: [{{name: a, targets: [{{sink: out{target}}}]}}]
"""

APPROLE = "address: 'https://v:8200', auth: {method: approle, roleId: r}"
SINKS = """\
instance: test
source: {{kind: dump, path: dump, secrets: {{kind: none}}}}
sinks: [{{name: out, {first}}}, {{name: two, {second}}}]
rules: [{{name: a, targets: [{{sink: out}}]}}]
"""


def load(folder: Path, *, sink: str = f"kind: vault, {VAULT}", target: str = "", secrets: str = "kind: none"):
    path = folder / "syncer.yaml"
    path.write_text(FILE.format(sink=sink, target=f", {target}" if target else "", secrets=secrets))
    return load_config(path, ENVIRON)


@pytest.mark.bad_input(44)
@pytest.mark.parametrize(
    ("sink", "place", "message"),
    [
        ("kind: vault, address: 'https://v', auth: {method: oidc}", "auth.method", f"should be one of {METHODS}"),
        ("kind: vault, address: 'https://v', auth: {token: {env: TOKEN}}", "auth.method", "is required"),
        ("kind: vault, address: 'https://v'", "auth", "is required"),
        ("kind: vault, address: 'https://v', auth: {method: token, token: {env: GONE}}", "auth.token",
         "the environment variable GONE is not set"),
        ("kind: vault, address: 'https://v', auth: {method: token, token: {env: EMPTY}}", "auth.token",
         "the environment variable EMPTY is empty"),
        ("kind: vault, address: 'https://v', auth: {method: token, token: {file: gone}}", "auth.token",
         "gone cannot be read: No such file or directory"),
        (f"kind: vault, address: 'https://v', auth: {{method: token, token: {CANARY}}}", "auth.token",
         "secrets are never literals in the file: use {env: NAME} or {file: PATH}"),
        ("kind: vault, address: 'https://v', auth: {method: token}", "auth", "needs token or tokenFile, and not both"),
        ("kind: vault, address: 'https://v', auth: {method: token, token: {env: TOKEN}, rolle: x}", "auth.rolle",
         "unknown setting; there are: method, token, tokenFile"),
        ("kind: vault, address: 'https://v', auth: {method: kubernetes}", "auth.role", "is required"),
        ("kind: vault, address: 'https://v', auth: {method: cert}", "", "auth with method cert needs clientCertificate"),
        ("kind: vault, address: 'http://v', auth: {method: token, token: {env: TOKEN}}", "",
         "the address should be https://; http:// needs insecure: true"),
        ("kind: vault, address: 'v:8200', auth: {method: token, token: {env: TOKEN}}", "address",
         "should be an address such as https://vault.example:8200"),
        ("kind: vault, address: 'https://v/v1/x', auth: {method: token, token: {env: TOKEN}}", "address",
         "should be scheme, host and port only, such as https://vault.example:8200"),
        (f"kind: vault, {VAULT}, mount: 'a/../b'", "mount",
         "should be a path of letters, digits, '-', '_' and '.', without empty parts or '..'"),
        (f"kind: vault, {VAULT}, paths: [a, a/b]", "paths", "a/b is already below, or the same as, a"),
        (f"kind: vault, {VAULT}, paths: []", "paths", "should list at least one path, or be left out"),
        (f"kind: vault, {VAULT}, path: x", "path", "unknown setting; did you mean paths?"),
        ("kind: azure-keyvault, vaultUrl: 'http://x.vault.azure.net', auth: {method: azure-cli}", "vaultUrl",
         "should be an https address, host only, such as https://example.vault.azure.net"),
        ("kind: azure-keyvault, vaultUrl: x, auth: {method: azure-cli}", "vaultUrl",
         "should be an https address, host only, such as https://example.vault.azure.net"),
        ("kind: azure-keyvault, vaultUrl: 'https://x.vault.azure.net', auth: {method: default}", "auth.method",
         f"should be one of {AZURE_METHODS}"),
        (PRINCIPAL % CANARY, "auth.clientSecret",
         "secrets are never literals in the file: use {env: NAME} or {file: PATH}"),
        (PRINCIPAL % "{env: GONE}", "auth.clientSecret", "the environment variable GONE is not set"),
    ],
)  # fmt: skip
def test_one_mistake_of_a_sink_is_one_line_that_names_the_place(tmp_path, sink, place, message):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, sink=sink, target="path: 'porter/{installation}'" if "kind: vault" in sink else "")
    (problem,) = caught.value.problems
    assert problem.field == ".".join(filter(None, ("sinks[0]", place)))
    assert problem.message.removeprefix(f"{tmp_path}/") == message
    assert problem.line == 3
    assert CANARY not in str(caught.value)


@pytest.mark.bad_input(42)
@pytest.mark.parametrize(
    ("sink", "target", "message"),
    [
        (f"kind: vault, {VAULT}", "path: 'porter/../{installation}'", "it has a part '..'"),
        (f"kind: vault, {VAULT}", "path: '/porter/{installation}'", "it has a part ''"),
        (
            f"kind: vault, {VAULT}",
            "path: 'elsewhere/{installation}'",
            "is not below the sink's paths: porter",
        ),
        (f"kind: vault, {VAULT}", "path: 'porter/{password}'", "only these may be used"),
        (f"kind: vault, {VAULT}", "layout: perOutput, path: 'porter/{installation}'", "has to use {output}"),
        (f"kind: vault, {VAULT}", "layout: bundle, path: 'porter/{output}'", "cannot use {output}"),
        (f"kind: azure-keyvault, {AZURE}", "name: '{installation}'", "has to use {output}"),
        (f"kind: azure-keyvault, {AZURE}", "layout: bundle", "unknown setting"),
        (f"kind: azure-keyvault, {AZURE}", "expires: 2027-01-01T00:00:00", "should be a time with its zone"),
        (f"kind: azure-keyvault, {AZURE}", "tags: {outputs.porter.sh/instance: x}", "is reserved"),
    ],
)
def test_a_target_that_leads_astray_is_refused(tmp_path, sink, target, message):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, sink=sink, target=target)
    assert message in str(caught.value)
    assert all(problem.line == 4 for problem in caught.value.problems)


def test_the_stores_of_porters_plugins_can_be_configured(tmp_path):
    vault = load(tmp_path, secrets=f"kind: vault, pathPrefix: secret/porter, {VAULT}, caFile: ca.pem").source
    assert isinstance(vault, DumpSourceConfig)
    assert isinstance(vault.secrets, VaultSecretsConfig)
    assert vault.secrets.path_prefix == "secret/porter"
    assert vault.secrets.connection.ca_file == tmp_path / "ca.pem"
    azure = load(tmp_path, secrets=f"kind: azure-keyvault, {AZURE}").source
    assert isinstance(azure, DumpSourceConfig)
    assert isinstance(azure.secrets, AzureSecretsConfig)
    assert azure.secrets.connection.vault_url == "https://x.vault.azure.net"
    assert CANARY not in f"{vault!r} {azure!r}"


SAME = "is the same place as the sink 'out'"


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        (f"kind: vault, {VAULT}", f"kind: vault, {APPROLE}", True),
        (f"kind: vault, {VAULT}", f"kind: vault, {VAULT}, caFile: ca.pem, serverName: x", True),
        (
            f"kind: vault, {VAULT}",
            "kind: vault, address: 'https://V:8200', auth: {method: approle, roleId: r}",
            True,
        ),
        (f"kind: vault, {VAULT}", f"kind: vault, {VAULT}, paths: [porter/shop]", True),
        (f"kind: vault, {VAULT}", f"kind: vault, {VAULT}, paths: [other]", False),
        (f"kind: vault, {VAULT}", f"kind: vault, {VAULT}, mount: kv", False),
        (f"kind: vault, {VAULT}", f"kind: vault, {VAULT}, namespace: team", False),
        (f"kind: azure-keyvault, {AZURE}", f"kind: azure-keyvault, {AZURE}, authority: AzurePublic", True),
        (
            f"kind: azure-keyvault, {AZURE}",
            f"kind: azure-keyvault, {AZURE.replace('.net', '.net:443')}",
            True,
        ),
        (f"kind: azure-keyvault, {AZURE}", f"kind: azure-keyvault, {AZURE.replace('//x', '//y')}", False),
    ],
)
def test_two_sinks_of_one_place_are_refused_however_they_log_in(tmp_path, first, second, refused):
    path = tmp_path / "syncer.yaml"
    path.write_text(SINKS.format(first=first, second=second))
    if not refused:
        assert len(load_config(path, ENVIRON).sinks) == 2
        return
    with pytest.raises(ConfigError) as caught:
        load_config(path, ENVIRON)
    assert [(problem.field, problem.message) for problem in caught.value.problems] == [("sinks[1]", SAME)]
