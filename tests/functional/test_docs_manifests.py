"""Every block of YAML in README.md and docs/ is accepted by whom it is for.

Manifests by a real API server, unknown fields being mistakes, in a namespace with Pod Security `restricted`;
configurations by `syncer config check`; the chart's values by Helm. A part of something stands within an example of
the whole. What pods of the pages get is laid out as a kubelet would, of Secrets that the syncer wrote. Definitions of
other projects are external-secrets' own, and otherwise stand-ins made from their references: nothing acts on them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncer.cli import main
from syncer.config.schema import ConfigFile
from tests.chart import kubelet
from tests.contract.installation_outputs_world import DEFINITION, RULES
from tests.docs.accepting import STAND_INS, asked, complaints, found_wrong, pod_of
from tests.docs.pages import ROOT, Block, blocks, rows_after, spans
from tests.servers import external_secrets, helm
from tests.servers.helm import Helm
from tests.servers.kube_client import KubeClient
from tests.servers.kubernetes import KubeCluster
from tests.servers.lacking import provided

Json = dict[str, Any]

CHART = ROOT / "charts" / "porter-outputs-syncer"
QUICKSTART = ROOT / "examples" / "quickstart"
SETTINGS = {field.alias or name for name, field in ConfigFile.model_fields.items()}
ELSEWHERE: Mapping[tuple[str, str], str] = {
    ("docs/file.md", "services:"): "a compose file: test_docs_install.py",
    ("docs/vault.md", "metadata:"): "the names in it: tests/unit/test_consumer_docs.py",
}

# The first test may have to build programs.
pytestmark = pytest.mark.timeout(900)


def loaded(block: Block) -> list[Any]:
    return list(yaml.safe_load_all(block.text))


def is_manifest(block: Block) -> bool:
    return all(isinstance(one, dict) and {"apiVersion", "kind"} <= one.keys() for one in loaded(block))


def is_configuration(block: Block) -> bool:
    return all(isinstance(one, dict) and one.keys() <= SETTINGS for one in loaded(block))


def is_values(block: Block) -> bool:
    return all(isinstance(one, dict) and "config" in one for one in loaded(block))


YAML = blocks("yaml")
MANIFESTS = [block for block in YAML if is_manifest(block)]
CONFIGURATIONS = [block for block in YAML if is_configuration(block)]
VALUES = [block for block in YAML if is_values(block)]


# --- parts of something


def part(page: str, start: str) -> Any:
    """The content of the block of a page that begins like this."""
    (found,) = (block for block in YAML if (block.page, block.first) == (page, start))
    return loaded(found)[0]


def _target(block: Json) -> Json:
    rule = {"name": "part", "targets": [{"sink": "cluster", **block}]}
    return {"rules": [rule]}


def _binding(block: Json) -> Json:
    workload = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}
    manifest = {"apiVersion": "servicebinding.io/v1", "kind": "ServiceBinding", "metadata": {"name": "part"}}
    return {**manifest, "spec": {**block["spec"], "workload": workload}}


def _config_map(block: Json) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"}, "data": block}


def _flux(block: Json) -> Json:
    api = "kustomize.toolkit.fluxcd.io/v1"
    return {"apiVersion": api, "kind": "Kustomization", "metadata": {"name": "part"}, "spec": block}


def _push_secret(block: Json) -> Json:
    stores = [{"kind": "SecretStore", "name": "partners"}]
    spec = {"secretStoreRefs": stores, **block}
    return {
        "apiVersion": "external-secrets.io/v1alpha1",
        "kind": "PushSecret",
        "metadata": {"name": "part"},
        "spec": spec,
    }


def _role(block: list[Json]) -> Json:
    api = "rbac.authorization.k8s.io/v1"
    return {"apiVersion": api, "kind": "Role", "metadata": {"name": "part"}, "rules": block}


PARTS: Mapping[tuple[str, str], Callable[[Any], Json]] = {
    ("docs/custom-resources.md", "spec:"): _binding,
    ("docs/custom-resources.md", "resource.customizations.health.outputs.porter.sh_InstallationOutputs: |"): _config_map,
    ("docs/custom-resources.md", "healthChecks:"): _flux,
    ("docs/custom-resources.md", "- apiGroups: [outputs.porter.sh]"): _role,
    ("docs/push-secret.md", "selector:"): _push_secret,
}  # fmt: skip
TARGET = ("docs/configuration.md", "restart:")
PATCH = ("docs/api.md", "spec:")


def test_every_block_of_yaml_is_looked_at_by_some_test() -> None:
    known = {(block.page, block.first) for block in (*MANIFESTS, *CONFIGURATIONS, *VALUES)}
    known |= {*PARTS, *ELSEWHERE, TARGET, PATCH}
    assert {(block.page, block.first) for block in YAML} == known


# --- manifests


@pytest.fixture(scope="module")
def cluster(kube_cluster: KubeCluster) -> KubeCluster:
    """A cluster that knows every kind the pages have."""
    others = provided(external_secrets.definitions)
    for definition in (DEFINITION, *STAND_INS, *others):
        kube_cluster.install(definition)
    return kube_cluster


@pytest.fixture
def space(cluster: KubeCluster) -> str:
    """A fresh namespace with Pod Security `restricted`."""
    name = f"docs-{secrets.token_hex(4)}"
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    cluster.admin.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    )
    return name


@pytest.mark.parametrize("block", MANIFESTS, ids=str)
def test_the_api_server_takes_every_manifest(block: Block, cluster: KubeCluster, space: str) -> None:
    assert found_wrong(cluster, loaded(block), space) == []


@pytest.mark.parametrize("key", PARTS, ids=str)
def test_the_api_server_takes_parts_of_manifests(
    key: tuple[str, str], cluster: KubeCluster, space: str
) -> None:
    assert found_wrong(cluster, [PARTS[key](part(*key))], space) == []


def test_the_patch_of_the_operator_fits_its_deployment(cluster: KubeCluster, space: str) -> None:
    """Of the operator's Deployment what its manifests of 1.x have: one container, as restricted as they make it."""
    container = {
        "name": "manager",
        "image": "operator:1",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    labels = {"control-plane": "controller-manager"}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    name = "porter-operator-controller-manager"
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
    assert found_wrong(cluster, [manifest], space) == []
    path = f"/apis/apps/v1/namespaces/{space}/deployments/{name}?fieldValidation=Strict"
    kind = "application/strategic-merge-patch+json"
    assert asked(cluster.admin, path, part(*PATCH), kind) == []
    patched = cluster.admin.get("apps/v1", "Deployment", name, space)
    assert patched is not None
    template = patched["spec"]["template"]
    assert {one["name"] for one in template["spec"]["containers"]} == {"manager", "porter-outputs-api"}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "made"}, "spec": template["spec"]}
    assert complaints(cluster.admin, made, space) == []


