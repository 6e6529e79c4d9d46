"""What `syncer run` does when nothing happens: quiet polls and sweeps over many installations.

CPU and memory are the process's, from /proc; writes are counted by the server.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figure
from bench.rig import say
from bench.stages import KubernetesStage
from bench.workload import NAMESPACES, Workload
from tests.faults.running import Syncer
from tests.servers.mongodb import MongoServer

_FEW, _MANY = 500, 10_000
_RUNS = 10
_POLLS = 100
_SWEEPS = 3
_MEGABYTE = 1024 * 1024
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Look:
    """At the process, at one moment."""

    at: float
    cpu: float
    """Seconds so far."""
    memory: float
    """Megabytes."""
    descriptors: int

    @classmethod
    def at_process(cls, pid: int) -> Look:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return cls(
            at=time.monotonic(),
            cpu=(int(fields[11]) + int(fields[12])) / _TICKS,
            memory=pages * os.sysconf("SC_PAGE_SIZE") / _MEGABYTE,
            descriptors=sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
        )


def idle(*, quick: bool) -> Sequence[Figure]:
    """After a cold sync: polls, the usual list checks, and sweeps one after the other."""
    installations = _FEW if quick else _MANY
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        heap = 1 + math.ceil(installations * _RUNS / 12_500)
        mongo = MongoServer.start(heap=f"{heap}g", change_streams=False)
        stack.callback(mongo.stop)
        stage = KubernetesStage()
        stack.callback(stage.stop)
        workload = Workload(installations=installations, runs=_RUNS)
        for done in workload.load(mongo.client["porter"]):
            if done % 1000 == 0:
                say(f"{done} of {installations} installations loaded")
        workload.write_secrets(folder / "secrets")
        document = _document(folder, mongo, stage, quick=quick)
        syncer = Syncer.start(document, folder, level="warning")
        stack.callback(syncer.stop)
        say("cold sync ...")
        first = _last_sweep(syncer)
        syncer.until(lambda: stage.writes() >= installations, 1200, every=0.5)
        # The watch begins during the first sweep, and asks for another one: the earliest is 30 s later,
        # which may be before the last write.
        _until_swept_again(syncer, first)
        syncer.until(lambda: syncer.metric("queue_depth") + syncer.metric("in_work") == 0, 60, every=0.2)
        writes = stage.writes()
        quiet = _quiet(syncer, mongo)
        say("sweeps ...")
        swept = _swept(syncer, document)
        return _figures(installations, stage.writes() - writes, quiet, swept)


def _document(folder: Path, mongo: MongoServer, stage: KubernetesStage, *, quick: bool) -> dict[str, object]:
    poll = "200ms" if quick else "2s"
    return {
        "instance": "bench",
        "namespaces": {f"team-{number}": f"apps-{number}" for number in range(NAMESPACES)},
        "source": {
            "kind": "mongodb",
            "url": mongo.url("porter"),
            "pollInterval": poll,
            "secrets": {"kind": "filesystem", "path": str(folder / "secrets")},
        },
        "sinks": [{"name": "sink", **stage.sink()}],
        "rules": [{"name": "default", "targets": [{"sink": "sink", **stage.target()}]}],
        "resyncInterval": "1h",
    }


def _quiet(syncer: Syncer, mongo: MongoServer) -> tuple[Look, Look]:
    """Over so many polls without a sweep."""
    say(f"{_POLLS} polls ...")
    mongo.counters("porter", reset=True)
    before = Look.at_process(syncer.pid)
    syncer.until(lambda: mongo.counters("porter").requests.get("results", 0) >= _POLLS, 1200, every=0.5)
    return before, Look.at_process(syncer.pid)


def _swept(syncer: Syncer, document: dict[str, object]) -> list[Look]:
    """After each of some sweeps, as close together as they come."""
    looks: list[Look] = []
    syncer.reconfigure({**document, "resyncInterval": "30s"})
    for _ in range(_SWEEPS + 1):
        _until_swept_again(syncer, _last_sweep(syncer))
        looks.append(Look.at_process(syncer.pid))
    return looks[1:]


def _until_swept_again(syncer: Syncer, last: float) -> None:
    syncer.until(lambda: syncer.metric("sweep_last_success_timestamp_seconds") > last, 600, every=0.2)


def _last_sweep(syncer: Syncer) -> float:
    """NB: while the configuration is read anew nothing listens for a moment."""
    return syncer.until(lambda: syncer.metric("sweep_last_success_timestamp_seconds"), 60, every=0.2)


def _figures(
    installations: int, writes: int, quiet: tuple[Look, Look], swept: Sequence[Look]
) -> Sequence[Figure]:
    first, last = quiet
    share = 100 * (last.cpu - first.cpu) / (last.at - first.at)
    looks = [first, last, *swept]
    return [
        Figure(what="installations", value=installations),
        Figure(what="quiet polls and sweeps: writes", value=writes, at_most=0),
        Figure(what="between sweeps: of one core", value=share, unit="%", at_most=2),
        Figure(what="memory, the most", value=max(one.memory for one in looks), unit="MB", at_most=200),
        Figure(what="memory more after the last sweep", value=swept[-1].memory - swept[0].memory, unit="MB"),
        Figure(
            what="descriptors more after all of it",
            value=swept[-1].descriptors - first.descriptors,
            at_most=0,
        ),
    ]
