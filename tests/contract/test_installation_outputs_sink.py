"""The contract suite over InstallationOutputs on a real kube-apiserver, with no right but the documented ones.

Once with a Role in one namespace and once with a ClusterRole. Its values are short enough to be shown whole,
so that they can be compared; what is cut, and all a description adds, is in `test_installation_outputs_shown.py`.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from installation_outputs_world import API, DEFINITION, KIND, RULES, shown_value

from backends.contract import Owner
from backends.installation_outputs import KIND as SINK_KIND
from backends.installation_outputs.options import InstallationOutputsOptions
from backends.installation_outputs.sink import InstallationOutputsSink
from backends.testing import OpenRig, Raw, Rig, SinkContract
from tests.servers.kubernetes import KubeCluster

SMALL_PAGE = 16
MARK = "outputs.porter.sh/"


class InstallationOutputsRig(Rig):
    """Somebody else is the cluster's administrator."""

    def __init__(self, sink: InstallationOutputsSink, cluster: KubeCluster, namespace: str) -> None:
        # An instance of its own for every rig, and one that no label may hold as it is.
        owner = Owner(instance=f"rig of {namespace}", source="source")
        super().__init__(sink=sink, kind=SINK_KIND, owner=owner)
        self._admin = cluster.admin
        self._namespace = namespace
        self._path = f"/apis/{API}/namespaces/{namespace}/installationoutputs"

    def address(self, number: int) -> str:
        return f"{self._namespace}/orders-{number}"

    async def plant_foreign(self, address: str, data: Mapping[str, bytes]) -> None:
        name = address.split("/")[1]
        metadata = {"name": name, "labels": {"theirs": "yes"}}
        spec = {"installation": {"namespace": "shop", "name": name}}
        body = {"apiVersion": API, "kind": KIND, "metadata": metadata, "spec": spec}
        planted = self._admin.request("POST", self._path, body)
        self._put(f"{address}/status", planted | {"status": {"outputs": _outputs(data)}})

    async def tamper(self, address: str, data: Mapping[str, bytes]) -> None:
        resource = self._get(address)
        resource.setdefault("status", {})["outputs"] = _outputs(data)
        self._put(f"{address}/status", resource)

    async def rewrite_mark(self, address: str, fields: Mapping[str, str]) -> None:
        resource = self._get(address)
        found = resource["metadata"]["annotations"]
        others = {name: text for name, text in found.items() if not name.startswith(MARK)}
        marked = others | {f"{MARK}{name}": text for name, text in fields.items()}
        resource["metadata"]["annotations"] = marked
        self._put(address, resource)

    async def raw(self, address: str) -> Raw | None:
        namespace, name = address.split("/")
        resource = self._admin.get(API, KIND, name, namespace)
        if resource is None:
            return None
        outputs = resource.get("status", {}).get("outputs", [])
        data = {entry["name"]: shown_value(entry) for entry in outputs}
        return Raw(data=data, state=resource["metadata"]["resourceVersion"])

    def _get(self, address: str) -> dict:
        namespace, name = address.split("/")
        resource = self._admin.get(API, KIND, name, namespace)
        assert resource is not None
        return resource

    def _put(self, address: str, resource: dict) -> None:
        self._admin.request("PUT", f"{self._path}/{address.partition('/')[2]}", resource)


def _outputs(data: Mapping[str, bytes]) -> list[dict]:
    plain = {"type": "string", "sensitive": False, "encoding": "base64"}
    values = {name: base64.b64encode(content).decode() for name, content in data.items()}
    return [{"name": name, "value": value} | plain for name, value in values.items()]


def _opener(cluster: KubeCluster, namespace: str, options: InstallationOutputsOptions) -> OpenRig:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Rig]:
        async with InstallationOutputsSink(options, page_size=SMALL_PAGE) as sink:
            yield InstallationOutputsRig(sink, cluster, namespace)

    return opened


@pytest.fixture
def defined(kube_cluster) -> KubeCluster:
    kube_cluster.install(DEFINITION)
    return kube_cluster


class TestWithARoleInOneNamespace(SinkContract):
    @pytest.fixture
    def open_rig(self, defined, kube_namespace):
        defined.grant("syncer", RULES, kube_namespace)
        options = InstallationOutputsOptions(
            kubeconfig=defined.kubeconfig("syncer"), namespaces=(kube_namespace,)
        )
        return _opener(defined, kube_namespace, options)


class TestWithAClusterRole(SinkContract):
    @pytest.fixture
    def open_rig(self, defined, kube_namespace):
        role = defined.grant("syncer", RULES)
        options = InstallationOutputsOptions(kubeconfig=defined.kubeconfig("syncer"))
        yield _opener(defined, kube_namespace, options)
        defined.revoke(role)