def test_the_rights_for_custom_resources_are_those_that_are_tested() -> None:
    assert part("docs/custom-resources.md", "- apiGroups: [outputs.porter.sh]") == RULES


def test_what_is_wrong_would_be_found(cluster: KubeCluster, space: str) -> None:
    pod = {"containers": [{"name": "x", "image": "x:1"}]}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod}
    assert "violates PodSecurity" in found_wrong(cluster, [manifest], space)[0]
    misspelt = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "datta": {}}
    assert "datta" in found_wrong(cluster, [misspelt], space)[0]


# --- configurations

WHOLE: Json = {
    "instance": "docs",
    "source": {"kind": "dump", "path": ".", "secrets": {"kind": "none"}},
    "sinks": [{"name": "cluster", "kind": "kubernetes"}],
    "rules": [{"name": "default", "targets": [{"sink": "cluster"}]}],
}


def mistakes(document: Json, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What `syncer config check` says against it, filled up to a whole one."""
    path = folder / "syncer.yaml"
    path.write_text(yaml.safe_dump(WHOLE | document))
    status = main(["config", "check", "-c", str(path)])
    return "" if status == 0 else capsys.readouterr().err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PORTER_MONGODB_URL", "mongodb://db.example/porter")
    return tmp_path


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=str)
def test_config_check_takes_every_configuration(
    block: Block, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (document,) = loaded(block)
    assert mistakes(document, folder, capsys) == ""


def test_config_check_takes_what_stands_elsewhere(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A part of a target, the content of a ConfigMap, and the chart's `config`."""
    values = loaded(VALUES[0])[0]["config"]
    for document in (_target(part(*TARGET)), _sidecar(), values):
        assert mistakes(document, folder, capsys) == ""


def _sidecar() -> Json:
    maps = [one for block in MANIFESTS for one in loaded(block) if one["kind"] == "ConfigMap"]
    (found,) = (one["data"]["syncer.yaml"] for one in maps)
    document: Json = yaml.safe_load(found)
    return document


def test_a_configuration_that_is_wrong_would_be_found(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "resyncIntervall" in mistakes({"resyncIntervall": "1m"}, folder, capsys)


# --- the chart's values


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(provided(helm.helm), tmp_path_factory.mktemp("helm"))


@pytest.mark.parametrize("block", VALUES, ids=str)
def test_helm_renders_what_the_api_server_takes(
    block: Block, chart: Helm, tmp_path: Path, cluster: KubeCluster, space: str
) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(block.text)
    # Without a cluster there is no instance to be made up.
    named = ("--values", path, "--set", "config.instance=docs")
    text = chart.run("template", "outputs", CHART, "--namespace", "porter-outputs", *named)
    made = [one for one in yaml.safe_load_all(text) if one is not None]
    assert {"Deployment", "ConfigMap", "Role"} <= {one["kind"] for one in made}
    assert found_wrong(cluster, made, space) == []


# --- what pods get


@pytest.fixture
def written(cluster: KubeCluster, tmp_path: Path) -> str:
    """The namespace in which the syncer has written what docs/kubernetes.md configures."""
    space = f"pods-{secrets.token_hex(4)}"
    cluster.admin.create_namespace(space)
    configured = part("docs/kubernetes.md", "sinks:")
    (sink,) = configured["sinks"]
    document = {
        **WHOLE,
        **configured,
        "namespaces": {"shop": space},
        "sinks": [{**sink, "kubeconfig": str(cluster.kubeconfig()), "namespaces": [space]}],
        "source": {
            "kind": "dump",
            "path": str(QUICKSTART / "dump"),
            "secrets": {"kind": "filesystem", "path": str(QUICKSTART / "secrets")},
        },
    }
    document["rules"] = [
        {**rule, "match": {"installations": ["orders-db"], "namespaces": ["shop"]}}
        for rule in configured["rules"]
    ]
    path = tmp_path / "syncer.yaml"
    path.write_text(yaml.safe_dump(document))
    assert main(["once", "-c", str(path)]) == 0
    return space


def containers(page: str) -> Iterator[tuple[Json, Json]]:
    """Each container of a page's pods, with the pod's spec."""
    for manifest in (one for block in MANIFESTS if block.page == page for one in loaded(block)):
        pod: Json | None = manifest if manifest["kind"] == "Pod" else pod_of(manifest)
        if pod is not None:
            yield from ((one, pod["spec"]) for one in pod["spec"]["containers"])


def files_of(client: KubeClient, space: str, container: Json, pod: Json) -> Iterator[str]:
    volumes = {one["name"]: one for one in pod.get("volumes", [])}
    for mount in container.get("volumeMounts", []):
        volume: Json = volumes[mount["name"]]
        source = volume["secret"] if "secret" in volume else volume["projected"]
        yield from (f"{mount['mountPath']}/{path}" for path in kubelet.content_of(client, space, source))


@pytest.mark.parametrize(
    ("page", "heading"),
    [("docs/install.md", "5. Read it from a pod"), ("docs/kubernetes.md", "## Reading it from a pod")],
)
def test_containers_have_what_the_page_says(
    page: str, heading: str, cluster: KubeCluster, written: str
) -> None:
    said = {spans(name)[0]: sorted(spans(has)) for name, has in rows_after(ROOT / page, heading)}
    got = {
        container["name"]: sorted(
            [
                *kubelet.environment(cluster.admin, written, container),
                *files_of(cluster.admin, written, container, pod),
            ]
        )
        for container, pod in containers(page)
    }
    assert got == said
