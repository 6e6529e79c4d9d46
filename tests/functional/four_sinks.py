"""The example `examples/four-sinks.yaml` with the addresses of the tests' own servers, and what is in each sink."""

from __future__ import annotations

import base64
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.servers.keyvault import KeyVaultServer, Vault
from tests.servers.kubernetes import KubeCluster
from tests.servers.openbao import BaoServer
from tests.servers.processes import free_port

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/four-sinks.yaml"
SINKS = ("azure", "cluster", "local", "vault")

Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Estate:
    """Four places, empty at first; Porter's namespace `shop` goes to the Kubernetes namespace `space`."""

    folder: Path
    cluster: KubeCluster
    space: str
    bao: BaoServer
    mount: str
    entra: KeyVaultServer
    vault: Vault
    environ: dict[str, str]

    @classmethod
    def make(cls, folder: Path, cluster: KubeCluster, bao: BaoServer, entra: KeyVaultServer) -> Estate:
        space, mount, vault = f"four-{secrets.token_hex(4)}", bao.mount(2), entra.new_vault()
        cluster.admin.create_namespace(space)
        verbs = ["get", "list", "create", "update", "delete"]
        cluster.grant("syncer", [{"apiGroups": [""], "resources": ["secrets"], "verbs": verbs}], space)
        shutil.copytree(ROOT / "examples/quickstart/dump", folder / "dump")
        policy = (ROOT / "examples/vault/policy.hcl").read_text().replace('path "secret/', f'path "{mount}/')
        environ = {"VAULT_TOKEN": bao.token(policy), "AZURE_CLIENT_SECRET": entra.identity.client_secret}
        return cls(
            folder=folder,
            cluster=cluster,
            space=space,
            bao=bao,
            mount=mount,
            entra=entra,
            vault=vault,
            environ=environ,
        )

    @property
    def dump(self) -> Path:
        return self.folder / "dump"

    def document(self) -> Document:
        """The example, with what every user changes in it changed."""
        found: Document = yaml.safe_load(EXAMPLE.read_text())
        found["namespaces"] = {"shop": self.space}
        found["source"]["path"] = str(self.dump)
        found["guard"] = {"grace": "1ms"}
        found["source"]["secrets"]["path"] = str(ROOT / "examples/quickstart/secrets")
        sinks = {sink["name"]: sink for sink in found["sinks"]}
        sinks["cluster"] |= {
            "kubeconfig": str(self.cluster.kubeconfig("syncer")),
            "namespaces": [self.space],
        }
        sinks["vault"] |= {
            "address": self.bao.url,
            "caFile": str(self.bao.ca_file),
            "mount": self.mount,
            "auth": {"method": "token", "token": {"env": "VAULT_TOKEN"}},
        }
        sinks["azure"] |= {
            "vaultUrl": self.vault.url,
            "caFile": str(self.entra.ca_file),
            "authority": self.entra.authority,
            "verifyChallengeResource": False,
            "disableInstanceDiscovery": True,
        }
        sinks["azure"]["auth"] |= {
            "tenantId": self.entra.tenant,
            "clientId": self.entra.identity.client_id,
        }
        return found

    def configure(self, change: Callable[[Mapping[str, Document]], None] = lambda _: None) -> Path:
        """Writes the configuration; `change` is handed its sinks by name."""
        found = self.document()
        change({sink["name"]: sink for sink in found["sinks"]})
        path = self.folder / "syncer.yaml"
        path.write_text(yaml.safe_dump(found))
        return path

    # --- what is where

    def contents(self) -> dict[str, dict[str, bytes]]:
        """Every sink's outputs of shop/orders-db, by the names applications know them by."""
        return {
            "azure": self.in_azure(),
            "cluster": self.in_cluster(),
            "local": self.in_files(),
            "vault": self.in_vault(),
        }

    def in_cluster(self) -> dict[str, bytes]:
        found = self.cluster.admin.secret(self.space, "orders-db-outputs")
        data = (found or {}).get("data") or {}
        return {key: base64.b64decode(text) for key, text in data.items()}

    def in_vault(self) -> dict[str, bytes]:
        found = self.bao.read(f"{self.mount}/data/porter/{self.space}/orders-db")
        return {key: text.encode() for key, text in (found or {}).get("data", {}).items()}

    def in_azure(self) -> dict[str, bytes]:
        """NB: a key vault takes no dots, so `ca.crt` is `ca-crt` there."""
        start = f"{self.space}-orders-db-"
        names = {name: name.removeprefix(start).replace("ca-crt", "ca.crt") for name in self.vault.names()}
        found = {output: self.vault.read(name) for name, output in names.items()}
        return {output: version.value.encode() for output, version in found.items() if version is not None}

    def in_files(self) -> dict[str, bytes]:
        folder = self.folder / "out" / self.space / "orders-db"
        paths = [path for path in sorted(folder.glob("*")) if not path.name.startswith("..")]
        return {path.name: path.read_bytes() for path in paths}

    # --- one that is down

    @contextmanager
    def down(self, sink: str) -> Iterator[Path]:
        """The configuration, inside the block with this sink out of reach."""
        match sink:
            case "vault":
                with self.bao.sealed():
                    yield self.configure()
            case "azure":
                with self.vault.refusing():
                    yield self.configure()
            case "cluster":
                yield self.configure(self._unreachable)
            case _:
                yield self.configure(lambda sinks: sinks["local"].update(path="not/mounted"))

    def _unreachable(self, sinks: Mapping[str, Document]) -> None:
        path = self.folder / "unreachable.kubeconfig"
        text = self.cluster.kubeconfig("syncer").read_text()
        path.write_text(text.replace(self.cluster.url, f"https://127.0.0.1:{free_port()}"))
        sinks["cluster"]["kubeconfig"] = str(path)
