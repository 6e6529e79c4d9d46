"""What the benchmark of the API runs: the database, `syncer api` with and without TLS, and callers.

The servers run for the whole time, each in a process of its own; CPU and memory are from /proc.
"""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import trustme

from bench.api_load import Load, Loaded
from bench.rig import DATABASE, say
from bench.run_idle import Look
from bench.stages import REPOSITORY
from bench.workload import Workload
from tests.servers.mongodb import MongoServer
from tests.servers.processes import Child, free_port

_OFTEN = 1000
"""Installations between two lines of progress."""
_READY_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Something that answers: the database, or one server of the API."""

    url: str
    ca_file: str | None = None
    pid: int | None = None
    """Of a server of the API."""

    def look(self) -> Look | None:
        return None if self.pid is None else Look.at_process(self.pid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """Three places to ask the same."""

    mongo: MongoServer
    bare: Endpoint
    plain: Endpoint
    tls: Endpoint

    def queries(self) -> int:
        """That the database was asked since the last time."""
        counted = self.mongo.counters(DATABASE, reset=True)
        return sum(counted.commands.get(name, 0) for name in ("find", "aggregate", "getMore"))


@contextmanager
def running(workload: Workload) -> Iterator[Rig]:
    """The database with the workload in it, which takes longer than all the rest, and both servers."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        heap = 1 + math.ceil(workload.installations * workload.runs / 12_500)
        mongo = MongoServer.start(heap=f"{heap}g", change_streams=False)
        stack.callback(mongo.stop)
        for done in workload.load(mongo.client[DATABASE]):
            if done % _OFTEN == 0:
                say(f"{done} of {workload.installations} installations loaded")
        url = mongo.url(DATABASE)
        yield Rig(
            mongo=mongo,
            bare=Endpoint(url=url),
            plain=_served(stack, folder / "plain", url, authority=None),
            tls=_served(stack, folder / "tls", url, authority=trustme.CA()),
        )


def put(load: Load) -> Loaded:
    """That load, by a process that does nothing else. Its complaints go to our stderr."""
    command = [sys.executable, "-m", "bench.api_load", json.dumps(asdict(load))]
    ran = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, check=True, text=True)
    return Loaded(**json.loads(ran.stdout))


def _served(stack: ExitStack, folder: Path, url: str, *, authority: trustme.CA | None) -> Endpoint:
    folder.mkdir()
    address = f"127.0.0.1:{free_port()}"
    config = folder / "syncer.yaml"
    config.write_text(json.dumps(_document(folder, url, address, authority)))
    command = [sys.executable, "-m", "syncer", "api", "--log-level", "warning", "-c", str(config)]
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}  # noqa: TID251  # a child's
    child = Child.start("api", command, folder, environ=environ)
    stack.callback(child.stop)
    child.wait_until(lambda: _listens(address), _READY_SECONDS)
    ca_file = None if authority is None else str(folder / "ca.crt")
    return Endpoint(url=address, ca_file=ca_file, pid=child.process.pid)


def _document(folder: Path, url: str, address: str, authority: trustme.CA | None) -> dict[str, object]:
    api: dict[str, object] = {"listen": address, "access": {"kind": "loopback"}}
    if authority is not None:
        authority.cert_pem.write_to_path(folder / "ca.crt")
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_and_cert_chain_pem.write_to_path(folder / "api.pem")
        api["tls"] = {"certificate": str(folder / "api.pem"), "key": str(folder / "api.pem")}
    return {
        "instance": "bench",
        "source": {"kind": "mongodb", "url": url, "secrets": {"kind": "none"}},
        "sinks": [{"name": "files", "kind": "file", "path": str(folder / "out")}],
        "rules": [{"name": "all", "targets": [{"sink": "files", "path": "{namespace}/{installation}"}]}],
        "telemetry": {"listen": None},
        "api": api,
    }


def _listens(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
