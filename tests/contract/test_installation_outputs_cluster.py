"""A cluster without the definition, one without the operator's, missing rights, and who may read a resource.

On real kube-apiservers. There is no controller manager, which would put the aggregated roles together: the
role is bound as it is.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from installation_outputs_world import (
    API,
    DEFINITION,
    OPERATOR_RULE,
    OWNER,
    ROLES,
    RULES,
    desired,
    output,
)

from backends.contract import Absent, Finding, FindingLevel
from backends.errors import Forbidden, Refused, Retry, SinkUnavailable
from backends.installation_outputs.options import InstallationOutputsOptions
from backends.installation_outputs.sink import InstallationOutputsSink
from tests.servers.kube_client import KubeError
from tests.servers.kubernetes import KubeCluster

RBAC = "rbac.authorization.k8s.io"


@pytest.fixture
def bare_cluster(kube_cluster) -> Iterator[KubeCluster]:
    """One of its own, without any definition; asking for the other one skips where none can be had."""
    started = KubeCluster.start()
    yield started
    started.stop()


@pytest.fixture
def cluster(kube_cluster) -> KubeCluster:
    kube_cluster.install(DEFINITION)
    return kube_cluster


@asynccontextmanager
async def granted(
    cluster, rules: list[dict], namespace: str | None = None
) -> AsyncIterator[InstallationOutputsSink]:
    role = cluster.grant("syncer", rules, namespace)
    options = InstallationOutputsOptions(
        kubeconfig=cluster.kubeconfig("syncer"), namespaces=None if namespace is None else (namespace,)
    )
    try:
        async with InstallationOutputsSink(options) as sink:
            yield sink
    finally:
        cluster.revoke(role, namespace)


async def test_a_missing_definition_is_named_and_once_it_is_there_the_same_sink_works(bare_cluster):
    bare_cluster.admin.create_namespace("shop")
    async with granted(bare_cluster, RULES) as sink:
        with pytest.raises(SinkUnavailable) as caught:
            await sink.observe(OWNER, ["shop/orders"])
        assert caught.value.reason == "the InstallationOutputs CRD is not installed"
        assert caught.value.retry is Retry.BACKOFF
        with pytest.raises(SinkUnavailable, match="CRD is not installed"):
            _ = [one async for one in sink.inventory(OWNER)]
        (finding,) = await sink.check()
        assert finding == Finding(
            level=FindingLevel.ERROR,
            subject="installationoutputs.outputs.porter.sh",
            detail="the InstallationOutputs CRD is not installed: install it with the chart "
            "(customResources.enabled), or apply installationoutputs.yaml",
        )
        bare_cluster.install(DEFINITION)
        await sink.put(desired("shop", [output("host")], {"host": b"db"}), Absent())
        (seen,) = (await sink.observe(OWNER, ["shop/orders"])).values()
        assert seen.intact
        assert {finding.level for finding in await sink.check()} == {FindingLevel.OK}


async def test_a_definition_that_keeps_less_than_is_written_is_told(bare_cluster):
    older = copy.deepcopy(DEFINITION)
    schema = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["status"]["properties"]["action"]
    bare_cluster.install(older)
    bare_cluster.admin.create_namespace("shop")
    async with granted(bare_cluster, RULES) as sink:
        with pytest.raises(Refused) as caught:
            await sink.put(desired("shop", [output("host")], {"host": b"db"}), Absent())
        assert "update the InstallationOutputs CRD" in caught.value.reason
        (seen,) = (await sink.observe(OWNER, ["shop/orders"])).values()
        assert not seen.intact


@pytest.mark.parametrize("scope", [True, False], ids=["in a namespace", "everywhere"])
async def test_missing_rights_are_named(cluster, kube_namespace, scope):
    some = [RULES[0] | {"verbs": ["get", "list", "create"]}]
    async with granted(cluster, some, kube_namespace if scope else None) as sink:
        where = f"in namespace {kube_namespace}" if scope else "in all namespaces"
        _, own, operators = await sink.check()
    assert (own.level, own.subject) == (FindingLevel.ERROR, f"installationoutputs {where}")
    missing = "update installationoutputs, delete installationoutputs, update installationoutputs/status"
    assert own.detail == f"the right to {missing} is missing"
    assert (operators.level, operators.subject) == (FindingLevel.WARNING, f"installations {where}")
    assert "are not set as owners" in operators.detail


async def test_without_the_right_to_the_status_nothing_counts_as_shown(cluster, kube_namespace):
    async with granted(cluster, [RULES[0], OPERATOR_RULE], kube_namespace) as sink:
        with pytest.raises(Forbidden):
            await sink.put(desired(kube_namespace, [output("host")], {"host": b"db"}), Absent())
        (seen,) = (await sink.observe(OWNER, [f"{kube_namespace}/orders"])).values()
        assert not seen.intact


async def test_many_addresses_take_a_list_and_not_a_request_each(cluster, kube_namespace):
    async with granted(cluster, RULES) as sink:
        for number in range(20):
            await sink.put(desired(kube_namespace, [output("host")], {}, name=f"orders-{number}"), Absent())
        for scopes in ([kube_namespace], [kube_namespace, *(f"empty-{number}" for number in range(70))]):
            since = cluster.audit.position()
            addresses = [f"{scope}/orders-{number}" for scope in scopes for number in range(40)]
            found = await sink.observe(OWNER, addresses)
            assert found.keys() == {f"{kube_namespace}/orders-{number}" for number in range(20)}
            assert [event.verb for event in cluster.audit.events(since=since, user="syncer")] == ["list"]


async def test_whoever_has_the_view_role_reads_resources_and_no_secret(cluster, kube_namespace):
    for role in ROLES:
        cluster.admin.apply(role)
    view, binding = ROLES
    assert view["metadata"]["labels"] == {f"{RBAC}/aggregate-to-view": "true"}
    assert binding["metadata"]["labels"] == {"servicebinding.io/controller": "true"}
    cluster.admin.apply(
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "reader", "namespace": kube_namespace},
            "subjects": [{"kind": "User", "name": "reader", "apiGroup": RBAC}],
            "roleRef": {"kind": "ClusterRole", "name": view["metadata"]["name"], "apiGroup": RBAC},
        }
    )
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "orders-outputs", "namespace": kube_namespace},
    }
    cluster.admin.apply(secret)
    async with granted(cluster, RULES) as sink:
        outputs = [output("password", sensitive=True, secret=f"{kube_namespace}/orders-outputs")]
        await sink.put(desired(kube_namespace, outputs, {}), Absent())
    reader = cluster.client("reader")
    shown = reader.request("GET", f"/apis/{API}/namespaces/{kube_namespace}/installationoutputs/orders")
    assert shown["status"]["outputs"][0]["secretKeyRef"] == {"name": "orders-outputs", "key": "password"}
    for verb, path in (
        ("GET", f"/api/v1/namespaces/{kube_namespace}/secrets/orders-outputs"),
        ("PUT", f"/apis/{API}/namespaces/{kube_namespace}/installationoutputs/orders/status"),
        ("DELETE", f"/apis/{API}/namespaces/{kube_namespace}/installationoutputs/orders"),
    ):
        with pytest.raises(KubeError) as caught:
            reader.request(verb, path, shown if verb == "PUT" else None)
        assert caught.value.status == 403
