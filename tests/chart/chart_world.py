"""What the tests of the chart share: what Helm renders of each example, and an API server that warns.

The examples are the chart's own `ci/*-values.yaml`.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.servers.helm import Helm
from tests.servers.kube_client import KubeClient
from tests.servers.kubernetes import KubeCluster

CHART = Path(__file__).parents[2] / "charts" / "porter-outputs-syncer"
EXAMPLES = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
RELEASE = "prod"
NAME = "prod-porter-outputs-syncer"
CRD = "installationoutputs.outputs.porter.sh"
READERS = ("porter-outputs-syncer-view", "porter-outputs-syncer-service-binding")
"""Roles of those who read InstallationOutputs, which releases share as they share the definition."""
MONITORING = "monitoring.coreos.com/v1"

Object = dict[str, Any]
Json = dict[str, Any]


def values_of(example: str) -> Path:
    return CHART / "ci" / f"{example}-values.yaml"


def rendered(helm: Helm, namespace: str, *arguments: str | Path, hooks: bool = True) -> list[Object]:
    """The objects of `helm template` with these arguments; Prometheus' operator counts as installed."""
    cluster = ("--kube-version", "1.37.2", "--api-versions", MONITORING)
    command = ["template", RELEASE, CHART, "--namespace", namespace, *cluster]
    text = helm.run(*command, *([] if hooks else ["--no-hooks"]), *arguments)
    return [one for one in yaml.safe_load_all(text) if one is not None]


@cache
def example(helm: Helm, name: str, namespace: str = "porter") -> list[Object]:
    return rendered(helm, namespace, "--values", values_of(name))


def found(objects: list[Object], kind: str, name: str = NAME) -> Object:
    """The one object of this kind and name."""
    (one,) = (one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return one


def of_kind(objects: list[Object], kind: str) -> Iterator[Object]:
    return (one for one in objects if one["kind"] == kind)


def configuration(objects: list[Object], name: str = NAME) -> Json:
    """The syncer.yaml that pods of this Deployment read."""
    loaded: Json = yaml.safe_load(found(objects, "ConfigMap", name)["data"]["syncer.yaml"])
    return loaded


def container(objects: list[Object], name: str = NAME) -> Json:
    (syncer,) = (
        one
        for one in found(objects, "Deployment", name)["spec"]["template"]["spec"]["containers"]
        if one["name"] == "syncer"
    )
    return dict(syncer)


def until(holds: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- the API server ------------------------------------------------------------------------


def restricted(cluster: KubeCluster, name: str) -> str:
    """Make a namespace in which pods have to be as restricted as Pod Security knows."""
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    metadata = {"name": name, "labels": levels}
    cluster.admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    return name


def applied(client: KubeClient, manifest: Mapping[str, Any]) -> tuple[int, list[str]]:
    """Server-side apply, an unknown field being a mistake: the status, and what the API server warns of."""
    metadata = manifest["metadata"]
    path = client._path(manifest["apiVersion"], manifest["kind"], metadata.get("namespace"))
    query = urllib.parse.urlencode({"fieldManager": "chart", "force": "true", "fieldValidation": "Strict"})
    url = f"{client.url}{path}/{urllib.parse.quote(metadata['name'])}?{query}"
    headers = {"Authorization": f"Bearer {client.token}", "Content-Type": "application/apply-patch+yaml"}
    request = urllib.request.Request(url, json.dumps(manifest).encode(), headers, method="PATCH")
    try:
        with urllib.request.urlopen(request, timeout=30, context=client._tls) as answer:
            return answer.status, answer.headers.get_all("Warning") or []
    except urllib.error.HTTPError as error:
        with error:
            return error.code, [json.loads(error.read())["message"]]


def stub(group: str, kind: str, plural: str, spec: Json) -> Json:
    """A definition of somebody else's, as far as the chart writes such objects."""
    schema = {"type": "object", "properties": {"spec": spec}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [version],
        },
    }


def _object(**properties: Json) -> Json:
    return {"type": "object", "properties": properties}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


_TEXT: Json = {"type": "string"}
_TEXTS: Json = {"type": "object", "additionalProperties": _TEXT}
_RELABELINGS = _list(_object(action=_TEXT, regex=_TEXT))
STUBS = [
    stub(
        "cert-manager.io",
        "Certificate",
        "certificates",
        _object(
            secretName=_TEXT,
            issuerRef=_object(name=_TEXT, kind=_TEXT, group=_TEXT),
            dnsNames=_list(_TEXT),
            usages=_list(_TEXT),
            privateKey=_object(algorithm=_TEXT, rotationPolicy=_TEXT),
            duration=_TEXT,
            renewBefore=_TEXT,
        ),
    ),
    stub(
        "monitoring.coreos.com",
        "ServiceMonitor",
        "servicemonitors",
        _object(
            namespaceSelector=_object(matchNames=_list(_TEXT)),
            selector=_object(matchLabels=_TEXTS),
            endpoints=_list(
                _object(
                    port=_TEXT,
                    path=_TEXT,
                    interval=_TEXT,
                    scrapeTimeout=_TEXT,
                    relabelings=_RELABELINGS,
                    metricRelabelings=_RELABELINGS,
                )
            ),
        ),
    ),
    stub(
        "monitoring.coreos.com",
        "PrometheusRule",
        "prometheusrules",
        _object(
            groups=_list(
                _object(
                    name=_TEXT,
                    rules=_list(
                        _object(alert=_TEXT, expr=_TEXT, labels=_TEXTS, annotations=_TEXTS, **{"for": _TEXT})
                    ),
                )
            )
        ),
    ),
]
"""Written from the published references of cert-manager and of Prometheus' operator; nothing acts on them."""
