"""What a configuration may say about this sink, and the kind as the registry sees it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from backends.contract import Layout, TargetShape
from backends.kubernetes_secret import KIND
from backends.kubernetes_secret.options import KubernetesSinkOptions, KubernetesTargetOptions


def refusal(model, fields) -> str:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(fields)
    (error,) = caught.value.errors()
    return ".".join(str(part) for part in error["loc"]) + ": " + error["msg"]


def test_the_defaults():
    options = KubernetesSinkOptions()
    assert options.model_dump() == {
        "kubeconfig": None,
        "context": None,
        "request_timeout": 30.0,
        "namespaces": None,
    }
    assert KubernetesTargetOptions().shape() == TargetShape(
        parts=("{namespace}", "{installation}-outputs"), layout=Layout.BUNDLE, attributes={"type": "Opaque"}
    )


def test_options_are_written_in_camel_case():
    fields = {
        "kubeconfig": "~/.kube/config",
        "context": "prod",
        "requestTimeout": "500ms",
        "namespaces": ["shop"],
    }
    options = KubernetesSinkOptions.model_validate(fields)
    assert options == KubernetesSinkOptions(
        kubeconfig=Path("~/.kube/config"), context="prod", request_timeout=0.5, namespaces=("shop",)
    )
    assert KubernetesSinkOptions.model_validate({"requestTimeout": "1.5m"}).request_timeout == 90.0


def test_a_target_comes_down_to_parts_and_attributes():
    fields = {
        "namespace": "team-{namespace}",
        "name": "{installation}",
        "type": "servicebinding.io/mysql",
        "labels": {"app.kubernetes.io/part-of": "shop"},
        "annotations": {"reloader.stakater.com/match": "true"},
    }
    assert KubernetesTargetOptions.model_validate(fields).shape() == TargetShape(
        parts=("team-{namespace}", "{installation}"),
        layout=Layout.BUNDLE,
        attributes={
            "type": "servicebinding.io/mysql",
            "label:app.kubernetes.io/part-of": "shop",
            "annotation:reloader.stakater.com/match": "true",
        },
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"requestTimeout": "soon"},
            "requestTimeout: Value error, should be a duration such as 30s, 500ms or 1m",
        ),
        ({"requestTimeout": 0}, "requestTimeout: Input should be greater than 0"),
        ({"requestTimeout": "11m"}, "requestTimeout: Input should be less than or equal to 600"),
        ({"namespaces": []}, "namespaces: Value error, should list at least one namespace, or be left out"),
        ({"namespaces": ["Shop"]}, "namespaces.0: Value error, 'Shop' is not a legal Kubernetes namespace"),
        ({"token": "x"}, "token: Extra inputs are not permitted"),
    ],
)
def test_bad_sink_options_are_refused(fields, message):
    assert refusal(KubernetesSinkOptions, fields) == message


@pytest.mark.bad_input(47)
@pytest.mark.parametrize(
    "name",
    [
        "kubernetes.io/service-account-token",
        "bootstrap.kubernetes.io/token",
        "kubernetes.io/dockercfg",
        "",
        "opaque",
        "servicebinding.io/",
    ],
)
def test_types_that_make_credentials_are_refused(name):
    assert refusal(KubernetesTargetOptions, {"type": name}).startswith(
        f"type: Value error, {name!r} is not one of Opaque,"
    )


@pytest.mark.bad_input(33, 47)
@pytest.mark.parametrize("field", ["labels", "annotations"])
@pytest.mark.parametrize(
    "name",
    [
        "outputs.porter.sh/instance",
        "app.kubernetes.io/managed-by",
        "app.kubernetes.io/instance",
        "kubernetes.io/service-account.name",
        "kubectl.kubernetes.io/last-applied-configuration",
    ],
)
def test_labels_and_annotations_others_act_on_are_refused(field, name):
    assert f"{field}.{name}" in refusal(KubernetesTargetOptions, {field: {name: "x"}})
    assert "reserved" in refusal(KubernetesTargetOptions, {field: {name: "x"}})


@pytest.mark.parametrize(
    "name",
    ["", "/a", "a/", "a/b/c", "A.example/a", "-a", "a b", "é", "a" * 64, "x" * 254 + "/a", "a..b/c", "a\n"],
)
def test_names_that_kubernetes_refuses_are_refused(name):
    assert "not a legal name of a label or annotation" in refusal(
        KubernetesTargetOptions, {"labels": {name: "x"}}
    )


@pytest.mark.parametrize(
    "name", ["a", "A_b.c-d", "a" * 63, "example.com/a", "a/b", "argocd.argoproj.io/compare-options"]
)
def test_names_that_kubernetes_takes_are_taken(name):
    assert KubernetesTargetOptions.model_validate({"labels": {name: ""}}).labels == {name: ""}


@pytest.mark.bad_input(33)
@pytest.mark.parametrize("value", ["a" * 64, "a b", "-a", "é", "a\n"])
def test_label_values_that_kubernetes_refuses_are_refused(value):
    assert "at most 63" in refusal(KubernetesTargetOptions, {"labels": {"a": value}})
    assert KubernetesTargetOptions.model_validate({"annotations": {"a": value}}).annotations == {"a": value}


def test_the_kind_names_its_own_parts():
    assert (KIND.kind, KIND.options, KIND.target) == (
        "kubernetes",
        KubernetesSinkOptions,
        KubernetesTargetOptions,
    )
    naming = KIND.naming(KubernetesSinkOptions(namespaces=("kube-system",)))
    assert naming.address(("kube-system", "a")) == "kube-system/a"


def test_importing_the_kind_loads_no_client_library():
    code = "import sys, backends.kubernetes_secret; print({'kubernetes', 'aiohttp'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


async def test_the_sink_is_made_without_a_server():
    assert KIND.create(KubernetesSinkOptions()).capabilities == KIND.capabilities
