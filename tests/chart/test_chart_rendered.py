"""What the chart renders of each example is taken by a real API server and by the syncer's own loader.

Every manifest is applied, not only tried, into a namespace with Pod Security `restricted`, where an unknown
field is a mistake and a warning a failure. Excludes what runs then: there is no kubelet here.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from chart_world import (
    EXAMPLES,
    NAME,
    applied,
    configuration,
    container,
    example,
    found,
    of_kind,
    rendered,
    values_of,
)

from syncer.config.loading import load_config

PLACES = "/var/run/porter-outputs-syncer"
SECRETS = {"PORTER_MONGODB_URL": "mongodb://db/porter", "VAULT_SECRET_ID": "x"}
"""What the Secrets that the examples name would hold."""


def test_there_are_examples_of_everything() -> None:
    assert len(EXAMPLES) >= 16


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_api_server_takes_every_manifest_without_a_warning(helm, chart_cluster, home, name) -> None:
    objects = example(helm, name, home)
    assert {one["kind"] for one in objects} >= {"Deployment", "ConfigMap"}
    order = sorted(objects, key=lambda one: one["kind"] != "CustomResourceDefinition")
    answers = {_place(one): applied(chart_cluster.admin, one) for one in order}
    assert {place: answer for place, answer in answers.items() if answer not in _GOOD} == {}


_GOOD = ((200, []), (201, []))


def _place(one) -> tuple[str, str, str]:
    return one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]


def test_the_api_server_would_warn_and_refuse(helm, chart_cluster, home) -> None:
    """A looser pod: what the test above rests on."""
    looser = ("--values", values_of("kubernetes"), "--set", "securityContext.allowPrivilegeEscalation=true")
    objects = rendered(helm, home, *looser)
    status, warnings = applied(chart_cluster.admin, found(objects, "Deployment"))
    assert (status, "allowPrivilegeEscalation" in str(warnings)) == (201, True)
    status, (message,) = applied(chart_cluster.admin, found(objects, "Pod", f"{NAME}-doctor"))
    assert (status, "violates PodSecurity" in message) == (403, True)
    wrong = found(objects, "ServiceAccount") | {"tokens": []}
    _, (message,) = applied(chart_cluster.admin, wrong)
    assert "tokens: field not declared" in message


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_syncer_takes_every_configuration(helm, tmp_path, name) -> None:
    objects = example(helm, name)
    for deployment in of_kind(objects, "Deployment"):
        text = found(objects, "ConfigMap", deployment["metadata"]["name"])["data"]["syncer.yaml"]
        config = load_config(_laid_out(text, tmp_path), {"HOME": str(tmp_path), **SECRETS})
        assert config.policy.instance == "test"


def _laid_out(text: str, folder: Path) -> Path:
    """The configuration in a file, and the files it names where it names them, below a folder."""
    for path in re.findall(rf"{PLACES}/\S+", text):
        file = folder / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(SECRETS["PORTER_MONGODB_URL"])
    path = folder / "syncer.yaml"
    path.write_text(text.replace(PLACES, f"{folder}{PLACES}"))
    return path


@pytest.mark.parametrize("name", EXAMPLES)
def test_both_majors_of_helm_render_the_same(helm, former_helm, name) -> None:
    def keyed(objects):
        return {(one["kind"], one["metadata"]["name"]): one for one in objects}

    assert keyed(example(helm, name)) == keyed(example(former_helm, name))


@pytest.mark.parametrize("name", EXAMPLES)
def test_pods_are_confined(helm, name) -> None:
    for deployment in of_kind(example(helm, name), "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsUser"] == 65532
        (syncer,) = (one for one in pod["containers"] if one["name"] == "syncer")
        assert syncer["securityContext"]["readOnlyRootFilesystem"] is True
        assert syncer["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_pods_get_a_token_only_where_they_need_it(helm) -> None:
    def automounts(example_name: str, deployment: str = NAME) -> bool:
        pod = found(example(helm, example_name), "Deployment", deployment)["spec"]["template"]["spec"]
        return pod["automountServiceAccountToken"]

    assert {name for name in EXAMPLES if not automounts(name, _deployment(name))} == {"file"}
    assert automounts("api-separate", f"{NAME}-api")


def _deployment(name: str) -> str:
    return "outputs" if name == "pods" else NAME


def test_tmp_is_there_only_for_what_writes_there(helm) -> None:
    def has_tmp(name: str) -> bool:
        mounts = container(example(helm, name), _deployment(name))["volumeMounts"]
        return any(one["mountPath"] == "/tmp" for one in mounts)

    assert {name for name in EXAMPLES if has_tmp(name)} == {"file", "kubeconfig"}


def test_the_configuration_is_mounted_as_a_folder_so_that_changes_arrive(helm) -> None:
    objects = example(helm, "kubernetes")
    mounts = {one["mountPath"]: one for one in container(objects)["volumeMounts"]}
    assert "subPath" not in mounts["/etc/porter-outputs-syncer"]
    assert not [name for name in _annotations(objects) if "checksum" in name]


def _annotations(objects) -> dict[str, str]:
    return found(objects, "Deployment")["spec"]["template"]["metadata"]["annotations"]


def test_credentials_come_by_variable_or_file(helm) -> None:
    variables = container(example(helm, "kubernetes"))["env"]
    assert variables == [
        {
            "name": "PORTER_MONGODB_URL",
            "valueFrom": {"secretKeyRef": {"name": "porter-mongodb", "key": "url"}},
        }
    ]
    objects = example(helm, "restarts")
    url = configuration(objects)["source"]["url"]["file"]
    mounts = [one["mountPath"] for one in container(objects)["volumeMounts"]]
    assert "env" not in container(objects)
    assert str(Path(url).parent) in mounts


def test_the_lease_is_beside_the_pods(helm) -> None:
    assert configuration(example(helm, "kubernetes"))["leaderElection"] == {
        "kind": "lease",
        "namespace": "porter",
        "name": NAME,
    }


def test_a_digest_wins_over_a_tag(helm) -> None:
    image = container(example(helm, "pods"), "outputs")["image"]
    assert re.fullmatch(r"images\.example/platform/porter-outputs-syncer@sha256:[0-9a-f]{64}", image)
    assert container(example(helm, "kubernetes"))["image"] == "porter-outputs-syncer:0.1.0"


def test_a_separate_api_knows_no_sink_and_no_login_to_one(helm) -> None:
    objects = example(helm, "api-separate")
    api = configuration(objects, f"{NAME}-api")
    assert [sink["kind"] for sink in api["sinks"]] == ["file"]
    assert "api" not in configuration(objects)
    assert {one["name"] for one in container(objects, f"{NAME}-api")["env"]} == {
        "PORTER_MONGODB_URL",
        "GRPC_VERBOSITY",
    }
    assert {one["name"] for one in container(objects)["env"]} == {"PORTER_MONGODB_URL", "VAULT_SECRET_ID"}
    assert container(objects, f"{NAME}-api")["args"][0] == "api"


def test_the_librarys_own_log_is_off_where_the_api_is_served(helm) -> None:
    """It has a line for everybody who does not speak TLS; whoever wants those says so."""

    def level(objects, name: str = NAME) -> list[str]:
        return [one["value"] for one in container(objects, name)["env"] if one["name"] == "GRPC_VERBOSITY"]

    assert level(example(helm, "api")) == ["NONE"]
    assert level(example(helm, "api-separate"), f"{NAME}-api") == ["NONE"]
    assert level(example(helm, "api-separate")) == level(example(helm, "kubernetes")) == []
    own = ("--set-json", 'extraEnv=[{"name": "GRPC_VERBOSITY", "value": "DEBUG"}]')
    assert level(rendered(helm, "porter", "--values", values_of("api"), *own)) == ["DEBUG"]


def test_the_api_is_reached_by_the_names_its_certificate_is_good_for(helm) -> None:
    objects = example(helm, "api-separate")
    certificate, service = (found(objects, kind, f"{NAME}-api") for kind in ("Certificate", "Service"))
    assert f"{NAME}-api.porter.svc" in certificate["spec"]["dnsNames"]
    assert service["spec"]["selector"].items() <= _labels(objects, f"{NAME}-api").items()
    volumes = found(objects, "Deployment", f"{NAME}-api")["spec"]["template"]["spec"]["volumes"]
    assert certificate["spec"]["secretName"] in [one.get("secret", {}).get("secretName") for one in volumes]


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_selects_pods_selects_those_of_one_deployment(helm, name) -> None:
    objects = example(helm, name)
    pods = [one["spec"]["template"]["metadata"]["labels"] for one in of_kind(objects, "Deployment")]
    selectors = [one["spec"]["selector"] for one in of_kind(objects, "Service")]
    selectors += [
        one["spec"]["selector"]["matchLabels"]
        for kind in ("Deployment", "PodDisruptionBudget")
        for one in of_kind(objects, kind)
    ]
    for selector in selectors:
        assert sum(selector.items() <= labels.items() for labels in pods) == 1


def _labels(objects, name: str) -> dict[str, str]:
    return found(objects, "Deployment", name)["spec"]["template"]["metadata"]["labels"]


@pytest.mark.parametrize("mode", ["skipIfMissing", "alwaysRender"])
def test_monitoring_can_be_left_out_where_nobody_knows_it(helm, mode) -> None:
    chart = values_of("kubernetes").parents[1]
    switched = ["metrics.serviceMonitor.enabled=true", f"metrics.serviceMonitor.renderMode={mode}"]
    text = helm.run("template", "x", chart, "--values", values_of("kubernetes"), "--set", ",".join(switched))
    kinds = {one["kind"] for one in yaml.safe_load_all(text) if one}
    assert ("ServiceMonitor" in kinds) == (mode == "alwaysRender")


def test_alerts_and_dashboard_are_those_of_the_product(helm) -> None:
    objects = example(helm, "monitoring")
    root = Path(__file__).parents[2] / "dashboards"
    assert found(objects, "PrometheusRule")["spec"] == yaml.safe_load((root / "alerts.yaml").read_text())
    shown = found(objects, "ConfigMap", f"{NAME}-dashboard")["data"]["porter-outputs-syncer.json"]
    assert shown == (root / "grafana.json").read_text()


def test_more_objects_are_templates(helm) -> None:
    objects = example(helm, "pods")
    assert found(objects, "ConfigMap", "prod-more")["data"] == {"instance": "test"}
    assert found(objects, "ConfigMap", "text")["metadata"]["namespace"] == "porter"


def test_everything_goes_to_the_namespace_that_is_asked_for(helm) -> None:
    objects = rendered(helm, "porter", "--values", values_of("all-sinks"), "--set", "namespaceOverride=other")
    places = {one["metadata"].get("namespace") for one in objects}
    assert places == {None, "other", "shop", "billing"}
    bindings = [*of_kind(objects, "RoleBinding"), *of_kind(objects, "ClusterRoleBinding")]
    assert {subject["namespace"] for one in bindings for subject in one["subjects"]} == {"other"}
