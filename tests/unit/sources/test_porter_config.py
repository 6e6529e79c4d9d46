"""Porter's own configuration file, in both of its formats and three notations.

Reads files written by hand. Excludes connecting to what they name.
"""

from __future__ import annotations

import json

import pytest

from syncer.core.errors import SourceRefused
from syncer.sources.porter.porter_config import (
    FilesystemPlugin,
    HostPlugin,
    KubernetesPlugin,
    read_porter_config,
)

URL = "mongodb://user:p4ss@db.example/porter"
FLAT = {
    "default-storage": "mydb",
    "storage": [{"name": "other"}, {"name": "mydb", "plugin": "mongodb", "config": {"url": URL}}],
    "default-secrets-plugin": "filesystem",
}


def write(home, settings, name="config.json"):
    (home / name).write_text(settings if isinstance(settings, str) else json.dumps(settings))
    return home


def test_without_a_file_porter_uses_its_own_container(tmp_path):
    found = read_porter_config(tmp_path, {})
    assert found.url == "mongodb://localhost:27018/porter"
    assert found.secrets == HostPlugin()


def test_a_flat_file_names_database_and_secrets(tmp_path):
    found = read_porter_config(write(tmp_path, FLAT), {})
    assert found.url == URL
    assert found.secrets == FilesystemPlugin(tmp_path / "secrets")


def test_the_url_is_not_part_of_the_repr(tmp_path):
    assert "p4ss" not in repr(read_porter_config(write(tmp_path, FLAT), {}))


@pytest.mark.parametrize("name", ["config.yaml", "config.yml"])
def test_yaml_is_read(tmp_path, name):
    text = f"default-storage: mydb\nstorage:\n  - name: mydb\n    plugin: storage.porter.mongodb\n    config:\n      url: {URL}\n"
    assert read_porter_config(write(tmp_path, text, name), {}).url == URL


def test_toml_is_read(tmp_path):
    text = f'default-storage = "mydb"\n[[storage]]\nname = "mydb"\nplugin = "mongodb"\n[storage.config]\nurl = "{URL}"\n'
    assert read_porter_config(write(tmp_path, text, "config.toml"), {}).url == URL


CONTEXTS = {
    "schemaVersion": "2.0.0",
    "current-context": "dev",
    "contexts": [
        {"name": "dev", "config": {"default-storage-plugin": "mongodb-docker"}},
        {"name": "prod", "config": FLAT},
        {"name": "default", "config": {"default-secrets-plugin": "filesystem"}},
        {"name": "empty"},
    ],
}


@pytest.mark.parametrize(
    ("context", "environ", "url"),
    [
        (None, {}, "mongodb://localhost:27018/porter"),
        ("prod", {}, URL),
        (None, {"PORTER_CONTEXT": "prod"}, URL),
        ("dev", {"PORTER_CONTEXT": "prod"}, "mongodb://localhost:27018/porter"),
        ("empty", {}, "mongodb://localhost:27018/porter"),
    ],
)
def test_a_context_is_chosen_as_porter_does(tmp_path, context, environ, url):
    assert read_porter_config(write(tmp_path, CONTEXTS), environ, context=context).url == url


def test_the_default_context_is_default(tmp_path):
    settings = {**CONTEXTS, "current-context": ""}
    assert read_porter_config(write(tmp_path, settings), {}).secrets == FilesystemPlugin(tmp_path / "secrets")


def test_the_docker_plugin_has_port_and_database(tmp_path):
    stanza = {"name": "d", "plugin": "mongodb-docker", "config": {"port": 27099, "database": "other"}}
    settings = {"default-storage": "d", "storage": [stanza]}
    assert read_porter_config(write(tmp_path, settings), {}).url == "mongodb://localhost:27099/other"


def test_the_kubernetes_plugin_has_a_namespace(tmp_path):
    stanza = {"name": "k", "plugin": "kubernetes.secrets", "config": {"namespace": "porter"}}
    settings = {"default-secrets": "k", "secrets": [stanza]}
    assert read_porter_config(write(tmp_path, settings), {}).secrets == KubernetesPlugin("porter")
    settings = {"default-secrets-plugin": "kubernetes.secrets"}
    assert read_porter_config(write(tmp_path, settings), {}).secrets == KubernetesPlugin(None)


