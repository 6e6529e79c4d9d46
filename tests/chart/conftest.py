"""Helm, and a Kubernetes API that it installs into.

Nothing runs there: no controller, no kubelet. What the chart renders is admitted and stored, as anywhere.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from subprocess import CalledProcessError

import kubelet
import pytest
import yaml
from chart_world import CHART, CRD, READERS, STUBS, restricted, until
from run_world import Premises, Story

from tests.contract.installation_outputs_world import OPERATORS_DEFINITION
from tests.servers import helm as helm_programs
from tests.servers.cache import MissingPrerequisiteError
from tests.servers.helm import Helm
from tests.servers.kubernetes import KubeCluster
from tests.servers.lacking import give_up, provided

MAJORS = (4, 3)
TARGETS = ("shop", "billing", "porter")
"""Namespaces that the examples grant rights in."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Builds Helm before a test's time begins to count."""
    if session.config.option.collectonly:
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        for major in MAJORS:
            with suppress(MissingPrerequisiteError, CalledProcessError):
                helm_programs.helm(major)


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The current Helm, without a cluster."""
    return Helm(_program(4), tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def former_helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm of the major version before."""
    return Helm(_program(3), tmp_path_factory.mktemp("helm3"))


@pytest.fixture(scope="session")
def chart_cluster(kube_cluster: KubeCluster) -> KubeCluster:
    """A cluster that knows what the chart may render beside Kubernetes' own, and has the targets' namespaces."""
    for definition in STUBS:
        kube_cluster.install(definition)
    for name in TARGETS:
        kube_cluster.admin.create_namespace(name)
    return kube_cluster


@pytest.fixture
def home(chart_cluster: KubeCluster) -> str:
    """A fresh namespace for a release, with Pod Security `restricted`."""
    return restricted(chart_cluster, f"home-{secrets.token_hex(4)}")


@pytest.fixture(params=MAJORS, ids=lambda major: f"helm{major}")
def installer(request: pytest.FixtureRequest, tmp_path: Path, chart_cluster: KubeCluster) -> Helm:
    """Either Helm, with an administrator's rights in the cluster."""
    return Helm(_program(request.param), tmp_path, chart_cluster.kubeconfig())


@pytest.fixture
def clean(chart_cluster: KubeCluster) -> Iterator[KubeCluster]:
    """A cluster without what releases share; it would be another test's."""
    _remove_shared(chart_cluster)
    yield chart_cluster
    _remove_shared(chart_cluster)


def _remove_shared(cluster: KubeCluster) -> None:
    for name in READERS:
        cluster.admin.delete("rbac.authorization.k8s.io/v1", "ClusterRole", name)
    api, kind = "apiextensions.k8s.io/v1", "CustomResourceDefinition"
    cluster.admin.delete(api, kind, CRD)
    until(lambda: cluster.admin.get(api, kind, CRD) is None)


@pytest.fixture
def outputs_cluster(chart_cluster: KubeCluster) -> KubeCluster:
    """A cluster that has the definition of InstallationOutputs, and Porter's operator, and can have pods."""
    if reason := kubelet.missing():
        give_up(reason)
    chart_cluster.install(yaml.safe_load((CHART / "files" / "installationoutputs.yaml").read_text()))
    chart_cluster.install(OPERATORS_DEFINITION)
    return chart_cluster


@pytest.fixture
def runner(tmp_path: Path, chart_cluster: KubeCluster) -> Helm:
    """The current Helm, with an administrator's rights in the cluster."""
    return Helm(_program(4), tmp_path, chart_cluster.kubeconfig())


@pytest.fixture
def premises(runner, outputs_cluster, mongo_url, tmp_path) -> Premises:
    """Nothing is installed yet."""
    return Premises(helm=runner, cluster=outputs_cluster, url=mongo_url, folder=tmp_path)


@pytest.fixture
def runs(premises, mongo_server, mongo_url) -> tuple[Premises, Story]:
    """A release with everything, and an estate in which nothing has happened yet."""
    premises.deploy_readers()
    premises.helm_does("install", premises.values())
    database = mongo_server.client[mongo_url.rpartition("/")[2]]
    return premises, Story(premises=premises, porter=premises.porter(database), token=premises.caller())


def _program(major: int) -> Path:
    return provided(partial(helm_programs.helm, major))
