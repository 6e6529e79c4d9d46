"""`syncer doctor` about the one who decides what callers of the API may read, on a real kube-apiserver."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.contract import FindingLevel
from syncer.app import examine
from syncer.config.loading import load_config

QUICKSTART = Path(__file__).parents[2] / "examples/quickstart"
REVIEWS = [
    {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
    {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
]


@pytest.fixture
def findings(kube_cluster, tmp_path):
    """Those about the API, by a configuration whose login is the user `syncer`."""
    (tmp_path / "syncer.yaml").write_text(
        f"""\
instance: test
source: {{kind: dump, path: {QUICKSTART}/dump, secrets: {{kind: none}}}}
sinks: [{{name: out, kind: file, path: out}}]
rules: [{{name: all, targets: [{{sink: out, path: "{{installation}}"}}]}}]
api: {{access: {{kind: kubernetes, kubeconfig: {kube_cluster.kubeconfig("syncer")}}}}}
"""
    )
    config = load_config(tmp_path / "syncer.yaml", {"HOME": str(tmp_path)})

    async def ask():
        return [one for of, found in await examine(config) for one in found if of == "api access"]

    return ask


async def test_without_the_rights_to_ask_every_caller_is_refused_and_doctor_says_so(findings, kube_cluster):
    (finding,) = await findings()
    assert finding.level is FindingLevel.ERROR
    assert "tokenreviews.authentication.k8s.io" in finding.detail
    assert "subjectaccessreviews.authorization.k8s.io" in finding.detail
    role = kube_cluster.grant("syncer", REVIEWS)
    try:
        (finding,) = await findings()
    finally:
        kube_cluster.revoke(role)
    assert (finding.level, finding.subject) == (FindingLevel.OK, "kubernetes")


async def test_a_cluster_that_is_away_is_a_finding(findings, kube_cluster, tmp_path):
    document = (tmp_path / "syncer.yaml").read_text()
    config = tmp_path / "away.kubeconfig"
    config.write_text(
        kube_cluster.kubeconfig("syncer").read_text().replace(kube_cluster.url, "https://127.0.0.1:1")
    )
    (tmp_path / "syncer.yaml").write_text(
        document.replace(str(kube_cluster.kubeconfig("syncer")), str(config))
    )
    loaded = load_config(tmp_path / "syncer.yaml", {"HOME": str(tmp_path)})
    (finding,) = [one for of, found in await examine(loaded) for one in found if of == "api access"]
    assert finding.level is FindingLevel.ERROR
