"""docs/push-secret.md, tried: its example and its warnings, with external-secrets' own reconcilers.

The manifests and the configuration are those of the page; only addresses, namespaces, intervals and the login to Vault
are the test's. Excludes other providers than Vault and Kubernetes, and what the page says of other versions.
"""

from __future__ import annotations

import base64
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from backends.contract import Owner
from backends.kubernetes_secret.marks import found_fields
from backends.marking import parse_mark
from syncer.cli import main
from tests.docs.pages import ROOT, Block, blocks_of
from tests.servers import external_secrets
from tests.servers.kubernetes import KubeCluster
from tests.servers.lacking import provided
from tests.servers.openbao import BaoServer

Json = dict[str, Any]

PAGE = ROOT / "docs" / "push-secret.md"
QUICKSTART = ROOT / "examples" / "quickstart"
API, STORE_API = "external-secrets.io/v1alpha1", "external-secrets.io/v1"
SOURCE, REMOTE = "orders-db-for-partners", "shop/orders-db"
FORMER, LATER = "battery staple", "Tr0ub4dor&3-v3"
"""The password of the dump, and of the later one."""
THEIRS = {"managed-by": "external-secrets"}
SECONDS = 20
VERBS = ["get", "list", "create", "update", "delete"]

# The first test may have to build the controller, with all its providers.
pytestmark = pytest.mark.timeout(2400)


def block(language: str, start: str) -> Block:
    """The page's block that begins like this."""
    (found,) = (one for one in blocks_of(PAGE) if one.language == language and one.first.startswith(start))
    return found


CONFIGURATION: Json = yaml.safe_load(block("yaml", "sinks:").text)
STORE, PUSH = yaml.safe_load_all(block("yaml", "apiVersion:").text)
BY_LABEL: Json = yaml.safe_load(block("yaml", "selector:").text)["selector"]
(POLICY,) = re.findall(r"<<'EOF'\n(.*)EOF", block("sh", "vault policy write").text, re.DOTALL)


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def encoded(data: Mapping[str, bytes]) -> dict[str, str]:
    return {key: base64.b64encode(content).decode() for key, content in data.items()}


@pytest.fixture(scope="module")
def carrier(kube_cluster: KubeCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeCluster]:
    """A cluster in which external-secrets' reconcilers run."""
    for definition in provided(external_secrets.definitions):
        kube_cluster.install(definition)
    with external_secrets.running(kube_cluster, tmp_path_factory.mktemp("external-secrets")):
        yield kube_cluster


@dataclass(frozen=True, kw_only=True)
class Partners:
    """The namespace `shop` by another name, the syncer's configuration, and the partners' Vault."""

    folder: Path
    cluster: KubeCluster
    space: str
    bao: BaoServer
    mount: str

    # --- the syncer

    def sync(self, *command: str, **sinks: Json) -> int:
        """`syncer once`, or another command; `sinks` are rules' targets by name of more sinks."""
        return main([*(command or ("once",)), "-c", str(self._configured(sinks))])

    def _configured(self, more: Mapping[str, Json]) -> Path:
        (cluster,), (rule,) = CONFIGURATION["sinks"], CONFIGURATION["rules"]
        kubernetes = {
            **cluster,
            "kubeconfig": str(self.cluster.kubeconfig("syncer")),
            "namespaces": [self.space],
        }
        vault: Json = {
            "name": "vault",
            "kind": "vault",
            "address": self.bao.url,
            "caFile": str(self.bao.ca_file),
        }
        vault |= {"mount": self.mount, "paths": ["shop"]}
        vault |= {"auth": {"method": "token", "token": {"file": str(self._root_token())}}}
        document = {
            "instance": self.space,
            "namespaces": {"shop": self.space},
            "source": {
                "kind": "dump",
                "path": str(self.folder / "dump"),
                "secrets": {"kind": "filesystem", "path": str(QUICKSTART / "secrets")},
            },
            "guard": {"grace": "1ms"},
            "sinks": [kubernetes, *([vault] if more else [])],
            "rules": [{**rule, "targets": [*rule["targets"], *more.values()]}],
        }
        path = self.folder / "syncer.yaml"
        path.write_text(yaml.safe_dump(document))
        return path

    def _root_token(self) -> Path:
        path = self.folder / "token"
        path.write_text(self.bao.root_token)
        path.chmod(0o600)
        return path

    def upgrade(self) -> None:
        """What Porter does to `orders-db` between the two dumps."""
        shutil.copytree(QUICKSTART / "later", self.folder / "dump", dirs_exist_ok=True)

    # --- external-secrets

    def store(self) -> None:
        """The page's SecretStore, with a login by token."""
        token = self.bao.token(POLICY.replace('path "secret/', f'path "{self.mount}/'))
        self.secret("login", {"token": token.encode()})
        vault = {**STORE["spec"]["provider"]["vault"], "server": self.bao.url, "path": self.mount}
        vault["caBundle"] = base64.b64encode(self.bao.ca_file.read_bytes()).decode()
        vault["auth"] = {"tokenSecretRef": {"name": "login", "key": "token"}}
        self.apply({**STORE, "spec": {"provider": {"vault": vault}}})

    def push(self, **spec: object) -> None:
        """The page's PushSecret, looking again and again."""
        self.apply({**PUSH, "spec": {**PUSH["spec"], "refreshInterval": "1s", **spec}})

    def apply(self, manifest: Mapping[str, Any]) -> None:
        self.cluster.admin.apply({**manifest, "metadata": {**manifest["metadata"], "namespace": self.space}})

    def secret(self, name: str, data: Mapping[str, bytes], **labels: str) -> None:
        """Somebody else's Secret."""
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "labels": labels},
                "data": encoded(data),
            }
        )

    def told(self) -> str:
        """What the PushSecret says of itself."""
        found = self.cluster.admin.get(API, "PushSecret", PUSH["metadata"]["name"], self.space) or {}
        conditions = found.get("status", {}).get("conditions", [{}])
        return f"{conditions[0].get('status')} {conditions[0].get('message')}"

    def stop_pushing(self) -> None:
        name = PUSH["metadata"]["name"]
        self.cluster.admin.delete(API, "PushSecret", name, self.space)
        until(lambda: self.cluster.admin.get(API, "PushSecret", name, self.space) is None)

    # --- the partners' Vault

    def remote(self, version: int = 0) -> dict[str, str] | None:
        """What is at the example's key: the newest version, or one by its number."""
        answer = self.bao.send("GET", f"{self.mount}/data/{REMOTE}", version=str(version))
        return answer.data["data"] if answer.status == 200 else None

    def metadata(self) -> dict[str, str]:
        found = self.bao.read(f"{self.mount}/metadata/{REMOTE}")
        return (found or {}).get("custom_metadata") or {}


