"""The reader's side: the workload that docs/kubernetes.md shows gets the names, keys and bytes that it says.

The page's own sink, rules and Deployment: a real syncer writes what a real Porter left, a real API server with
Pod Security `restricted` takes the workload, and its pod is given environment and files as a kubelet does. Excludes
readers of Vault and Key Vault (tests/contract, tests/unit/test_consumer_docs.py).
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_world import applied, restricted
from kubelet import content_of, environment, laid_out

from syncer.app import run_pass
from syncer.config.loading import load_config
from syncer.engine.reconciler import Mode
from tests.functional.acceptance import QUICKSTART, SECRETS, Watcher
from tests.servers.kubernetes import KubeCluster

PAGE = (Path(__file__).parents[2] / "docs" / "kubernetes.md").read_text()
BLOCKS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
RESTRICTED = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
HOST = b"orders-db-2.shop.internal"


def documented(container: str) -> set[str]:
    """What the page's table says that a container has."""
    (row,) = re.findall(rf"^\| `{container}` \| (.*) \|$", PAGE, re.MULTILINE)
    return set(re.findall(r"`([^`]+)`", row))


@pytest.fixture
async def shop(chart_cluster: KubeCluster, home: str, tmp_path: Path) -> str:
    """A namespace that has the Secrets of shop/orders-db, by the configuration of the page."""
    (settings,) = (block for block in BLOCKS if "sinks" in block)
    (sink,) = settings["sinks"]
    (rule,) = settings["rules"]
    document = {
        "instance": "test",
        "namespaces": {"shop": home},
        "source": {"kind": "dump", "path": str(QUICKSTART / "dump"), "secrets": SECRETS},
        "sinks": [sink | {"kubeconfig": str(chart_cluster.kubeconfig()), "namespaces": [home]}],
        "rules": [rule | {"match": {"namespaces": ["shop"], "installations": ["orders-db"]}}],
    }
    path = tmp_path / "syncer.yaml"
    path.write_text(json.dumps(document))
    report = await run_pass(load_config(path, {"HOME": str(tmp_path)}), Mode(apply=True), Watcher())
    assert {entry.action for entry in report.entries} == {"create"}
    return home


@pytest.fixture
def workload(shop: str) -> dict[str, Any]:
    """The page's Deployment, in that namespace; how its own containers are confined is not the page's matter."""
    (found,) = (block for block in BLOCKS if block.get("kind") == "Deployment")
    deployment: dict[str, Any] = copy.deepcopy(found)
    deployment["metadata"]["namespace"] = shop
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        container["securityContext"] = RESTRICTED
    return deployment


def container(workload: Mapping[str, Any], name: str) -> dict[str, Any]:
    containers = workload["spec"]["template"]["spec"]["containers"]
    (found,) = (one for one in containers if one["name"] == name)
    return dict(found)


def test_the_api_server_takes_the_workload_and_its_pod(chart_cluster, workload, shop) -> None:
    assert applied(chart_cluster.admin, workload) == (201, [])
    pod = workload["spec"]["template"] | {"apiVersion": "v1", "kind": "Pod"}
    pod["metadata"] = pod["metadata"] | {"name": "shop", "namespace": shop}
    assert applied(chart_cluster.admin, pod) == (201, [])


def test_variables_have_the_documented_names_and_the_bytes_of_the_outputs(
    chart_cluster, workload, shop
) -> None:
    by_key = environment(chart_cluster.admin, shop, container(workload, "by-key"))
    whole = environment(chart_cluster.admin, shop, container(workload, "whole"))
    assert by_key.keys() == documented("by-key")
    assert whole.keys() == documented("whole")
    assert by_key["DB_HOST"].encode() == whole["DB_HOST"].encode() == HOST
    assert by_key["DB_PASSWORD"] == whole["DB_ADMIN_PASSWORD"] != ""


def test_files_have_the_documented_names_and_the_bytes_of_the_outputs(
    chart_cluster, workload, shop, tmp_path
) -> None:
    """Laid out with the links of a kubelet, and read through them."""
    spec = workload["spec"]["template"]["spec"]
    sources = {one["name"]: one.get("secret") or one["projected"] for one in spec["volumes"]}
    root = tmp_path / "root"
    for mount in container(workload, "files")["volumeMounts"]:
        folder = root / mount["mountPath"].removeprefix("/")
        laid_out(folder, content_of(chart_cluster.admin, shop, sources[mount["name"]]), mode=0o440)
    found = {f"/{path.relative_to(root)}" for path in root.rglob("*") if not path.is_dir()}
    found |= {
        f"/{path.relative_to(root)}/{below.name}"
        for path in root.rglob("*")
        if path.is_symlink() and path.is_dir()
        for below in path.iterdir()
    }
    assert {path for path in found if "/.." not in path} == documented("files")
    assert (root / "etc/orders-db/host").read_bytes() == HOST
    assert (root / "etc/orders-tls/trusted/orders-db.crt").read_bytes().startswith(b"-----BEGIN CERTIFICATE")


def test_a_key_that_is_not_written_keeps_a_pod_from_starting(chart_cluster, workload, shop) -> None:
    """What the other tests rest on: names are looked up, not guessed."""
    wrong = container(workload, "by-key")
    wrong["env"][0]["valueFrom"]["secretKeyRef"]["key"] = "hosts"
    with pytest.raises(KeyError, match="hosts"):
        environment(chart_cluster.admin, shop, wrong)
    wrong["env"][0]["valueFrom"]["secretKeyRef"]["name"] = "orders-outputs"
    with pytest.raises(AssertionError, match="would wait"):
        environment(chart_cluster.admin, shop, wrong)


def test_the_namespace_does_refuse(chart_cluster, workload, shop) -> None:
    """So that being taken says something."""
    pod = workload["spec"]["template"] | {"apiVersion": "v1", "kind": "Pod"}
    pod["metadata"] = {"name": "loose", "namespace": restricted(chart_cluster, shop)}
    pod["spec"]["containers"][0].pop("securityContext")
    status, (message,) = applied(chart_cluster.admin, pod)
    assert (status, "violates PodSecurity" in message) == (403, True)
