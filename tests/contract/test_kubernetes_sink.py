"""The contract suite on a real kube-apiserver, as a user with no right but the documented ones.

Once with a Role in one namespace and once with a ClusterRole. What only Kubernetes does (types,
immutability, quotas, namespaces) is in `test_kubernetes_secrets.py`.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

import pytest

from backends.contract import Owner
from backends.kubernetes_secret import KIND
from backends.kubernetes_secret.options import KubernetesSinkOptions
from backends.kubernetes_secret.sink import KubernetesSecretSink
from backends.testing import OpenRig, Raw, Rig, SinkContract
from tests.servers.kubernetes import KubeCluster

VERBS = ["get", "list", "watch", "create", "update", "delete"]
RULES = [{"apiGroups": [""], "resources": ["secrets"], "verbs": VERBS}]
SMALL_PAGE = 16
MARK = "outputs.porter.sh/"


class KubernetesRig(Rig):
    """Somebody else is the cluster's administrator."""

    attributes = MappingProxyType(
        {"type": "Opaque", "label:team": "orders", "annotation:reloader.stakater.com/match": "true"}
    )

    def __init__(self, sink: KubernetesSecretSink, cluster: KubeCluster, namespace: str) -> None:
        # An instance of its own for every rig, and one that no label may hold as it is.
        super().__init__(sink=sink, kind=KIND, owner=Owner(instance=f"rig of {namespace}", source="source"))
        self._admin = cluster.admin
        self._namespace = namespace
        self._path = f"/api/v1/namespaces/{namespace}/secrets"

    def address(self, number: int) -> str:
        return f"{self._namespace}/orders-{number}-outputs"

    async def plant_foreign(self, address: str, data: Mapping[str, bytes]) -> None:
        metadata = {"name": address.split("/")[1], "labels": {"theirs": "yes"}}
        self._admin.request("POST", self._path, {"metadata": metadata, "data": _encoded(data)})

    async def tamper(self, address: str, data: Mapping[str, bytes]) -> None:
        self._put(address, self._get(address) | {"data": _encoded(data)})

    async def rewrite_mark(self, address: str, fields: Mapping[str, str]) -> None:
        secret = self._get(address)
        found = secret["metadata"]["annotations"]
        others = {name: text for name, text in found.items() if not name.startswith(MARK)}
        secret["metadata"]["annotations"] = others | {f"{MARK}{name}": text for name, text in fields.items()}
        self._put(address, secret)

    async def raw(self, address: str) -> Raw | None:
        secret = self._admin.secret(*address.split("/"))
        if secret is None:
            return None
        data = {key: base64.b64decode(text) for key, text in (secret.get("data") or {}).items()}
        return Raw(data=data, state=secret["metadata"]["resourceVersion"])

    def _get(self, address: str) -> dict:
        secret = self._admin.secret(*address.split("/"))
        assert secret is not None
        return secret

    def _put(self, address: str, secret: dict) -> None:
        self._admin.request("PUT", f"{self._path}/{address.split('/')[1]}", secret)


def _encoded(data: Mapping[str, bytes]) -> dict[str, str]:
    return {key: base64.b64encode(content).decode() for key, content in data.items()}


def _opener(cluster: KubeCluster, namespace: str, options: KubernetesSinkOptions) -> OpenRig:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Rig]:
        async with KubernetesSecretSink(options, page_size=SMALL_PAGE) as sink:
            yield KubernetesRig(sink, cluster, namespace)

    return opened


class TestWithARoleInOneNamespace(SinkContract):
    @pytest.fixture
    def open_rig(self, kube_cluster, kube_namespace):
        kube_cluster.grant("syncer", RULES, kube_namespace)
        kubeconfig = kube_cluster.kubeconfig("syncer")
        options = KubernetesSinkOptions(kubeconfig=kubeconfig, namespaces=(kube_namespace,))
        return _opener(kube_cluster, kube_namespace, options)


class TestWithAClusterRole(SinkContract):
    @pytest.fixture
    def open_rig(self, kube_cluster, kube_namespace):
        role = kube_cluster.grant("syncer", RULES)
        options = KubernetesSinkOptions(kubeconfig=kube_cluster.kubeconfig("syncer"))
        yield _opener(kube_cluster, kube_namespace, options)
        kube_cluster.revoke(role)
