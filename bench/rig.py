"""The servers under load, and the processes that load them."""

from __future__ import annotations

import json
import math
import re
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.passes import Pass
from bench.workload import NAMESPACES, Workload
from tests.servers.kubernetes import ADMIN, KubeCluster
from tests.servers.mongodb import Counters, MongoServer

DATABASE = "porter"

_OFTEN = 1000
"""Installations between two lines of progress."""
_REPOSITORY = Path(__file__).resolve().parents[1]
_WRITES = re.compile(
    r'^apiserver_request_total\{(?=.*resource="secrets")(?=.*verb="(?:POST|PUT|PATCH|DELETE)").*\} (\S+)$',
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One pass, as itself and the two servers saw it."""

    syncer: Pass
    mongo: Counters
    writes: int

    @property
    def queries(self) -> int:
        return sum(self.mongo.commands.get(name, 0) for name in ("find", "aggregate", "getMore"))

    @property
    def values(self) -> int:
        """Documents that left the database with an output's value, or with the key of one."""
        return self.mongo.documents.get("outputs", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """Both servers, filled, and a configuration for the syncer."""

    mongo: MongoServer
    cluster: KubeCluster
    config: Path

    @contextmanager
    def syncer(self) -> Iterator[Syncer]:
        """A fresh process of the syncer's."""
        command = [sys.executable, "-m", "bench.passes", str(self.config)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=_REPOSITORY, stdin=pipe, stdout=pipe, text=True) as process:
            yield Syncer(self, process)
            assert process.stdin is not None
            process.stdin.close()

    def bare(self, count: int, prefix: str) -> float:
        """Creates per second of the bare loop."""
        arguments = [str(self.cluster.kubeconfig(ADMIN)), str(count), prefix]
        command = [sys.executable, "-m", "bench.bare", *arguments]
        seconds = subprocess.run(command, cwd=_REPOSITORY, capture_output=True, check=True, text=True).stdout
        return count / float(seconds)

    def writes(self) -> int:
        """Requests to write Secrets that the API server has had since it began, granted or not."""
        url = f"{self.cluster.url}/metrics"
        headers = {"Authorization": f"Bearer {self.cluster.tokens[ADMIN]}"}
        tls = ssl.create_default_context(cafile=str(self.cluster.ca_file))
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), context=tls) as answer:
            metrics = answer.read().decode()
        return sum(int(float(found)) for found in _WRITES.findall(metrics))


class Syncer:
    """A running `bench.passes`."""

    def __init__(self, rig: Rig, process: subprocess.Popen[str]) -> None:
        self._rig = rig
        self._process = process

    def run(self) -> Measured:
        """One more pass. Raises `RuntimeError` where the process ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        before = self._rig.writes()
        self._rig.mongo.counters(DATABASE, reset=True)
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the syncer ended with {self._process.wait()}")
        counted, writes = self._rig.mongo.counters(DATABASE), self._rig.writes() - before
        return Measured(syncer=Pass(**json.loads(line)), mongo=counted, writes=writes)


@contextmanager
def running(workload: Workload) -> Iterator[Rig]:
    """Both servers with the workload in them, which takes longer than all the rest."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        heap = 1 + math.ceil(workload.installations * workload.runs / 12_500)
        mongo = MongoServer.start(heap=f"{heap}g", change_streams=False)
        stack.callback(mongo.stop)
        cluster = KubeCluster.start(audit=False)
        stack.callback(cluster.stop)
        for number in range(NAMESPACES):
            cluster.admin.create_namespace(f"apps-{number}")
            cluster.admin.create_namespace(f"bare-{number}")
        for done in workload.load(mongo.client[DATABASE]):
            if done % _OFTEN == 0:
                say(f"{done} of {workload.installations} installations loaded")
        workload.write_secrets(scratch / "secrets")
        yield Rig(mongo=mongo, cluster=cluster, config=_config(scratch, mongo, cluster))


def say(line: str) -> None:
    """Progress, for a person who waits."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _config(folder: Path, mongo: MongoServer, cluster: KubeCluster) -> Path:
    secrets = {"kind": "filesystem", "path": str(folder / "secrets")}
    target = {"sink": "cluster", "namespace": "{namespace}", "name": "{installation}-outputs"}
    config = {
        "instance": "bench",
        "namespaces": {f"team-{number}": f"apps-{number}" for number in range(NAMESPACES)},
        "source": {"kind": "mongodb", "url": mongo.url(DATABASE), "secrets": secrets},
        "sinks": [{"name": "cluster", "kind": "kubernetes", "kubeconfig": str(cluster.kubeconfig(ADMIN))}],
        "rules": [{"name": "default", "targets": [target]}],
    }
    path = folder / "syncer.yaml"
    path.write_text(json.dumps(config, indent=2))
    return path
