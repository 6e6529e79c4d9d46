"""The servers under load, and the processes that load them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.passes import Pass
from bench.stages import REPOSITORY, STAGES, Stage
from bench.workload import NAMESPACES, Workload
from tests.servers.mongodb import Counters, MongoServer

DATABASE = "porter"

_OFTEN = 1000
"""Installations between two lines of progress."""


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
    """Both servers, the source's filled, and a configuration for the syncer."""

    mongo: MongoServer
    stage: Stage
    config: Path

    @contextmanager
    def syncer(self) -> Iterator[Syncer]:
        """A fresh process of the syncer's."""
        command = [sys.executable, "-m", "bench.passes", str(self.config)]
        pipe, environ = subprocess.PIPE, {**os.environ, **self.stage.environ}  # noqa: TID251  # a child's
        with subprocess.Popen(
            command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True, env=environ
        ) as process:
            yield Syncer(self, process)
            assert process.stdin is not None
            process.stdin.close()


class Syncer:
    """A running `bench.passes`."""

    def __init__(self, rig: Rig, process: subprocess.Popen[str]) -> None:
        self._rig = rig
        self._process = process

    def run(self) -> Measured:
        """One more pass. Raises `RuntimeError` where the process ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        before = self._rig.stage.writes()
        self._rig.mongo.counters(DATABASE, reset=True)
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the syncer ended with {self._process.wait()}")
        counted, writes = self._rig.mongo.counters(DATABASE), self._rig.stage.writes() - before
        return Measured(syncer=Pass(**json.loads(line)), mongo=counted, writes=writes)


@contextmanager
def running(workload: Workload, sink: str) -> Iterator[Rig]:
    """Both servers with the workload in them, which takes longer than all the rest."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        heap = 1 + math.ceil(workload.installations * workload.runs / 12_500)
        mongo = MongoServer.start(heap=f"{heap}g", change_streams=False)
        stack.callback(mongo.stop)
        stage = STAGES[sink]()
        stack.callback(stage.stop)
        for done in workload.load(mongo.client[DATABASE]):
            if done % _OFTEN == 0:
                say(f"{done} of {workload.installations} installations loaded")
        workload.write_secrets(scratch / "secrets")
        yield Rig(mongo=mongo, stage=stage, config=_config(scratch, mongo, stage))


def say(line: str) -> None:
    """Progress, for a person who waits."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _config(folder: Path, mongo: MongoServer, stage: Stage) -> Path:
    secrets = {"kind": "filesystem", "path": str(folder / "secrets")}
    config = {
        "instance": "bench",
        "namespaces": {f"team-{number}": f"apps-{number}" for number in range(NAMESPACES)},
        "source": {"kind": "mongodb", "url": mongo.url(DATABASE), "secrets": secrets},
        "sinks": [{"name": "sink", **stage.sink()}],
        "rules": [{"name": "default", "targets": [{"sink": "sink", **stage.target()}]}],
    }
    path = folder / "syncer.yaml"
    path.write_text(json.dumps(config, indent=2))
    return path
