"""pytest fixtures for the servers: `kube_cluster`, `kube_namespace`, `mongo_server`, `mongo_url`, `bao_server`,
`keyvault_server`, `key_vault`.

A server is built before the first test runs (so no test's timeout covers that), started by the first
test that asks for it, and serves the whole session. Where it cannot be had the test is skipped with the
reason, or fails where the environment variable CI is set.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from subprocess import CalledProcessError
from typing import TypeVar

import pytest

from tests.servers import builds
from tests.servers.cache import MissingPrerequisiteError
from tests.servers.keyvault import KeyVaultServer, Vault
from tests.servers.kubernetes import KubeCluster
from tests.servers.lacking import provided
from tests.servers.mongodb import MongoServer
from tests.servers.openbao import BaoServer

Server = TypeVar("Server", KubeCluster, MongoServer, BaoServer, KeyVaultServer)

_BUILDS: dict[str, Sequence[Callable[[], Path]]] = {
    "kube_cluster": (builds.etcd, builds.kube_apiserver),
    "mongo_server": (builds.mongo_server,),
}


@pytest.fixture(scope="session")
def kube_cluster() -> Iterator[KubeCluster]:
    """A Kubernetes API with users of the names in `tests.servers.kubernetes.USERS`, and an audit log."""
    yield from _running(KubeCluster.start)


@pytest.fixture(scope="session")
def mongo_server() -> Iterator[MongoServer]:
    """A MongoDB-wire server with change streams."""
    yield from _running(MongoServer.start)


@pytest.fixture(scope="session")
def bao_server() -> Iterator[BaoServer]:
    """An OpenBao with TLS and an audit log; each test makes the mounts, policies and tokens it needs."""
    yield from _running(BaoServer.start)


@pytest.fixture(scope="session")
def keyvault_server() -> Iterator[KeyVaultServer]:
    """The stand-in for Azure Key Vault and for the login it takes."""
    yield from _running(KeyVaultServer.start)


@pytest.fixture
def key_vault(keyvault_server: KeyVaultServer) -> Iterator[Vault]:
    """A fresh, empty key vault."""
    vault = keyvault_server.new_vault()
    yield vault
    vault.close()


@pytest.fixture
def kube_namespace(kube_cluster: KubeCluster) -> str:
    """The name of a fresh, empty namespace."""
    name = f"test-{secrets.token_hex(5)}"
    kube_cluster.admin.create_namespace(name)
    return name


@pytest.fixture
def mongo_url(mongo_server: MongoServer) -> Iterator[str]:
    """The URL of a fresh, empty database; its name is the URL's path."""
    database = f"test_{secrets.token_hex(5)}"
    yield mongo_server.url(database)
    mongo_server.drop(database)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Builds what the selected tests will ask for."""
    if session.config.option.collectonly:
        return
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        for name in sorted(wanted & _BUILDS.keys()):
            _build(_BUILDS[name])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shows the end of the servers' logs beside a failed test that used them."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for name, server in item.funcargs.items():
            if isinstance(server, KubeCluster | MongoServer | BaoServer):
                report.sections.append((f"log of {name}", server.log_tail()))
    return report


def _build(programs: Sequence[Callable[[], Path]]) -> None:
    # The fixture meets the same failure and reports it where it belongs.
    with suppress(MissingPrerequisiteError, CalledProcessError):
        for program in programs:
            program()


def _running(start: Callable[[], Server]) -> Iterator[Server]:
    server = provided(start)
    yield server
    server.stop()
