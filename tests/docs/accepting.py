"""What an API server says against a manifest, and definitions for kinds of other projects.

Applied on the server's side, an unknown field being a mistake; warnings count as well. The definitions are stand-ins
made from those projects' references, as far as the pages use them: nothing acts on them.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from typing import Any

from tests.servers.kube_client import KubeClient
from tests.servers.kubernetes import KubeCluster

Json = dict[str, Any]


def asked(client: KubeClient, path: str, body: object, content_type: str) -> list[str]:
    """A PATCH: what the server warns of, or the status and why it refuses."""
    headers = {"Authorization": f"Bearer {client.token}", "Content-Type": content_type}
    request = urllib.request.Request(client.url + path, json.dumps(body).encode(), headers, method="PATCH")
    context = ssl.create_default_context(cafile=str(client.ca_file))
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return answer.headers.get_all("Warning") or []
    except urllib.error.HTTPError as error:
        with error:
            return [f"{error.code}: {json.loads(error.read())['message']}"]


def complaints(client: KubeClient, manifest: Json, space: str, *, only_try: bool = False) -> list[str]:
    """What an API server says against a manifest, which is applied in `space`, or only tried where it has no namespace."""
    has_namespace = client._resource(*_kind(manifest))["namespaced"]
    metadata = {**manifest["metadata"], **({"namespace": space} if has_namespace else {})}
    path = client._path(manifest["apiVersion"], manifest["kind"], space)
    query = "fieldManager=docs&force=true&fieldValidation=Strict"
    query += "&dryRun=All" if only_try or not has_namespace else ""
    body = {**manifest, "metadata": metadata}
    content_type = "application/apply-patch+yaml"
    found = asked(client, f"{path}/{metadata['name']}?{query}", body, content_type)
    if "status" in manifest and not found:
        found = asked(client, f"{path}/{metadata['name']}/status?{query}", body, content_type)
    return found


def _kind(manifest: Json) -> tuple[str, str]:
    api = manifest["apiVersion"]
    return (f"/apis/{api}" if "/" in api else f"/api/{api}"), manifest["kind"]


def pod_of(manifest: Json) -> Json | None:
    """The pod that a controller would make of it: Pod Security refuses pods, and warns of the rest."""
    if manifest["kind"] != "Deployment":
        return None
    template = manifest["spec"]["template"]
    metadata = {"name": manifest["metadata"]["name"], **template.get("metadata", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def found_wrong(cluster: KubeCluster, manifests: list[Json], space: str) -> list[str]:
    pods = [pod for one in manifests if (pod := pod_of(one)) is not None]
    return [text for one in (*manifests, *pods) for text in complaints(cluster.admin, one, space)]


# --- kinds of others


def _stub(group: str, kind: str, version: str, spec: Json) -> Json:
    plural = f"{kind.lower()}s" if not kind.endswith("s") else f"{kind.lower()}es"
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}}
    served = {
        "name": version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    names = {"kind": kind, "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [served]},
    }


_TEXT: Json = {"type": "string"}
_REFERENCE: Json = {
    "type": "object",
    "properties": {"apiVersion": _TEXT, "kind": _TEXT, "name": _TEXT, "namespace": _TEXT},
}
STAND_INS = [
    _stub(
        "secrets-store.csi.x-k8s.io",
        "SecretProviderClass",
        "v1",
        {"provider": _TEXT, "parameters": {"type": "object", "additionalProperties": _TEXT}},
    ),
    _stub("servicebinding.io", "ServiceBinding", "v1", {"service": _REFERENCE, "workload": _REFERENCE}),
    _stub(
        "kustomize.toolkit.fluxcd.io",
        "Kustomization",
        "v1",
        {"healthChecks": {"type": "array", "items": _REFERENCE}},
    ),
]
