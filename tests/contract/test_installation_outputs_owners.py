"""The Porter operator's Installation as the owner of a resource. On a real kube-apiserver, with a definition
of Installations that is a stand-in; there is no garbage collector, so nothing shows what an owner takes along.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from installation_outputs_world import (
    API,
    DEFINITION,
    KIND,
    OPERATOR_API,
    OPERATOR_RULE,
    OPERATORS_DEFINITION,
    RULES,
    desired,
    installation,
    output,
)

from backends.contract import Absent, Unchanged, Version
from backends.installation_outputs.options import InstallationOutputsOptions
from backends.installation_outputs.sink import InstallationOutputsSink


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rules() -> list[dict]:
    return RULES


@pytest.fixture
async def sink(kube_cluster, kube_namespace, clock, rules) -> AsyncIterator[InstallationOutputsSink]:
    for definition in (DEFINITION, OPERATORS_DEFINITION):
        kube_cluster.install(definition)
    kube_cluster.grant("syncer", rules, kube_namespace)
    options = InstallationOutputsOptions(
        kubeconfig=kube_cluster.kubeconfig("syncer"), namespaces=(kube_namespace,)
    )
    async with InstallationOutputsSink(options, monotonic=clock) as opened:
        yield opened


def owners(cluster, namespace: str, name: str = "orders") -> list[dict]:
    resource = cluster.admin.get(API, KIND, name, namespace)
    assert resource is not None
    return resource["metadata"].get("ownerReferences", [])


async def put(sink, namespace: str, version: Version | None = None, revision: str = "revision-1") -> Version:
    secret = desired(namespace, [output("host")], {"host": b"db"}, revision=revision)
    return await sink.put(secret, Absent() if version is None else Unchanged(version))


async def test_the_installation_in_the_same_namespace_is_the_owner(kube_cluster, kube_namespace, sink):
    kube_cluster.admin.apply(installation(kube_namespace, "another", porter=("shop", "another")))
    kube_cluster.admin.apply(installation(kube_namespace, "another-shop", porter=("store", "orders")))
    made = kube_cluster.admin.apply(installation(kube_namespace, "my-orders"))
    await put(sink, kube_namespace)
    assert owners(kube_cluster, kube_namespace) == [
        {
            "apiVersion": OPERATOR_API,
            "kind": "Installation",
            "name": "my-orders",
            "uid": made["metadata"]["uid"],
            "controller": False,
            "blockOwnerDeletion": False,
        }
    ]


async def test_an_installation_in_another_namespace_is_none(kube_cluster, kube_namespace, sink):
    role = kube_cluster.grant("syncer", [OPERATOR_RULE])  # it could be seen
    elsewhere = f"{kube_namespace}-2"
    kube_cluster.admin.create_namespace(elsewhere)
    kube_cluster.admin.apply(installation(elsewhere, "orders"))
    await put(sink, kube_namespace)
    kube_cluster.revoke(role)
    assert owners(kube_cluster, kube_namespace) == []
    assert kube_cluster.admin.list(API, KIND, elsewhere) == []


async def test_of_several_none_is_the_owner(kube_cluster, kube_namespace, sink):
    for name in ("orders", "orders-too"):
        kube_cluster.admin.apply(installation(kube_namespace, name))
    await put(sink, kube_namespace)
    assert owners(kube_cluster, kube_namespace) == []


async def test_an_installation_of_the_global_namespace_names_none(kube_cluster, kube_namespace, sink):
    body = installation(kube_namespace, "orders")
    del body["spec"]["namespace"]
    kube_cluster.admin.apply(body)
    await put(sink, kube_namespace)
    assert owners(kube_cluster, kube_namespace) == []


async def test_one_that_was_made_anew_replaces_the_old_one_and_others_owners_stay(
    kube_cluster, kube_namespace, sink, clock
):
    kube_cluster.admin.apply(installation(kube_namespace, "orders"))
    await put(sink, kube_namespace)
    resource = kube_cluster.admin.get(API, KIND, "orders", kube_namespace)
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "name": "theirs", "uid": "some-uid"}
    resource["metadata"]["ownerReferences"].append(theirs)
    path = f"/apis/{API}/namespaces/{kube_namespace}/installationoutputs/orders"
    changed = kube_cluster.admin.request("PUT", path, resource)["metadata"]
    kube_cluster.admin.delete(OPERATOR_API, "Installation", "orders", kube_namespace)
    made = kube_cluster.admin.apply(installation(kube_namespace, "orders"))
    clock.now += 61
    await put(sink, kube_namespace, Version(f"{changed['uid']}/{changed['resourceVersion']}"))
    assert [one["uid"] for one in owners(kube_cluster, kube_namespace)] == [
        "some-uid",
        made["metadata"]["uid"],
    ]


async def test_installations_are_listed_once_a_minute(kube_cluster, kube_namespace, sink, clock):
    since = kube_cluster.audit.position()

    def lists() -> int:
        events = kube_cluster.audit.events(since=since, user="syncer", verbs={"list"})
        return len([one for one in events if one.resource == "installations"])

    version = await put(sink, kube_namespace)
    version = await put(sink, kube_namespace, version, "revision-2")
    assert lists() == 1
    kube_cluster.admin.apply(installation(kube_namespace, "orders"))
    clock.now += 60
    await put(sink, kube_namespace, version, "revision-3")
    assert lists() == 2
    assert len(owners(kube_cluster, kube_namespace)) == 1


class TestWithoutTheRightToList:
    @pytest.fixture
    def rules(self) -> list[dict]:
        return [rule for rule in RULES if rule is not OPERATOR_RULE]

    async def test_a_resource_is_written_without_an_owner_and_keeps_one_it_has(
        self, kube_cluster, kube_namespace, sink
    ):
        kube_cluster.admin.apply(installation(kube_namespace, "orders"))
        version = await put(sink, kube_namespace)
        assert owners(kube_cluster, kube_namespace) == []
        resource = kube_cluster.admin.get(API, KIND, "orders", kube_namespace)
        reference = {"apiVersion": OPERATOR_API, "kind": "Installation", "name": "orders", "uid": "some-uid"}
        resource["metadata"]["ownerReferences"] = [reference]
        path = f"/apis/{API}/namespaces/{kube_namespace}/installationoutputs/orders"
        changed = kube_cluster.admin.request("PUT", path, resource)["metadata"]
        version = Version(f"{changed['uid']}/{changed['resourceVersion']}")
        await put(sink, kube_namespace, version, "revision-2")
        assert [one["uid"] for one in owners(kube_cluster, kube_namespace)] == ["some-uid"]
