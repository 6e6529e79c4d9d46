"""A wrong value is refused before anything is installed, by a message that names it.

Two ways: values.schema.json, and the chart's own checks. Excludes what the syncer itself refuses when it
starts, such as an address template.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_world import CHART, values_of

from tests.servers.helm import HelmFailedError

KUBERNETES = {"name": "cluster", "kind": "kubernetes", "namespaces": ["shop"]}
SECOND = KUBERNETES | {"name": "second", "namespaces": ["billing"]}
MISSING = object()
NOT_TEXT = {"method": "approle", "roleId": "a", "secretId": "canary-7f3a"}

# Example, the value that is set, what it is set to, and what the message has to say.
MISTAKES = [
    # --- of the schema
    ("kubernetes", "replica", 3, ["'replica'"]),
    ("kubernetes", "replicas", "two", ["/replicas", "integer"]),
    ("kubernetes", "image.digest", "sha256:abc", ["/image/digest"]),
    ("kubernetes", "terminationGracePeriodSeconds", 5, ["/terminationGracePeriodSeconds", "15"]),
    ("kubernetes", "logLevel", "loud", ["/logLevel", "'debug'"]),
    ("kubernetes", "metrics.serviceMonitor.renderMode", "maybe", ["/metrics/serviceMonitor/renderMode"]),
    ("kubernetes", "networkPolicy.kubernetesPorts", [0], ["/networkPolicy/kubernetesPorts/0"]),
    ("kubernetes", "rbac.readSecretsIn", ["*"], ["/rbac/readSecretsIn/0"]),
    ("kubernetes", "credentials", [{"secretName": "a", "env": "B"}], ["/credentials/0", "key"]),
    ("kubernetes", "credentials", [{"secretName": "a", "env": "B", "key": "c", "mountPath": "/d"}], ["mountPath"]),
    ("kubernetes", "serviceAccount.annotations", {"a": 1}, ["/serviceAccount/annotations/a", "string"]),
    ("kubernetes", "api.tls.certManager.issuer", "a", ["/api/tls/certManager", "'issuer'"]),
    ("kubernetes", "config.pollInterval", "2s", ["/config", "'pollInterval'"]),
    ("kubernetes", "config.resyncInterval", 600, ["/config/resyncInterval", "string"]),
    ("kubernetes", "config.resyncInterval", "", ["/config/resyncInterval"]),
    ("kubernetes", "config.instance", "-prod", ["/config/instance"]),
    ("kubernetes", "config.source.kind", "mysql", ["/config/source/kind", "'mongodb'"]),
    ("kubernetes", "config.source.secrets", MISSING, ["/config/source", "'secrets'"]),
    ("kubernetes", "config.source.secrets.kind", "vaults", ["/config/source/secrets/kind", "'vault'"]),
    ("kubernetes", "config.sinks", [], ["/config/sinks", "minItems"]),
    ("kubernetes", "config.sinks[0].kind", "kubernets", ["/config/sinks/0/kind", "'kubernetes'"]),
    ("kubernetes", "config.sinks[0].namespace", "shop", ["/config/sinks/0", "'namespace'"]),
    ("kubernetes", "config.sinks[0].namespaces", [""], ["/config/sinks/0/namespaces/0"]),
    ("kubernetes", "config.sinks[0].namespaces", ["*"], ["/config/sinks/0/namespaces/0"]),
    ("kubernetes", "config.rules[0].targets[0].sinc", "a", ["/config/rules/0/targets/0", "'sinc'"]),
    ("kubernetes", "config.guard.maxDeletionPercent", 200, ["/config/guard/maxDeletionPercent", "100"]),
    ("vault", "config.sinks[0].auth.method", "kubernets", ["/config/sinks/0/auth/method", "'kubernetes'"]),
    ("vault", "config.sinks[0].auth", NOT_TEXT, ["/config/sinks/0/auth/secretId"]),
    ("azure", "config.sinks[0].vaultUrl", MISSING, ["/config/sinks/0", "'vaultUrl'"]),
    # --- of the chart itself
    ("kubernetes", "config.instance", MISSING, ["config.instance:", "helm template"]),
    ("kubernetes", "config.sinks[0].namespaces", MISSING, ["config.sinks[0].namespaces:", "rbac.clusterWide"]),
    ("kubernetes", "config.sinks", [KUBERNETES, KUBERNETES], ["config.sinks[1].name:", '"cluster"']),
    ("kubernetes", "config.sinks", [KUBERNETES, SECOND], ["config.sinks[1]:", "same cluster", '"cluster"']),
    ("kubernetes", "config.rules[0].targets[0].sink", "vault", ["config.rules[0].targets[0].sink:", '"vault"']),
    ("kubernetes", "config.source.url", "mongodb://a:canary-7f3a@db/porter", ["config.source.url:", "password"]),
    ("kubernetes", "config.source.url", {"env": "MONGO"}, ["config.source.url.env:", "MONGO", "credentials"]),
    ("kubernetes", "config.leaderElection", {"kind": "none"}, ["replicas:", "config.leaderElection.kind"]),
    ("kubernetes", "config.telemetry", {"listen": None}, ["config.telemetry.listen:"]),
    ("kubernetes", "config.telemetry", {"listen": "127.0.0.1:9464"}, ["config.telemetry.listen:", "kubelet"]),
    ("kubernetes", "config.api", {"enabled": True}, ["api.tls.existingSecret:", "certificate"]),
    ("kubernetes", "api.separate", True, ["api.separate:", "config.api.enabled"]),
    ("vault", "config.customResources", {"enabled": True}, ["config.customResources.sink:", "there are 0"]),
    ("kubernetes", "config.customResources", {"enabled": True, "sink": "a"}, ["config.customResources.sink:"]),
    ("api", "api.tls.certManager.enabled", True, ["api.tls.existingSecret:", "api.tls.certManager"]),
    ("api", "config.api.access", {"kind": "loopback"}, ["config.api.access.kind:", "127.0.0.1"]),
    ("api-certificates", "api.tls.clientCa", {}, ["api.tls.clientCa.secretName:"]),
    ("api-separate", "api.tls.certManager.issuerRef", {}, ["api.tls.certManager.issuerRef.name:"]),
    ("api-separate", "config.api.listen", "127.0.0.1:3001", ["config.api.listen:"]),
    ("file", "extraVolumeMounts", [], ["config.sinks[0].path:", "extraVolumeMounts"]),
    ("file", "config.source.path", "./dump", ["config.source.path:", "absolute"]),
    ("file", "config.source.secrets.path", "/data-of/secrets", ["config.source.secrets.path:"]),
    ("monitoring", "metrics.serviceMonitor.enabled", True, ["metrics.serviceMonitor.renderMode:", "ServiceMonitor"]),
]  # fmt: skip


def _name(mistake) -> str:
    example, value, given, _ = mistake
    return f"{example}: {value} {'missing' if given is MISSING else json.dumps(given)}"


@pytest.mark.parametrize("mistake", MISTAKES, ids=_name)
def test_a_wrong_value_is_named(helm, tmp_path, mistake) -> None:
    example, value, given, told = mistake
    path = tmp_path / "values.yaml"
    path.write_text(json.dumps(changed(example, value, given)))
    with pytest.raises(HelmFailedError) as refusal:
        helm.run(*template(path))
    message = str(refusal.value)
    assert [part for part in told if part not in message] == [], message
    assert "canary-7f3a" not in message
    assert "metaschema" not in message


def changed(example: str, value: str, given: object) -> dict[str, Any]:
    """The values of an example, with another one at this path, or without it."""
    values = yaml.safe_load(values_of(example).read_text())
    *parents, last = [int(part) if part.isdigit() else part for part in re.findall(r"\w+", value)]
    node = values
    for part in parents:
        node = node[part] if isinstance(part, int) else node.setdefault(part, {})
    if given is MISSING:
        del node[last]
    else:
        node[last] = given
    return values


def template(values: Path) -> list[str | Path]:
    return ["template", "prod", CHART, "--kube-version", "1.37.2", "--values", values]


def test_without_a_configuration_it_says_what_is_missing(helm) -> None:
    with pytest.raises(HelmFailedError, match="'source', 'sinks', 'rules'"):
        helm.run("template", "prod", CHART)


def test_every_example_is_right_as_it_is(helm) -> None:
    """So that what is refused above is the one value that was changed."""
    for example in {mistake[0] for mistake in MISTAKES} - {"monitoring"}:
        assert list(yaml.safe_load_all(helm.run(*template(values_of(example)))))


def test_a_sink_of_another_package_takes_an_option_of_helm(helm) -> None:
    sink = json.dumps({"name": "cluster", "kind": "sqlite", "path": "/data/outputs.db"})
    command = [*template(values_of("kubernetes")), "--set-json", f"config.sinks[0]={sink}"]
    with pytest.raises(HelmFailedError, match="/config/sinks/0/kind"):
        helm.run(*command)
    assert "sqlite" in helm.run(*command, "--skip-schema-validation")
