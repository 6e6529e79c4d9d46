"""What a test holds in its hands: the server with its Entra tenant, and as many vaults as it wants.

Everything runs in one thread of the test's process; every public method may be called from the test's own
thread, inside or outside of its event loop (none waits for anything the test has to do).
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Self

import trustme

from tests.servers.keyvault.assertions import Certificate
from tests.servers.keyvault.clock import Clock
from tests.servers.keyvault.endpoint import Endpoint, LoopThread
from tests.servers.keyvault.entra import EntraService, ManagedIdentityService
from tests.servers.keyvault.handle import Vault
from tests.servers.keyvault.model import Rules
from tests.servers.keyvault.service import VaultService
from tests.servers.keyvault.throttle import Limits, Throttle
from tests.servers.keyvault.tokens import READ, WRITE, Entra, Identity
from tests.servers.keyvault.vault import VaultState


class KeyVaultServer:
    """The tenant, its endpoints, and the vaults made so far; `start` makes it, `stop` ends it."""

    def __init__(self, clock: Clock, lifetime: float) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="key-vault-")
        self._authorities = trustme.CA()
        self._thread = LoopThread("key-vault")
        self._tls = _server_context(self._authorities)
        self._vaults: list[Vault] = []
        self._certificates = 0
        self.clock = clock
        """What tokens go by; each vault has a clock of its own."""
        self.entra = Entra(clock, lifetime)
        self.ca_file = Path(self._scratch.name) / "ca.pem"
        """PEM of the authority that signed every certificate here."""
        self._authorities.cert_pem.write_to_path(str(self.ca_file))
        self.token_service = EntraService(self.entra)
        self.managed_service = ManagedIdentityService(self.entra)
        self.token_endpoint = Endpoint(self._thread, self.token_service, self._tls)
        self.managed_endpoint = Endpoint(self._thread, self.managed_service, None)
        self.token_service.url = self.token_endpoint.url
        self.identity = self.entra.add(WRITE)
        """May get, list, set, delete and recover."""
        self.reader = self.entra.add(READ)
        """May get and list."""

    @classmethod
    def start(cls, *, clock: Clock | None = None, lifetime: float = 3600) -> Self:
        """Ready at once; tokens are good for `lifetime` seconds."""
        return cls(clock or Clock(), lifetime)

    def __repr__(self) -> str:
        return f"KeyVaultServer({self.authority!r})"

    @property
    def authority(self) -> str:
        """For azure.identity's `authority`."""
        return self.token_endpoint.url

    @property
    def tenant(self) -> str:
        return self.entra.tenant

    def new_vault(
        self, *, clock: Clock | None = None, limits: Limits | None = None, rules: Rules | None = None
    ) -> Vault:
        """An empty vault on a port of its own; without limits unless they are given."""
        clock = clock or Clock()
        state = VaultState(clock, rules or Rules())
        service = VaultService(
            state, self.entra, Throttle(clock, limits), lambda: f"{self.authority}/{self.tenant}"
        )
        endpoint = Endpoint(self._thread, service, self._tls)
        service.url = endpoint.url
        vault = Vault(service, endpoint, clock)
        self._vaults.append(vault)
        return vault

    def new_identity(self, permissions: Collection[str] = WRITE) -> Identity:
        """One more application with a client secret."""
        return self.entra.add(frozenset(permissions))

    def new_certificate(self, identity: Identity, *, registered: bool = True) -> Path:
        """A PEM file of a private key and its certificate; unless `registered`, Entra does not know it."""
        issued = self._authorities.issue_cert("client.invalid", key_type=trustme.KeyType.RSA)
        self._certificates += 1
        path = Path(self._scratch.name) / f"client-{self._certificates}.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(str(path))
        if registered:
            self.entra.register(identity, Certificate.load(path))
        return path

    def federate(self, identity: Identity, accepts: Callable[[str], bool] | Collection[str]) -> None:
        """Workload identity: which of another issuer's tokens prove the identity."""
        self.entra.federate(identity, accepts if callable(accepts) else set(accepts).__contains__)

    def assign(
        self, identity: Identity | None, *, system: bool = False, resource_id: str | None = None
    ) -> None:
        """Makes it a managed identity of this machine: the system's own, or a user-assigned one."""
        if system:
            self.managed_service.system = identity
        elif identity is not None:
            keys = (identity.client_id, identity.object_id, resource_id)
            self.managed_service.users.update({key: identity for key in keys if key})

    def reach(self, vault: Vault) -> dict[str, str]:
        """How another process reaches a vault; the client's secret stands in a file only its owner may read."""
        secret = Path(self._scratch.name) / "client-secret"
        secret.touch(mode=0o600)
        secret.write_text(self.identity.client_secret)
        return {
            "url": vault.url,
            "ca_file": str(self.ca_file),
            "authority": self.authority,
            "tenant": self.tenant,
            "client_id": self.identity.client_id,
            "client_secret_file": str(secret),
        }

    def imds_environment(self) -> dict[str, str]:
        """What makes azure.identity look for IMDS here."""
        return {"AZURE_POD_IDENTITY_AUTHORITY_HOST": self.managed_endpoint.url}

    def app_service_environment(self) -> dict[str, str]:
        """What makes azure.identity look for App Service's endpoint here."""
        url = f"{self.managed_endpoint.url}/msi/token"
        return {"IDENTITY_ENDPOINT": url, "IDENTITY_HEADER": self.managed_service.header}

    def stop(self) -> None:
        """Ends every vault and endpoint, and the thread."""
        self.token_service.faults.clear()
        self.managed_service.faults.clear()
        for vault in self._vaults:
            vault.close()
        self.token_endpoint.close()
        self.managed_endpoint.close()
        self._thread.stop()
        self._scratch.cleanup()


def _server_context(authorities: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authorities.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context
