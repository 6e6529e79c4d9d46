"""The administrator's hands in a test cluster: apply, get, list, delete over plain HTTPS.

Standard library only and blocking: it arranges and inspects, while the product talks through its own
client. No retries, no watches, no paging.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

Manifest = Mapping[str, Any]

_TIMEOUT = 30  # seconds


class KubeError(Exception):
    """The server refused; `status` is the HTTP status, the message the server's own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass(frozen=True)
class KubeClient:
    """A blocking client for one user of a cluster."""

    url: str
    ca_file: Path
    token: str
    _discovered: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict, repr=False)

    def apply(self, manifest: Manifest) -> dict[str, Any]:
        """Creates or updates by server-side apply, as the field manager "test-rig"."""
        metadata = manifest["metadata"]
        path = self._path(manifest["apiVersion"], manifest["kind"], metadata.get("namespace"))
        query = "fieldManager=test-rig&force=true"
        return self.request("PATCH", f"{path}/{_quoted(metadata['name'])}?{query}", manifest)

    def get(
        self, api_version: str, kind: str, name: str, namespace: str | None = None
    ) -> dict[str, Any] | None:
        """The object, or None where there is none."""
        try:
            return self.request("GET", f"{self._path(api_version, kind, namespace)}/{_quoted(name)}")
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    def list(
        self, api_version: str, kind: str, namespace: str | None = None, selector: str = ""
    ) -> list[dict[str, Any]]:
        """All objects of a kind, of one namespace or of all, that a label selector selects."""
        query = urllib.parse.urlencode({"labelSelector": selector})
        answer = self.request("GET", f"{self._path(api_version, kind, namespace)}?{query}")
        items: list[dict[str, Any]] = answer["items"]
        return items

    def delete(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> bool:
        """Deletes it; False where there was none."""
        try:
            self.request("DELETE", f"{self._path(api_version, kind, namespace)}/{_quoted(name)}")
        except KubeError as error:
            if error.status == 404:
                return False
            raise
        return True

    def secret(self, namespace: str, name: str) -> dict[str, Any] | None:
        """A Secret, or None where there is none."""
        return self.get("v1", "Secret", name, namespace)

    def create_namespace(self, name: str) -> None:
        """A namespace; it is fine when it exists."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def request(self, method: str, path: str, body: Manifest | None = None) -> dict[str, Any]:
        """One request; raises KubeError for any status from 400 on, URLError where nothing answers."""
        content_type = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT, context=self._tls) as answer:
                return _decoded(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                message = _decoded(error.read()).get("message", error.reason)
                raise KubeError(error.code, message) from None

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file))

    def _path(self, api_version: str, kind: str, namespace: str | None) -> str:
        prefix = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        resource = self._resource(prefix, kind)
        scope = f"/namespaces/{_quoted(namespace)}" if namespace and resource["namespaced"] else ""
        return f"{prefix}{scope}/{resource['name']}"

    def _resource(self, prefix: str, kind: str) -> dict[str, Any]:
        if kind not in self._discovered.get(prefix, {}):
            resources = self.request("GET", prefix)["resources"]
            self._discovered[prefix] = {r["kind"]: r for r in resources if "/" not in r["name"]}
        return self._discovered[prefix][kind]


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        decoded = json.loads(body)
    except ValueError:
        return {"message": body.decode(errors="replace")}
    return decoded if isinstance(decoded, dict) else {"value": decoded}
