"""docs/migration.md, "The same names": a Secret that a Job made is taken over, let go of, and removed.

In a real API server, with the quickstart's dump. Excludes the Job itself and the operator, which do not run here.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncer.cli import main
from tests.docs.pages import ROOT, prose, spans
from tests.servers.kubernetes import KubeCluster

PAGE = prose(ROOT / "docs" / "migration.md")
QUICKSTART = ROOT / "examples" / "quickstart"
NAME = "orders-db-secret"
OUTPUTS = {"admin-password", "ca.crt", "connection", "host", "port"}

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def shop(kube_cluster: KubeCluster) -> str:
    """A namespace with what the Job's script made."""
    name = f"shop-{secrets.token_hex(4)}"
    kube_cluster.admin.create_namespace(name)
    data = {key: base64.b64encode(key.encode()).decode() for key in ("host", "extra")}
    metadata = {"name": NAME, "namespace": name}
    kube_cluster.admin.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
    return name


@pytest.fixture
def run(kube_cluster: KubeCluster, shop: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command with a target of this name, or of another one."""

    def run(*command: str, name: str = "{installation}-secret") -> tuple[int, str]:
        path = tmp_path / "syncer.yaml"
        path.write_text(yaml.safe_dump(configuration(kube_cluster, shop, name)))
        return main([*command, "-c", str(path)]), capsys.readouterr().out

    return run


def configuration(cluster: KubeCluster, shop: str, name: str) -> dict[str, Any]:
    store = {"kind": "filesystem", "path": str(QUICKSTART / "secrets")}
    match = {"installations": ["orders-db"], "namespaces": ["shop"]}
    kubeconfig = str(cluster.kubeconfig())
    return {
        "instance": shop,
        "namespaces": {"shop": shop},
        "source": {"kind": "dump", "path": str(QUICKSTART / "dump"), "secrets": store},
        "sinks": [{"name": "cluster", "kind": "kubernetes", "kubeconfig": kubeconfig, "namespaces": [shop]}],
        "rules": [{"name": "all", "match": match, "targets": [{"sink": "cluster", "name": name}]}],
    }


def keys(cluster: KubeCluster, shop: str) -> set[str]:
    found = cluster.admin.secret(shop, NAME)
    return {*found["data"]} if found else set()


def test_a_secret_is_taken_over_by_its_name_and_left_as_orphaned(
    run: Run, kube_cluster: KubeCluster, shop: str
) -> None:
    (adopt,) = (one for one in spans(PAGE) if one.startswith("syncer adopt"))
    status, shown = run("plan")
    assert status == 4
    assert re.search(r"conflict .* not ours: no mark *$", shown, re.MULTILINE)
    assert keys(kube_cluster, shop) == {"host", "extra"}
    assert run(*adopt.replace("shop/", f"{shop}/").split()[1:])[0] == 0
    assert keys(kube_cluster, shop) == OUTPUTS

    moved = "{installation}-elsewhere"
    assert run("once", name=moved)[0] == 0
    assert re.search(rf"{NAME} .* Orphaned ", run("status", name=moved)[1])
    assert keys(kube_cluster, shop) == OUTPUTS
    assert run("gc", "--prune", name=moved)[0] == 0
    assert keys(kube_cluster, shop) == set()


def test_what_the_page_compares_is_what_the_commands_say(run: Run) -> None:
    """The newest run's outputs, the selected ones, and what would be written: all of the same names here."""
    lists = ("installations", "outputs", "list", "orders-db", "-n", "shop")
    for more in ((), ("--porter-semantics",)):
        status, shown = run(*lists, *more)
        assert status == 0
        assert {*re.findall(r"^ *([\w.-]+)  ", shown, re.MULTILINE)} >= OUTPUTS
        assert "battery staple" not in shown
