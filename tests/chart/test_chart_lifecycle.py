"""A release from its installation to the next one, by real Helm (both majors) in a real API server.

What the syncer itself would write is planted by hand. Excludes the pods: nothing runs here.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_world import CHART, CRD, NAME, RELEASE, restricted, until

from tests.servers.helm import Helm, HelmFailedError
from tests.servers.kube_client import KubeError
from tests.servers.kubernetes import KubeCluster

RBAC = "rbac.authorization.k8s.io/v1"
MARK = "outputs.porter.sh/instance"


def definition(cluster: KubeCluster) -> dict[str, Any] | None:
    return cluster.admin.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", CRD)


class Release:
    """One release of the chart in a namespace, with two that it may write to."""

    def __init__(self, helm: Helm, cluster: KubeCluster, home: str, name: str = RELEASE) -> None:
        self.helm, self.cluster, self.home, self.name = helm, cluster, home, name
        self.targets = tuple(f"{home}-{target}" for target in ("shop", "billing"))
        for target in self.targets:
            cluster.admin.create_namespace(target)

    def values(self, *sinks: dict[str, Any], **more: Any) -> Path:
        source = {"kind": "mongodb", "url": {"env": "PORTER_MONGODB_URL"}, "secrets": {"kind": "none"}}
        rules = [{"name": "all", "targets": [{"sink": sink["name"]} for sink in sinks]}]
        config = {
            "source": source,
            "sinks": list(sinks),
            "rules": rules,
            "customResources": {"enabled": True},
        }
        credentials = [{"secretName": "porter-mongodb", "key": "url", "env": "PORTER_MONGODB_URL"}]
        path = self.helm.home / f"{secrets.token_hex(4)}.yaml"
        path.write_text(json.dumps({"config": config, "credentials": credentials} | more))
        return path

    def cluster_sink(self, *targets: str) -> dict[str, Any]:
        return {"name": "cluster", "kind": "kubernetes", "namespaces": [*targets]}

    def do(self, command: str, *arguments: str | Path) -> Any:
        """Helm's own account of the release afterwards."""
        return self.helm.json(command, self.name, CHART, "--namespace", self.home, *arguments)

    def uninstall(self) -> None:
        self.helm.run("uninstall", self.name, "--namespace", self.home)

    def config(self) -> Any:
        return yaml.safe_load(self.get("v1", "ConfigMap")["data"]["syncer.yaml"])

    def get(self, api: str, kind: str) -> dict[str, Any]:
        found = self.cluster.admin.get(api, kind, self.full_name, self.home)
        assert found is not None
        return found

    @property
    def full_name(self) -> str:
        return NAME if self.name == RELEASE else f"{self.name}-porter-outputs-syncer"

    def may_write(self) -> set[str]:
        """Where its Roles are."""
        role = f"{self.home}.{self.full_name}"
        return {one for one in self.targets if self.cluster.admin.get(RBAC, "Role", role, one)}


@pytest.fixture
def release(installer: Helm, clean: KubeCluster, home: str) -> Release:
    return Release(installer, clean, home)


def instance(release: Release) -> str:
    system = release.cluster.admin.get("v1", "Namespace", "kube-system")
    assert system is not None
    place = f"{system['metadata']['uid']}/{release.home}/{release.name}"
    return f"{release.name}-{hashlib.sha256(place.encode()).hexdigest()[:12]}"


def planted(release: Release) -> None:
    """What a running syncer leaves behind: a Secret, and a resource beside it."""
    shop = release.targets[0]
    metadata = {"name": "orders-db-outputs", "namespace": shop, "labels": {MARK: instance(release)}}
    release.cluster.admin.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    about = {"installation": {"namespace": "shop", "name": "orders-db"}}
    resource = {"apiVersion": "outputs.porter.sh/v1alpha1", "kind": "InstallationOutputs", "spec": about}

    def applies() -> bool:
        try:
            release.cluster.admin.apply(resource | {"metadata": metadata | {"name": "orders-db"}})
        except (KubeError, KeyError):  # not served yet
            return False
        return True

    until(applies)


def still_there(release: Release) -> bool:
    admin, shop = release.cluster.admin, release.targets[0]
    resource = admin.get("outputs.porter.sh/v1alpha1", "InstallationOutputs", "orders-db", shop)
    return bool(resource and admin.secret(shop, "orders-db-outputs"))


