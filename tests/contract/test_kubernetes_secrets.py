"""What the sink does with what only Kubernetes has: types, immutability, quotas, namespaces, rights,
other people's labels; and how many requests reading takes. On a real kube-apiserver.
"""

from __future__ import annotations

import base64
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import pytest

from backends.contract import Absent, DesiredSecret, FindingLevel, Mark, Owner, TakeOver, Unchanged, Version
from backends.errors import Forbidden, ForeignSecret, Refused, SinkError, TargetUnavailable, TooLarge
from backends.kubernetes_secret.options import KubernetesSinkOptions
from backends.kubernetes_secret.sink import KubernetesSecretSink
from backends.secret_value import SecretValue
from backends.testing import CANARY

RULES = [
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "create", "update", "delete"]}
]
OWNER = Owner(instance="test", source="source")


@pytest.fixture
def options(kube_cluster, kube_namespace) -> KubernetesSinkOptions:
    kube_cluster.grant("syncer", RULES, kube_namespace)
    return KubernetesSinkOptions(kubeconfig=kube_cluster.kubeconfig("syncer"), namespaces=(kube_namespace,))


@pytest.fixture
async def sink(options) -> AsyncIterator[KubernetesSecretSink]:
    async with KubernetesSecretSink(options) as opened:
        yield opened


@asynccontextmanager
async def cluster_wide(cluster) -> AsyncIterator[KubernetesSecretSink]:
    role = cluster.grant("syncer", RULES)
    try:
        async with KubernetesSecretSink(
            KubernetesSinkOptions(kubeconfig=cluster.kubeconfig("syncer"))
        ) as opened:
            yield opened
    finally:
        cluster.revoke(role)


@contextmanager
def refused(kind: type[SinkError]) -> Iterator[pytest.ExceptionInfo[SinkError]]:
    """Just this error is raised, and shows no value anywhere."""
    with pytest.raises(kind) as caught:
        yield caught
    assert caught.type is kind
    shown = "".join(traceback.format_exception(caught.value))
    assert CANARY.decode() not in shown
    assert base64.b64encode(CANARY).decode() not in shown


def desired(
    namespace: str, name: str = "orders", content: bytes = CANARY, **attributes: str
) -> DesiredSecret:
    mark = Mark(
        instance=OWNER.instance,
        source=OWNER.source,
        rule="default",
        target="0",
        address=f"{namespace}/{name}",
        namespace="",
        installation=name,
        installation_id="01INSTALLATION",
        run_id="01RUN",
        result_id="01RESULT",
        revision="revision",
        content_id="content",
    )
    return DesiredSecret(mark=mark, data={"password": SecretValue(content)}, attributes=attributes)


def manifest(namespace: str, name: str, **fields: object) -> dict:
    data = {"password": base64.b64encode(CANARY).decode()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": namespace, "name": name},
        "data": data,
    } | fields


def requests(cluster, since: int, namespace: str | None = None) -> list[str]:
    """What the sink asked for since then."""
    events = cluster.audit.events(since=since, user="syncer")
    return [event.verb for event in events if namespace is None or event.namespace == namespace]


# --- what the cluster does not allow


@pytest.mark.fault(31)
async def test_a_missing_namespace_is_told_and_never_created(kube_cluster):
    async with cluster_wide(kube_cluster) as sink:
        with refused(TargetUnavailable) as caught:
            await sink.put(desired("nowhere"), Absent())
        assert caught.value.reason == "namespace nowhere does not exist"
        assert await sink.observe(OWNER, ["nowhere/orders"]) == {}
    assert kube_cluster.admin.get("v1", "Namespace", "nowhere") is None


@pytest.mark.fault(31)
async def test_a_namespace_that_is_being_removed_is_told(kube_cluster, kube_namespace, sink):
    version = await sink.put(desired(kube_namespace), Absent())
    kube_cluster.admin.delete("v1", "Namespace", kube_namespace)
    with refused(TargetUnavailable) as caught:
        await sink.put(desired(kube_namespace, "another"), Absent())
    assert caught.value.reason == f"namespace {kube_namespace} is being removed"
    seen = await sink.observe(OWNER, [f"{kube_namespace}/orders"])
    assert seen[f"{kube_namespace}/orders"].version == version


@pytest.mark.fault(32)
@pytest.mark.parametrize("fields", [{"immutable": True}, {"type": "example.com/theirs"}])
async def test_what_cannot_be_changed_in_place_is_not_replaced(kube_cluster, kube_namespace, sink, fields):
    before = kube_cluster.admin.apply(manifest(kube_namespace, "orders", **fields))
    (seen,) = (await sink.observe(OWNER, [f"{kube_namespace}/orders"])).values()
    with refused(Refused) as caught:
        await sink.put(desired(kube_namespace), TakeOver(seen.version))
    word = "immutable" if "immutable" in fields else "type differs: example.com/theirs, not Opaque"
    assert word in caught.value.reason
    assert kube_cluster.admin.secret(kube_namespace, "orders") == before


