"""A running syncer, Porter's database with a Porter that writes to it, and a cluster's namespace for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.faults.estate import Estate
from tests.faults.mongo_proxy import MongoProxy
from tests.faults.running import Syncer
from tests.servers.porter import Porter

Start = Callable[..., Syncer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a process with a configuration; all of them are stopped in the end."""
    running: list[Syncer] = []

    def begin(document: Mapping[str, Any], **options: Any) -> Syncer:
        running.append(Syncer.start(document, tmp_path, **options))
        return running[-1]

    yield begin
    for syncer in running:
        syncer.stop()


@pytest.fixture
def porter(mongo_server, mongo_url, tmp_path) -> Porter:
    """A Porter on a database of its own, its secrets in a folder."""
    database = mongo_server.client[mongo_url.rpartition("/")[2]]
    return Porter(database=database, secrets=tmp_path / "porter-secrets")


@pytest.fixture
def estate(porter, mongo_url, kube_cluster, kube_namespace, tmp_path) -> Estate:
    """Nothing is installed yet."""
    return Estate(
        porter=porter, url=mongo_url, cluster=kube_cluster, namespace=kube_namespace, folder=tmp_path
    )


@pytest.fixture
def wire(mongo_server) -> Iterator[MongoProxy]:
    """Before the database for the syncer (`estate.source_through(wire.port)`); Porter goes past it."""
    proxy = MongoProxy.start("127.0.0.1", mongo_server.port)
    yield proxy
    proxy.stop()
