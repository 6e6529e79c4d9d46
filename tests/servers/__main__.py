"""`python -m tests.servers build|kubernetes|mongodb`: builds everything, or runs one server for a person.

A server runs until Ctrl-C (or until it is terminated) and prints how to reach it.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from tests.servers import builds
from tests.servers.cache import MissingPrerequisiteError
from tests.servers.kubernetes import ADMIN, USERS, KubeCluster
from tests.servers.mongodb import MongoServer
from tests.servers.processes import ServerFailedError


def main(arguments: Sequence[str]) -> int:
    """Runs one command; returns the exit status."""
    parsed = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if parsed.command == "build":
            _build()
        elif parsed.command == "kubernetes":
            _run_kubernetes()
        else:
            _run_mongodb(parsed.dump, parsed.database)
    except (MissingPrerequisiteError, ServerFailedError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build every server into the cache")
    commands.add_parser("kubernetes", help="run etcd and kube-apiserver")
    mongodb = commands.add_parser("mongodb", help="run the MongoDB-wire server")
    mongodb.add_argument("--dump", type=Path, help="a mongodump folder to load first")
    mongodb.add_argument("--database", default="porter", help="the database to load it into")
    return parser


def _build() -> None:
    for program in (builds.etcd(), builds.kube_apiserver(), builds.mongo_server()):
        _say(str(program))


def _run_kubernetes() -> None:
    cluster = KubeCluster.start()
    try:
        _say(f"url        {cluster.url}")
        for user in (ADMIN, *USERS):
            _say(f"kubeconfig {cluster.kubeconfig(user)}")
        _say(f"audit log  {cluster.audit.path}")
        _until_interrupted()
    finally:
        cluster.stop()


def _run_mongodb(dump: Path | None, database: str) -> None:
    server = MongoServer.start()
    try:
        if dump is not None:
            server.load_dump(dump, database)
        _say(f"url {server.url(database)}")
        _until_interrupted()
    finally:
        server.stop()


def _until_interrupted() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        return


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
