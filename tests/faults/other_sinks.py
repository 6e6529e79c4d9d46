"""Vault and Key Vault beside the places of an estate: the sinks `vault` and `azure`, each with a place of its own.

The Vault is a real OpenBao; the Key Vault is the stand-in of tests/servers/keyvault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.contract.vault_world import shipped_policy
from tests.faults.estate import Estate
from tests.servers.keyvault import KeyVaultServer, Vault
from tests.servers.openbao import BaoServer
from tests.servers.openbao_auth import UserpassLogin

Document = dict[str, Any]


def beside(estate: Estate, sink: Document, target: Document, **settings: Any) -> Document:
    """The estate's configuration with one sink more, which every installation goes to as well."""
    document = estate.document(**settings)
    (rule,) = document["rules"]
    rules = [{**rule, "targets": [*rule["targets"], {"sink": sink["name"], **target}]}]
    return {**document, "sinks": [*document["sinks"], sink], "rules": rules}


@dataclass(frozen=True, kw_only=True)
class VaultPlace:
    """An engine of version 2, and a user with a password who has the shipped policy there."""

    bao: BaoServer
    mount: str
    login: UserpassLogin
    target: Document = field(default_factory=lambda: {"path": "porter/{installation}"})

    @classmethod
    def make(cls, bao: BaoServer) -> Self:
        mount = bao.mount(2)
        return cls(bao=bao, mount=mount, login=bao.auth.userpass(shipped_policy(mount, "porter")))

    @property
    def environ(self) -> Mapping[str, str]:
        return {"VAULT_PASSWORD": self.login.password}

    def sink(self, url: str | None = None, ca_file: Path | None = None) -> Document:
        """The sink `vault`, by way of a proxy where one is given."""
        auth = {"method": "userpass", "mount": self.login.mount, "username": self.login.username}
        return {
            "name": "vault",
            "kind": "vault",
            "address": url or self.bao.url,
            "caFile": str(ca_file or self.bao.ca_file),
            "mount": self.mount,
            "auth": {**auth, "password": {"env": "VAULT_PASSWORD"}},
        }

    def holds(self, installation: str) -> dict[str, bytes] | None:
        """What an application would read; None where there is nothing."""
        found = self.bao.read(f"{self.mount}/data/porter/{installation}")
        return None if found is None else {key: text.encode() for key, text in found["data"].items()}

    def versions(self, installation: str) -> int:
        """How often its data were written."""
        found = self.bao.read(f"{self.mount}/metadata/porter/{installation}")
        return 0 if found is None else len(found["versions"])


@dataclass(frozen=True, kw_only=True)
class KeyVaultPlace:
    """A vault of the stand-in, and the stand-in's own identity."""

    server: KeyVaultServer
    vault: Vault
    target: Document = field(default_factory=lambda: {"name": "{installation}-{output}"})

    @property
    def environ(self) -> Mapping[str, str]:
        return {"AZURE_CLIENT_SECRET": self.server.identity.client_secret}

    def sink(self) -> Document:
        """The sink `azure`."""
        who = {"tenantId": self.server.tenant, "clientId": self.server.identity.client_id}
        return {
            "name": "azure",
            "kind": "azure-keyvault",
            "vaultUrl": self.vault.url,
            "caFile": str(self.server.ca_file),
            "authority": self.server.authority,
            "verifyChallengeResource": False,
            "disableInstanceDiscovery": True,
            "auth": {"method": "client-secret", **who, "clientSecret": {"env": "AZURE_CLIENT_SECRET"}},
        }

    def holds(self, installation: str) -> dict[str, bytes]:
        """What applications would read, by the names of the outputs."""
        start = f"{installation}-"
        names = [name for name in self.vault.names() if name.startswith(start)]
        found = {name.removeprefix(start): self.vault.read(name) for name in names}
        return {output: version.value.encode() for output, version in found.items() if version is not None}