@pytest.mark.fault(34)
async def test_a_full_quota_is_told(kube_cluster, kube_namespace, sink):
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"namespace": kube_namespace, "name": "none"},
        "spec": {"hard": {"secrets": "0"}},
    }
    stored = kube_cluster.admin.apply(quota)
    path = f"/api/v1/namespaces/{kube_namespace}/resourcequotas/none/status"
    kube_cluster.admin.request(
        "PUT", path, stored | {"status": {"hard": {"secrets": "0"}, "used": {"secrets": "0"}}}
    )
    deadline, number = time.monotonic() + 20, 0
    with refused(Refused) as caught:
        while time.monotonic() < deadline:  # until the server has noticed its new quota
            await sink.put(desired(kube_namespace, f"orders-{(number := number + 1)}"), Absent())
    assert caught.value.reason == f"create secrets in namespace {kube_namespace}: over the namespace's quota"


@pytest.mark.fault(33)
async def test_a_policy_that_quotes_the_value_is_not_quoted(kube_cluster, kube_namespace, sink):
    group = "admissionregistration.k8s.io"
    name = f"quotes-{kube_namespace}"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}
    selector = {"matchLabels": {"kubernetes.io/metadata.name": kube_namespace}}
    validation = {"expression": "false", "messageExpression": "'saw ' + string(object.data['password'])"}
    common = {"apiVersion": f"{group}/v1", "metadata": {"name": name}}
    policy = {
        "matchConstraints": {"resourceRules": [rule], "namespaceSelector": selector},
        "validations": [validation],
    }
    kube_cluster.admin.apply({**common, "kind": "ValidatingAdmissionPolicy", "spec": policy})
    binding = {"policyName": name, "validationActions": ["Deny"]}
    kube_cluster.admin.apply({**common, "kind": "ValidatingAdmissionPolicyBinding", "spec": binding})
    deadline, number = time.monotonic() + 20, 0
    with refused(Refused) as caught:
        while time.monotonic() < deadline:  # until the server has compiled it
            await sink.put(desired(kube_namespace, f"orders-{(number := number + 1)}"), Absent())
    assert caught.value.reason.endswith("denied by a validating admission policy")


@pytest.mark.parametrize("kind", ["kubernetes.io/tls", "kubernetes.io/ssh-auth"])
async def test_a_type_whose_keys_are_missing_is_refused_with_their_names(kube_namespace, sink, kind):
    with refused(Refused) as caught:
        await sink.put(desired(kube_namespace, type=kind), Absent())
    assert ": invalid: data[" in caught.value.reason


@pytest.mark.fault(35)
async def test_a_right_that_is_taken_away_is_named(kube_cluster, kube_namespace):
    role = kube_cluster.grant("reader", RULES, kube_namespace)
    options = KubernetesSinkOptions(
        kubeconfig=kube_cluster.kubeconfig("reader"), namespaces=(kube_namespace,)
    )
    async with KubernetesSecretSink(options) as sink:
        version = await sink.put(desired(kube_namespace), Absent())
        (seen,) = (await sink.observe(OWNER, [f"{kube_namespace}/orders"])).values()
        kube_cluster.revoke(role, kube_namespace)
        where = f"secrets in namespace {kube_namespace} is missing"
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and (await sink.check())[0].level is FindingLevel.OK:
            pass  # until the authoriser has noticed
        (finding,) = await sink.check()
        assert (finding.level, finding.subject) == (
            FindingLevel.ERROR,
            f"secrets in namespace {kube_namespace}",
        )
        assert finding.detail == "the right to get, list, create, update, delete is missing"
        for verb, act in {
            "create": lambda: sink.put(desired(kube_namespace, "another"), Absent()),
            "get": lambda: sink.put(desired(kube_namespace), Unchanged(version)),
            "delete": lambda: sink.remove(seen),
        }.items():
            with refused(Forbidden) as caught:
                await act()
            assert caught.value.reason == f"the right to {verb} {where}"
        with refused(Forbidden):
            [_ async for _ in sink.inventory(OWNER)]
        with refused(Forbidden):
            await sink.observe(OWNER, [f"{kube_namespace}/orders"])


