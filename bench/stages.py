"""The places a benchmark writes to: a server each, its part of the configuration, and what it is asked.

`bare` is the loop the syncer is compared with, in the units of `Stage.unit`; where the server itself sets
the pace (Key Vault) there is none.
"""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import sys
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.workload import NAMESPACES, OUTPUTS
from tests.servers.kubernetes import ADMIN, KubeCluster
from tests.servers.openbao import BaoServer

REPOSITORY = Path(__file__).resolve().parents[1]

_SECRET_WRITES = re.compile(
    r'^apiserver_request_total\{(?=.*resource="secrets")(?=.*verb="(?:POST|PUT|PATCH|DELETE)").*\} (\S+)$',
    re.MULTILINE,
)
_BAO_WRITES = re.compile(rb'"operation":"(?:create|update|patch|delete)"')


class Stage(ABC):
    """One kind of sink with a server of its own."""

    secrets_each = 1
    """Secrets an installation comes to."""
    writes_each = 1
    """Requests that write one of them."""
    bare_budget: int | None = None
    """Percent of the bare loop that a cold sync should reach."""
    environ: Mapping[str, str] = {}  # replaced, never changed

    @abstractmethod
    def sink(self) -> dict[str, Any]:
        """Settings of the sink but its name."""

    @abstractmethod
    def target(self) -> dict[str, Any]:
        """Settings of the target but its sink."""

    @abstractmethod
    def writes(self) -> int:
        """Requests to write that the server has had since it began."""

    def bare(self, _count: int, _prefix: str, /) -> float | None:
        """Installations per second of the bare loop; the prefix keeps apart what two loops make."""
        return None

    def facts(self) -> dict[str, float]:
        """What else the server can say of all it was asked so far."""
        return {}

    @abstractmethod
    def stop(self) -> None: ...


def run_bare(module: str, *arguments: str, environ: Mapping[str, str] | None = None) -> float:
    """Seconds a bare loop says it took."""
    command = [sys.executable, "-m", f"bench.{module}", *arguments]
    ran = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, check=True, text=True, env=environ and dict(environ)
    )
    return float(ran.stdout)


class KubernetesStage(Stage):
    bare_budget = 60

    def __init__(self) -> None:
        self.cluster = KubeCluster.start(audit=False)
        for number in range(NAMESPACES):
            self.cluster.admin.create_namespace(f"apps-{number}")
            self.cluster.admin.create_namespace(f"bare-{number}")

    def sink(self) -> dict[str, Any]:
        return {"kind": "kubernetes", "kubeconfig": str(self.cluster.kubeconfig(ADMIN))}

    def target(self) -> dict[str, Any]:
        return {"namespace": "{namespace}", "name": "{installation}-outputs"}

    def bare(self, count: int, prefix: str, /) -> float:
        return count / run_bare("bare_kubernetes", str(self.cluster.kubeconfig(ADMIN)), str(count), prefix)

    def writes(self) -> int:
        url = f"{self.cluster.url}/metrics"
        headers = {"Authorization": f"Bearer {self.cluster.tokens[ADMIN]}"}
        tls = ssl.create_default_context(cafile=str(self.cluster.ca_file))
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), context=tls) as answer:
            metrics = answer.read().decode()
        return sum(int(float(found)) for found in _SECRET_WRITES.findall(metrics))

    def stop(self) -> None:
        self.cluster.stop()


class VaultStage(Stage):
    """OpenBao, KV v2. A write is three requests: claim, data, mark."""

    writes_each = 3
    bare_budget = 70

    def __init__(self) -> None:
        self.bao = BaoServer.start()
        self.mount = self.bao.mount(2)
        policy = (REPOSITORY / "examples/vault/policy.hcl").read_text()
        policy = policy.replace('path "secret/', f'path "{self.mount}/')
        self.environ = {"BENCH_TOKEN": self.bao.token(policy)}

    def sink(self) -> dict[str, Any]:
        return {
            "kind": "vault",
            "address": self.bao.url,
            "caFile": str(self.bao.ca_file),
            "mount": self.mount,
            "auth": {"method": "token", "token": {"env": "BENCH_TOKEN"}},
        }

    def target(self) -> dict[str, Any]:
        return {"path": "porter/{namespace}/{installation}"}

    def bare(self, count: int, prefix: str, /) -> float:
        where = (self.bao.url, str(self.bao.ca_file), self.bao.mount(2))
        environ = {**self.environ, "BENCH_TOKEN": self.bao.root_token}
        return count / run_bare("bare_vault", *where, str(count), prefix, environ=environ)

    def writes(self) -> int:
        path = f'"path":"{self.mount}/'.encode()
        with self.bao.audit.path.open("rb") as log:
            lines = (line for line in log if path in line and b'"type":"response"' in line)
            return sum(1 for line in lines if _BAO_WRITES.search(line))

    def stop(self) -> None:
        self.bao.stop()


class KeyVaultStage(Stage):
    """The stand-in for Azure Key Vault, in a process of its own, with the service's limits on."""

    secrets_each = len(OUTPUTS)

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.servers.keyvault", "--limits"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True)
        self._reach: dict[str, str] = self._line()
        self.environ = {"BENCH_SECRET": Path(self._reach["client_secret_file"]).read_text().strip()}

    def sink(self) -> dict[str, Any]:
        return {
            "kind": "azure-keyvault",
            "vaultUrl": self._reach["url"],
            "caFile": self._reach["ca_file"],
            "authority": self._reach["authority"],
            "verifyChallengeResource": False,
            "disableInstanceDiscovery": True,
            "auth": {
                "method": "client-secret",
                "tenantId": self._reach["tenant"],
                "clientId": self._reach["client_id"],
                "clientSecret": {"env": "BENCH_SECRET"},
            },
        }

    def target(self) -> dict[str, Any]:
        return {"name": "{namespace}-{installation}-{output}"}

    def writes(self) -> int:
        return int(self._stats()["writes"])

    def facts(self) -> dict[str, float]:
        """Of all passes together; 300 sets in ten seconds are allowed, 240 are what the sink keeps to."""
        stats = self._stats()
        counts: dict[str, int] = stats["counts"]
        return {
            "sets in the busiest ten seconds, of 300 allowed": stats["busiest_set"],
            "requests in all": sum(counts.values()),
        } | {f"requests: {name}": count for name, count in sorted(counts.items())}

    def _stats(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write("stats\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate()


STAGES: Mapping[str, type[Stage]] = {
    "kubernetes": KubernetesStage,
    "vault": VaultStage,
    "azure-keyvault": KeyVaultStage,
}