def test_porters_environment_variables_win(tmp_path):
    environ = {"PORTER_DEFAULT_SECRETS_PLUGIN": "host", "PORTER_DEFAULT_STORAGE": ""}
    found = read_porter_config(write(tmp_path, FLAT), environ)
    assert (found.url, found.secrets) == ("mongodb://localhost:27018/porter", HostPlugin())


def with_url(url, **settings):
    stanza = {"name": "mydb", "plugin": "mongodb", "config": {"url": url}}
    return {"default-storage": "mydb", "storage": [stanza], **settings}


def test_variables_are_filled_in(tmp_path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "mongo-pass").write_text("p4ss")
    settings = with_url(
        "mongodb://${env.DB_USER}:${ secret.mongo-pass }@db.example/porter",
        **{"default-secrets-plugin": "filesystem"},
    )
    assert read_porter_config(write(tmp_path, settings), {"DB_USER": "user"}).url == URL


def test_variables_nobody_uses_do_no_harm(tmp_path):
    settings = {**FLAT, "namespace": "${env.NOWHERE}", "telemetry": {"headers": "${secret.gone}"}}
    assert read_porter_config(write(tmp_path, settings), {}).url == URL


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (with_url("${env.NOWHERE}"), "NOWHERE, which is not set"),
        (with_url("${secret.x}"), "only for the filesystem plugin"),
        (with_url("${secret.x}", **{"default-secrets-plugin": "filesystem"}), "secret x .* cannot be read"),
        (with_url("${env.X | upcase}"), "only env.NAME and secret.NAME"),
        (with_url(""), "no url"),
        (with_url({"$ne": ""}), "no url"),
        ({"default-storage": "gone"}, "does not define it"),
        ({"default-storage": "gone", "storage": "x"}, "does not define it"),
        ({"default-storage-plugin": "etcd"}, "'etcd' is not supported"),
        ({"default-secrets-plugin": "azure.keyvault"}, "neither vault nor vault-url"),
        ({"default-secrets-plugin": "hashicorp.vault"}, "have no vault_addr"),
        ({"default-secrets-plugin": "cyberark"}, "'cyberark' is not supported"),
        (
            {"default-secrets": "v", "secrets": [{"name": "v", "plugin": "hashicorp.vault"}]},
            "hashicorp.vault",
        ),
        ({"schemaVersion": "3.0.0"}, "other than 2.0.0"),
        ({"schemaVersion": "2.0.0"}, "no context 'default'"),
        ({"schemaVersion": "2.0.0", "contexts": 7}, "no context 'default'"),
        ({**CONTEXTS, "current-context": "gone"}, "no context 'gone'"),
        ("[]", "holds no settings"),
        ("{\n\n", "config.json, line 3, cannot be parsed"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(tmp_path, settings, why):
    with pytest.raises(SourceRefused, match=why):
        read_porter_config(write(tmp_path, settings), {})


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("config.yaml", "a: [", r"config\.yaml, line 1,"),
        ("config.yaml", "a: !!python/object:os.system {}", "cannot be parsed"),
        ("config.toml", "a = ", r"config\.toml"),
        ("config.hcl", "a = 1", "HCL is not read"),
    ],
)
def test_files_that_cannot_be_parsed_are_named(tmp_path, name, text, why):
    with pytest.raises(SourceRefused, match=why):
        read_porter_config(write(tmp_path, text, name), {})


def test_an_empty_file_is_no_settings(tmp_path):
    assert read_porter_config(write(tmp_path, "", "config.yaml"), {}).secrets == HostPlugin()


def test_a_context_without_contexts_is_refused(tmp_path):
    with pytest.raises(SourceRefused, match="no contexts"):
        read_porter_config(write(tmp_path, FLAT), {}, context="prod")


def test_a_home_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SourceRefused, match="no folder"):
        read_porter_config(tmp_path / "gone", {})


def test_no_message_quotes_a_secret_of_the_file(tmp_path):
    (tmp_path / "config.yaml").write_text(f"url: {URL}\nbroken: [")
    with pytest.raises(SourceRefused) as caught:
        read_porter_config(tmp_path, {})
    assert "p4ss" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