async def test_the_check_names_only_what_is_missing(kube_cluster, kube_namespace):
    kube_cluster.grant("nobody", [RULES[0] | {"verbs": ["get", "list"]}], kube_namespace)
    options = KubernetesSinkOptions(
        kubeconfig=kube_cluster.kubeconfig("nobody"), namespaces=(kube_namespace,)
    )
    async with KubernetesSecretSink(options) as sink:
        deadline = time.monotonic() + 20
        while (finding := (await sink.check())[0]).detail.count(",") > 2 and time.monotonic() < deadline:
            pass  # until the authoriser has noticed
        assert finding.detail == "the right to create, update, delete is missing"


@pytest.mark.bad_input(9)
async def test_what_is_too_large_is_told_before_anything_is_sent(kube_cluster, kube_namespace, sink):
    since = kube_cluster.audit.position()
    for expect in (Absent(), Unchanged(Version("uid/1")), TakeOver(Version("uid/1"))):
        with refused(TooLarge) as caught:
            await sink.put(desired(kube_namespace, content=CANARY.ljust(1024 * 1024 + 1)), expect)
        assert caught.value.reason == f"{kube_namespace}/orders: 1048577 bytes; a Secret takes 1048576"
    assert requests(kube_cluster, since) == []


# --- other people's things


async def test_others_labels_annotations_owners_and_finalizers_survive_an_update(
    kube_cluster, kube_namespace, sink
):
    first = desired(kube_namespace, **{"label:team": "orders", "annotation:note": "1"})
    await sink.put(first, Absent())
    secret = kube_cluster.admin.secret(kube_namespace, "orders")
    metadata = secret["metadata"]
    metadata["labels"] |= {"theirs": "label"}
    metadata["annotations"] |= {"theirs": "annotation"}
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "their-owner", "uid": "1-2-3"}
    metadata |= {"ownerReferences": [owner], "finalizers": ["example.com/theirs"]}
    kube_cluster.admin.request("PUT", f"/api/v1/namespaces/{kube_namespace}/secrets/orders", secret)

    (seen,) = (await sink.observe(OWNER, [f"{kube_namespace}/orders"])).values()
    assert (seen.ours, seen.intact, seen.attributes) == (True, True, first.attributes)
    second = desired(kube_namespace, content=b"new", **{"annotation:note": "2"})
    await sink.put(second, Unchanged(seen.version))

    after = kube_cluster.admin.secret(kube_namespace, "orders")["metadata"]
    assert (after["labels"]["theirs"], after["annotations"]["theirs"]) == ("label", "annotation")
    assert ("team" in after["labels"], after["annotations"]["note"]) == (False, "2")
    assert (after["ownerReferences"], after["finalizers"]) == ([owner], ["example.com/theirs"])


async def test_a_lost_index_label_is_drift_that_an_update_repairs(kube_cluster, kube_namespace, sink):
    await sink.put(desired(kube_namespace), Absent())
    secret = kube_cluster.admin.secret(kube_namespace, "orders")
    secret["metadata"]["labels"] = {}
    kube_cluster.admin.request("PUT", f"/api/v1/namespaces/{kube_namespace}/secrets/orders", secret)
    assert [seen async for seen in sink.inventory(OWNER)] == []
    (seen,) = (await sink.observe(OWNER, [f"{kube_namespace}/orders"])).values()
    assert (seen.ours, seen.intact) == (True, False)
    await sink.put(desired(kube_namespace), Unchanged(seen.version))
    assert [seen.intact async for seen in sink.inventory(OWNER)] == [True]


async def test_a_forged_index_label_makes_nothing_ours(kube_cluster, kube_namespace, sink):
    await sink.put(desired(kube_namespace), Absent())
    labels = kube_cluster.admin.secret(kube_namespace, "orders")["metadata"]["labels"]
    metadata = {"namespace": kube_namespace, "name": "forged", "labels": labels}
    kube_cluster.admin.apply(manifest(kube_namespace, "forged", metadata=metadata))
    assert [seen.address async for seen in sink.inventory(OWNER)] == [f"{kube_namespace}/orders"]
    (seen,) = (await sink.observe(OWNER, [f"{kube_namespace}/forged"])).values()
    assert seen.foreign == "no mark"


async def test_writing_what_is_there_already_changes_nothing(kube_namespace, sink):
    version = await sink.put(desired(kube_namespace), Absent())
    assert await sink.put(desired(kube_namespace), Unchanged(version)) == version


async def test_what_is_foreign_is_not_even_asked_to_be_removed(kube_cluster, kube_namespace, sink):
    kube_cluster.admin.apply(manifest(kube_namespace, "theirs"))
    (seen,) = (await sink.observe(OWNER, [f"{kube_namespace}/theirs"])).values()
    since = kube_cluster.audit.position()
    with refused(ForeignSecret):
        await sink.remove(seen)
    assert requests(kube_cluster, since) == []