@pytest.fixture
def partners(tmp_path: Path, carrier: KubeCluster, bao_server: BaoServer) -> Iterator[Partners]:
    space = f"push-{secrets.token_hex(4)}"
    carrier.admin.create_namespace(space)
    carrier.grant("syncer", [{"apiGroups": [""], "resources": ["secrets"], "verbs": VERBS}], space)
    shutil.copytree(QUICKSTART / "dump", tmp_path / "dump")
    made = Partners(folder=tmp_path, cluster=carrier, space=space, bao=bao_server, mount=bao_server.mount(2))
    made.store()
    yield made
    made.push(deletionPolicy="None")
    made.stop_pushing()


# --- the example


def test_the_page_names_the_version_that_is_tried() -> None:
    words = " ".join(PAGE.read_text().split())
    assert f"version {external_secrets.version().removeprefix('v')}, against" in words


def test_the_example_carries_the_secret_on_and_leaves_it_as_it_is(partners: Partners) -> None:
    assert partners.sync() == 0
    written = partners.cluster.admin.secret(partners.space, SOURCE)
    partners.push()
    until(partners.remote)
    assert partners.remote() == {"host": "orders-db-2.shop.internal", "password": FORMER}
    assert partners.told() == "True PushSecret synced successfully"
    assert partners.cluster.admin.secret(partners.space, SOURCE) == written
    assert partners.sync("plan") == 0


def test_the_label_of_the_example_selects_the_same(partners: Partners) -> None:
    partners.sync()
    partners.secret("other", {"password": b"not this one"})
    partners.push(selector=BY_LABEL)
    until(partners.remote)
    assert (partners.remote() or {})["password"] == FORMER


# --- selecting by the syncer's own labels


def test_all_that_a_label_selects_is_written_to_one_place(partners: Partners) -> None:
    ours = {"outputs.porter.sh/instance": partners.space}
    partners.secret("another", {"password": b"of another installation"}, **ours)
    partners.sync()
    partners.push(selector={"secret": {"selector": {"matchLabels": ours}}})
    until(lambda: partners.remote(2))
    passwords = {(partners.remote(version) or {}).get("password") for version in (1, 2)}
    assert {"of another installation", FORMER} == passwords


def test_this_version_looks_in_all_namespaces(partners: Partners) -> None:
    label = {"partners.example/carry-on": secrets.token_hex(4)}
    elsewhere = f"{partners.space}-elsewhere"
    partners.cluster.admin.create_namespace(elsewhere)
    metadata = {"name": "theirs", "namespace": elsewhere, "labels": label}
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded({"x": b"theirs"})}
    partners.cluster.admin.apply(manifest)
    partners.push(selector={"secret": {"selector": {"matchLabels": label}}})
    until(lambda: partners.remote() == {"x": "theirs"})