def test_a_release_is_installed_upgraded_removed_and_installed_again(release) -> None:
    shop, billing = release.targets
    told = release.do("install", "--values", release.values(release.cluster_sink(shop)))
    assert told["info"]["status"] == "deployed"
    assert instance(release) in told["info"]["notes"]
    assert release.config()["instance"] == instance(release)
    assert release.may_write() == {shop}
    planted(release)

    vault = {"name": "vault", "kind": "vault", "address": "https://vault.example", "auth": {"method": "cert"}}
    before = release.get("apps/v1", "Deployment")["spec"]["template"]
    release.do("upgrade", "--values", release.values(release.cluster_sink(billing), vault))
    assert [sink["name"] for sink in release.config()["sinks"]] == ["cluster", "vault"]
    assert release.config()["instance"] == instance(release)
    assert release.may_write() == {billing}
    assert release.get("apps/v1", "Deployment")["spec"]["template"] == before  # no pod is replaced

    release.uninstall()
    assert release.may_write() == set()
    assert left_in(release) == set()
    assert definition(release.cluster) is not None
    assert still_there(release)

    release.do("install", "--values", release.values(release.cluster_sink(shop)))
    assert release.config()["instance"] == instance(release)
    assert still_there(release)
    release.uninstall()


def left_in(release: Release) -> set[tuple[str, str]]:
    """What of a release is in its own namespace."""
    kinds = [("v1", kind) for kind in ("ConfigMap", "Secret", "Service", "ServiceAccount")]
    kinds += [("apps/v1", "Deployment"), (RBAC, "Role"), (RBAC, "RoleBinding")]
    kinds += [("policy/v1", "PodDisruptionBudget"), ("networking.k8s.io/v1", "NetworkPolicy")]
    return {
        (kind, one["metadata"]["name"])
        for api, kind in kinds
        for one in release.cluster.admin.list(api, kind, release.home)
    }


def test_custom_resources_switched_off_leave_their_definition(release) -> None:
    shop, _ = release.targets
    release.do("install", "--values", release.values(release.cluster_sink(shop)))
    planted(release)
    off = release.values(release.cluster_sink(shop), crds={"create": False})
    release.do("upgrade", "--values", off)
    assert definition(release.cluster) is not None
    assert still_there(release)
    release.uninstall()


def test_every_release_is_an_instance_of_its_own(release) -> None:
    """In another namespace, and under another name; the definition is the first one's."""
    shop, _ = release.targets
    release.do("install", "--values", release.values(release.cluster_sink(shop)))
    elsewhere = Release(release.helm, release.cluster, restricted(release.cluster, f"{release.home}-2"))
    beside = Release(release.helm, release.cluster, release.home, "second")
    for other in (elsewhere, beside):
        values = other.values(other.cluster_sink(other.targets[0]), crds={"create": False})
        other.do("install", "--values", values)
    names = {one.config()["instance"] for one in (release, elsewhere, beside)}
    assert names == {instance(one) for one in (release, elsewhere, beside)}
    assert len(names) == 3
    for one in (beside, elsewhere, release):
        one.uninstall()


def test_a_second_release_does_not_take_the_definition_from_the_first(release) -> None:
    shop, _ = release.targets
    release.do("install", "--values", release.values(release.cluster_sink(shop)))
    second = Release(release.helm, release.cluster, release.home, "second")
    with pytest.raises(HelmFailedError, match=CRD):
        second.do("install", "--values", second.values(second.cluster_sink(shop)))
    release.uninstall()


def test_an_instance_that_is_given_stays_as_it_is(release) -> None:
    shop, _ = release.targets
    given = ("--set", "config.instance=prod-eu-1")
    release.do("install", "--values", release.values(release.cluster_sink(shop)), *given)
    assert release.config()["instance"] == "prod-eu-1"
    release.uninstall()


def test_a_longer_name_leaves_room(release) -> None:
    longest = Release(release.helm, release.cluster, release.home, "r" * 53)
    values = longest.values(longest.cluster_sink(longest.targets[0]), crds={"create": False})
    longest.do("install", "--values", values, "--set", "fullnameOverride=x")
    found = longest.cluster.admin.get("v1", "ConfigMap", "x", longest.home)
    name = yaml.safe_load(found["data"]["syncer.yaml"])["instance"]
    assert len(name) == 63
    longest.uninstall()


def test_the_notes_say_how_to_see_it_work(release) -> None:
    shop, _ = release.targets
    told = release.do("install", "--values", release.values(release.cluster_sink(shop)))
    notes = told["info"]["notes"]
    for said in (f"helm test {RELEASE}", "get lease", "syncer status", f"get secrets -n {shop}", "uninstall"):
        assert said in notes
    release.uninstall()