@pytest.mark.bad_input(42)
@pytest.mark.parametrize("address", ["shop/..", "../../orders", "shop/a/../b", "shop", ""])
async def test_what_is_no_address_is_never_asked_for(kube_cluster, kube_namespace, sink, address):
    since = kube_cluster.audit.position()
    wanted = desired(kube_namespace)
    with refused(Refused):
        await sink.observe(OWNER, [address])
    with refused(Refused):
        await sink.put(replace(wanted, mark=replace(wanted.mark, address=address)), Absent())
    assert requests(kube_cluster, since) == []


# --- how many requests it takes


async def test_a_few_addresses_are_read_one_by_one(kube_cluster, kube_namespace, sink):
    await sink.put(desired(kube_namespace), Absent())
    since = kube_cluster.audit.position()
    names = ["orders", *(f"absent-{number}" for number in range(15))]
    found = await sink.observe(OWNER, [f"{kube_namespace}/{name}" for name in names])
    assert found.keys() == {f"{kube_namespace}/orders"}
    assert requests(kube_cluster, since) == ["get"] * 16


async def test_many_absent_addresses_cost_pages(kube_cluster, kube_namespace, sink):
    kube_cluster.admin.apply(manifest(kube_namespace, "theirs"))
    since = kube_cluster.audit.position()
    names = ["theirs", *(f"absent-{number}" for number in range(1000))]
    found = await sink.observe(OWNER, [f"{kube_namespace}/{name}" for name in names])
    assert found.keys() == {f"{kube_namespace}/theirs"}
    assert requests(kube_cluster, since) == ["list", "get"]


async def test_others_values_are_not_pulled_to_learn_what_exists(kube_cluster, kube_namespace, sink):
    kube_cluster.admin.apply(manifest(kube_namespace, "not-asked-for"))
    pulled, list_pages = [], sink._client.list_pages

    async def watched(*args: object, **kwargs: object) -> AsyncIterator[list[dict]]:
        async for page in list_pages(*args, **kwargs):
            pulled.extend(page)
            yield page

    sink._client.list_pages = watched
    await sink.observe(OWNER, [f"{kube_namespace}/absent-{number}" for number in range(100)])
    assert [item["metadata"]["name"] for item in pulled] == ["not-asked-for"]
    assert "data" not in pulled[0]


async def test_many_of_our_own_come_in_pages_and_the_rest_one_by_one(kube_cluster, kube_namespace, sink):
    names = [f"orders-{number}" for number in range(20)]
    for name in names:
        await sink.put(desired(kube_namespace, name), Absent())
    kube_cluster.admin.apply(manifest(kube_namespace, "theirs"))
    addresses = [f"{kube_namespace}/{name}" for name in [*names, "theirs", "absent"]]
    since = kube_cluster.audit.position()
    found = await sink.observe(OWNER, addresses)
    assert found.keys() == set(addresses[:-1])
    assert all(found[address].data == {"password": SecretValue(CANARY)} for address in addresses[:-1])
    assert requests(kube_cluster, since) == ["list", "list", "get"]


async def test_many_namespaces_are_listed_at_once(kube_cluster, kube_namespace):
    async with cluster_wide(kube_cluster) as sink:
        await sink.put(desired(kube_namespace), Absent())
        since = kube_cluster.audit.position()
        addresses = [f"nowhere-{number}/orders" for number in range(64)]
        found = await sink.observe(OWNER, [*addresses, f"{kube_namespace}/orders"])
        assert found.keys() == {f"{kube_namespace}/orders"}
        assert requests(kube_cluster, since)[-1:] == ["get"]
        assert set(requests(kube_cluster, since)[:-1]) == {"list"}


async def test_reading_asks_for_no_write(kube_cluster, kube_namespace, sink):
    await sink.put(desired(kube_namespace), Absent())
    since = kube_cluster.audit.position()
    await sink.observe(OWNER, [f"{kube_namespace}/orders"])
    assert len([seen async for seen in sink.inventory(OWNER)]) == 1
    assert kube_cluster.audit.writes(since=since, user="syncer") == ()


async def test_what_is_removed_is_removed_by_one_request(kube_cluster, kube_namespace, sink):
    await sink.put(desired(kube_namespace), Absent())
    (seen,) = (await sink.observe(OWNER, [f"{kube_namespace}/orders"])).values()
    since = kube_cluster.audit.position()
    await sink.remove(seen)
    assert requests(kube_cluster, since) == ["delete"]
