"""A pass in a process of its own, killed when a server has done its n-th request and not answered yet.

One sink, one installation, next to a stranger's secret. Each place is a fresh mount, or a fresh vault.
"""

from __future__ import annotations

import multiprocessing
import os
import secrets
import select
import shutil
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.functional.acceptance import remove_from_dump
from tests.servers.http_proxy import HttpProxy
from tests.servers.http_rules import after, everything
from tests.servers.keyvault import KeyVaultServer
from tests.servers.keyvault.faults import Call
from tests.servers.openbao import BaoServer

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "examples/quickstart"
INSTANCE = "kills"
MARK = "outputs.porter.sh/"
HOST = b"orders-db-2.shop.internal"

# NB: forked from a process without threads that has everything imported: 20 ms a pass, not 1.5 s.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(
    ["syncer.cli", "syncer.app", "backends.vault.sink", "backends.azure_keyvault.sink"]
)


def run_in_process(path: str, environ: Mapping[str, str]) -> None:
    """What the child does: `syncer once`, with a log instead of a terminal."""
    from syncer.cli import main  # noqa: PLC0415  # in the child

    os.environ.update(environ)  # noqa: TID251  # a process of its own
    log = os.open(f"{path}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(log, number)
    os._exit(main(["once", "-c", path]))


def _kill(pid: int | None) -> None:
    """Returns when it is dead: until then it could still be answered."""
    assert pid is not None
    descriptor = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([descriptor], [], [])
    os.close(descriptor)


@dataclass
class Place(ABC):
    """Where the one secret is to be, and who else is there."""

    folder: Path
    environ: dict[str, str]

    @property
    def config(self) -> Path:
        return self.folder / "syncer.yaml"

    def configure(self, *, password: bool = False, installed: bool = True) -> None:
        """What is wanted: the host, with the password or without, or nothing since the installation is gone."""
        self._write_dump(installed=installed)
        keys: dict[str, Any] = {"host": {"template": "{admin-password}@{host}"} if password else "host"}
        config = {
            "instance": INSTANCE,
            "source": {"kind": "dump", "path": "dump", "secrets": {"kind": "filesystem", "path": "secrets"}},
            "sinks": [{"name": "place", **self.sink()}],
            "rules": [
                {"name": "all", "match": {"installations": ["orders-db"]}, "targets": [self.target(keys)]}
            ],
            "guard": {"grace": "0s"},
        }
        self.config.write_text(yaml.safe_dump(config))

    def _write_dump(self, *, installed: bool) -> None:
        dump = self.folder / "dump"
        if not dump.exists():
            shutil.copytree(QUICKSTART / "secrets", self.folder / "secrets")
        shutil.copytree(QUICKSTART / "dump", dump, dirs_exist_ok=True)
        if not installed:
            remove_from_dump(dump, "orders-db")

    def killed_at(self, number: int) -> bool:
        """Whether a pass was killed after its n-th request; False: it needed fewer, and ended well."""
        child = _processes.Process(target=run_in_process, args=(str(self.config), self.environ))
        count = 0

        def step() -> None:
            nonlocal count
            count += 1
            if count == number:
                _kill(child.pid)

        self.watch(step)
        child.start()
        child.join()
        self.watch(lambda: None)
        assert child.exitcode in (0, -signal.SIGKILL), Path(f"{self.config}.log").read_text()
        return child.exitcode != 0

    @abstractmethod
    def sink(self) -> dict[str, Any]: ...

    @abstractmethod
    def target(self, keys: Mapping[str, Any]) -> dict[str, Any]: ...

    @abstractmethod
    def watch(self, step: Callable[[], None]) -> None:
        """Has `step` called for each request from now on."""

    @abstractmethod
    def value(self) -> bytes | None:
        """What applications read; None: nothing is there."""

    @abstractmethod
    def unmarked(self) -> bool:
        """Whether something of ours is there that no mark of ours says so of."""

    @abstractmethod
    def stranger(self) -> object:
        """Everything there is of the stranger's secret."""


@dataclass
class VaultPlace(Place):
    bao: BaoServer
    proxy: HttpProxy
    mount: str
    version: int

    @classmethod
    def make(cls, folder: Path, bao: BaoServer, proxy: HttpProxy, version: int) -> VaultPlace:
        mount = bao.mount(2 if version == 2 else 1)
        policy = ROOT / ("examples/vault/policy.hcl" if version == 2 else "examples/vault/policy-kv1.hcl")
        token = bao.token(policy.read_text().replace('path "secret/', f'path "{mount}/'))
        made = cls(folder, {"VAULT_TOKEN": token}, bao, proxy, mount, version)
        body = {"value": "theirs"}
        bao.write(made._path("porter/shop/theirs"), {"data": body} if version == 2 else body)
        return made

    def sink(self) -> dict[str, Any]:
        return {
            "kind": "vault",
            "address": self.proxy.url,
            "caFile": str(self.proxy.ca_file),
            "mount": self.mount,
            "auth": {"method": "token", "token": {"env": "VAULT_TOKEN"}},
        }

    def target(self, keys: Mapping[str, Any]) -> dict[str, Any]:
        return {"sink": "place", "keys": dict(keys), "path": "porter/{namespace}/{installation}"}

    def watch(self, step: Callable[[], None]) -> None:
        self.proxy.rules.clear()
        self.proxy.rules.add(everything, after(lambda _asked, _reply: step()))

    def value(self) -> bytes | None:
        found = self.bao.read(self._path("porter/shop/orders-db"))
        fields = (found or {}).get("data") if self.version == 2 else found
        return fields["host"].encode() if fields else None

    def unmarked(self) -> bool:
        if self.version == 1:
            data = self.bao.read(f"{self.mount}/porter/shop/orders-db")
            return data is not None and self.bao.read(f"{self.mount}/porter/.syncer/shop/orders-db") is None
        metadata = self.bao.read(f"{self.mount}/metadata/porter/shop/orders-db")
        return metadata is not None and (metadata["custom_metadata"] or {}).get(f"{MARK}instance") != INSTANCE

    def stranger(self) -> object:
        about = "metadata/" if self.version == 2 else ""
        return [
            self.bao.read(self._path("porter/shop/theirs")),
            self.bao.read(f"{self.mount}/{about}porter/shop/theirs"),
        ]

    def _path(self, address: str) -> str:
        return f"{self.mount}/data/{address}" if self.version == 2 else f"{self.mount}/{address}"


class AzurePlace(Place):
    def __init__(self, folder: Path, entra: KeyVaultServer) -> None:
        super().__init__(folder, {"AZURE_CLIENT_SECRET": entra.identity.client_secret})
        self.entra = entra
        self.vault = entra.new_vault()
        self.vault.put("shop-theirs-host", secrets.token_hex(4), tags={"team": "theirs"})

    def sink(self) -> dict[str, Any]:
        return {
            "kind": "azure-keyvault",
            "vaultUrl": self.vault.url,
            "caFile": str(self.entra.ca_file),
            "authority": self.entra.authority,
            "verifyChallengeResource": False,
            "disableInstanceDiscovery": True,
            "auth": {
                "method": "client-secret",
                "tenantId": self.entra.tenant,
                "clientId": self.entra.identity.client_id,
                "clientSecret": {"env": "AZURE_CLIENT_SECRET"},
            },
        }

    def target(self, keys: Mapping[str, Any]) -> dict[str, Any]:
        return {"sink": "place", "keys": dict(keys), "name": "{namespace}-{installation}-{output}"}

    def watch(self, step: Callable[[], None]) -> None:
        self.vault.faults.clear()
        self.vault.faults.add(Call(step))

    def value(self) -> bytes | None:
        found = self.vault.read("shop-orders-db-host")
        return None if found is None else found.value.encode()

    def unmarked(self) -> bool:
        found = self.vault.read("shop-orders-db-host") or self.vault.deleted("shop-orders-db-host")
        return found is not None and found.tags.get(f"{MARK}instance") != INSTANCE

    def stranger(self) -> object:
        return self.vault.versions("shop-theirs-host"), self.vault.deleted("shop-theirs-host")