# --- changes


def test_an_update_arrives_with_the_next_look_and_an_annotation_makes_it_look(partners: Partners) -> None:
    partners.sync()
    partners.push(refreshInterval="1h")
    until(partners.remote)
    partners.upgrade()
    partners.sync()
    assert (partners.remote() or {})["password"] == FORMER
    metadata = {**PUSH["metadata"], "annotations": {"partners.example/look": "now"}}
    partners.apply({**PUSH, "metadata": metadata, "spec": {**PUSH["spec"], "refreshInterval": "1h"}})
    until(lambda: (partners.remote() or {})["password"] == LATER)


def test_a_secret_that_goes_leaves_the_remote_one_until_the_push_secret_goes(partners: Partners) -> None:
    partners.sync()
    partners.push()
    until(partners.remote)
    partners.cluster.admin.delete("v1", "Secret", SOURCE, partners.space)
    until(lambda: partners.told() == "False could not get source secret")
    assert (partners.remote() or {})["password"] == FORMER
    partners.stop_pushing()
    assert partners.remote() is None


def test_without_a_deletion_policy_the_remote_secret_stays(partners: Partners) -> None:
    partners.sync()
    spec = {name: value for name, value in PUSH["spec"].items() if name != "deletionPolicy"}
    partners.apply({**PUSH, "spec": spec})
    until(partners.remote)
    partners.stop_pushing()
    assert (partners.remote() or {})["password"] == FORMER


# --- two writers

VAULT_TARGET = {"sink": "vault", "path": "shop/{installation}"}


def test_a_secret_of_our_vault_sink_is_left_alone(partners: Partners) -> None:
    assert partners.sync(vault=VAULT_TARGET) == 0
    before, mark = partners.remote(), partners.metadata()
    assert (before or {})["admin-password"] == FORMER
    partners.push()
    until(lambda: partners.told().startswith("False"))
    assert "secret not managed by external-secrets" in partners.told()
    assert (partners.remote(), partners.metadata()) == (before, mark)


def test_what_it_wrote_is_a_conflict_for_us(partners: Partners, capsys: pytest.CaptureFixture[str]) -> None:
    partners.sync()
    partners.push()
    until(partners.remote)
    before = partners.remote()
    assert partners.sync(vault=VAULT_TARGET) == 4
    assert "not ours: no mark" in capsys.readouterr().out
    assert (partners.remote(), partners.metadata()) == (before, THEIRS)


def test_adopting_what_it_wrote_ends_in_two_that_undo_each_other(partners: Partners) -> None:
    partners.sync()
    partners.push(refreshInterval="1h")
    until(partners.remote)
    pushed = partners.remote()
    partners.sync(vault={**VAULT_TARGET, "conflictPolicy": "Adopt"})
    assert THEIRS.items() < partners.metadata().items()
    assert partners.remote() != pushed
    partners.push()
    until(lambda: partners.metadata() == THEIRS)
    until(lambda: partners.remote() == pushed)


# --- Kubernetes as the store, and bytes


def test_a_copy_in_kubernetes_takes_our_mark_along_and_is_not_ours(partners: Partners) -> None:
    partners.sync()
    partners.secret("copy", {"mine": b"somebody else's"})
    partners.secret("cluster", {"token": partners.cluster.tokens["admin"].encode()})
    server = {
        "url": partners.cluster.url,
        "caBundle": base64.b64encode(partners.cluster.ca_file.read_bytes()).decode(),
    }
    login = {"token": {"bearerToken": {"name": "cluster", "key": "token"}}}
    provider = {"kubernetes": {"server": server, "auth": login, "remoteNamespace": partners.space}}
    partners.apply({**STORE, "spec": {"provider": provider}})
    partners.push(data=[{"match": {"remoteRef": {"remoteKey": "copy"}}}], deletionPolicy="None")
    until(lambda: "password" in found(partners, "copy")["data"])
    mark = found_fields(found(partners, "copy")["metadata"]["annotations"])
    owner = Owner(instance=partners.space, source="any")
    assert parse_mark(mark, f"{partners.space}/{SOURCE}", owner)[1] is None
    _, foreign = parse_mark(mark, f"{partners.space}/copy", owner)
    assert str(foreign).startswith("its mark names another address")
    assert partners.sync("plan") == 0


def found(partners: Partners, name: str) -> Json:
    secret = partners.cluster.admin.secret(partners.space, name)
    assert secret is not None
    return secret


def test_bytes_that_are_no_text_are_spoiled(partners: Partners) -> None:
    partners.secret(SOURCE, {"keystore": b"\xfe\xed"})
    partners.push()
    until(partners.remote)
    assert partners.remote() == {"keystore": "\ufffd\ufffd"}
