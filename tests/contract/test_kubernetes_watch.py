"""Changes of our Secrets as they happen, on a real kube-apiserver: what others do, where, and with which
rights. What goes wrong in between is in `test_kubernetes_watch_gaps.py`, servers that answer nonsense in
`test_kubernetes_watch_trouble.py`.
"""

from __future__ import annotations

import base64
import json
from contextlib import aclosing
from dataclasses import replace

import pytest
from kube_watch_world import (
    CANARY,
    EVERYTHING,
    OWNER,
    SURE,
    VERBS,
    Secret,
    grant,
    overhear,
    told,
    told_until,
    watched,
)

from backends.contract import Absent, DesiredSecret, FindingLevel, Mark, Seen, Unchanged, Watches
from backends.errors import Forbidden
from backends.kubernetes_secret.marks import INSTANCE_LABEL
from backends.kubernetes_secret.options import KubernetesSinkOptions
from backends.kubernetes_secret.sink import KubernetesSecretSink
from backends.secret_value import SecretValue


@pytest.fixture
def syncer(kube_cluster, kube_namespace) -> KubernetesSinkOptions:
    """A login that may list and watch in one namespace, and nothing else."""
    grant(kube_cluster, kube_namespace, "list", "watch")
    return KubernetesSinkOptions(kubeconfig=kube_cluster.kubeconfig("syncer"), namespaces=(kube_namespace,))


def desired(address: str, content: bytes) -> DesiredSecret:
    texts = dict.fromkeys(
        ("rule", "target", "namespace", "installation", "installation_id", "run_id", "result_id"), "x"
    )
    mark = Mark(
        instance=OWNER.instance,
        source=OWNER.source,
        address=address,
        revision="x",
        content_id="x",
        **texts,
    )
    return DesiredSecret(mark=mark, data={"password": SecretValue(content)})


def test_the_sink_says_that_it_tells_of_changes(kube_cluster):
    sink = KubernetesSecretSink(KubernetesSinkOptions(kubeconfig=kube_cluster.kubeconfig()))
    assert isinstance(sink, Watches)


# --- what others do


@pytest.mark.fault(36)
@pytest.mark.fault(37)
async def test_what_others_create_edit_and_delete_is_told_by_version(kube_cluster, kube_namespace, syncer):
    secret = Secret(kube_cluster, kube_namespace)
    async with watched(syncer) as changes:
        for act in (secret.create, secret.edit, secret.delete, secret.create):
            expected = act()
            assert await told(changes) == expected


@pytest.mark.fault(38)
async def test_what_loses_the_instances_label_is_told_as_gone(kube_cluster, kube_namespace, syncer):
    secret = Secret(kube_cluster, kube_namespace)
    created = secret.create()
    async with watched(syncer) as changes:
        secret.edit(labels={})
        assert await told(changes) == Seen(address=created.address)
        again = secret.edit(labels={INSTANCE_LABEL: "watching"})
        assert await told(changes) == again


async def test_what_does_not_carry_the_instances_label_is_not_told(kube_cluster, kube_namespace, syncer):
    theirs = [
        Secret(kube_cluster, kube_namespace, "theirs", instance=None),
        Secret(kube_cluster, kube_namespace, "others", instance="watching-2"),
    ]
    async with watched(syncer) as changes:
        for secret in theirs:
            secret.create()
            secret.edit()
            secret.delete()
        ours = Secret(kube_cluster, kube_namespace).create()
        assert await told(changes) == ours


async def test_an_own_write_is_told_with_the_version_it_returned(kube_cluster, kube_namespace):
    grant(kube_cluster, kube_namespace, *VERBS, "watch")
    options = KubernetesSinkOptions(
        kubeconfig=kube_cluster.kubeconfig("syncer"), namespaces=(kube_namespace,)
    )
    address = f"{kube_namespace}/orders"
    async with KubernetesSecretSink(options) as sink, aclosing(sink.watch(OWNER)) as changes:
        assert await told(changes) == EVERYTHING
        created = await sink.put(desired(address, b"1"), Absent())
        assert await told(changes) == Seen(address=address, version=created)
        replaced = await sink.put(desired(address, b"2"), Unchanged(created))
        assert await told(changes) == Seen(address=address, version=replaced)


async def test_no_value_travels(kube_cluster, kube_namespace, syncer):
    heard: list[object] = []

    def tap(sink: KubernetesSecretSink) -> None:
        exchange = sink._client._exchange

        async def exchanged(*args: object) -> object:
            heard.append(await exchange(*args))
            return heard[-1]

        sink._client._exchange = exchanged
        overhear(sink, heard)

    Secret(kube_cluster, kube_namespace, "before-theirs", instance=None).create()
    secret = Secret(kube_cluster, kube_namespace)
    secret.create()
    async with watched(syncer, tap=tap) as changes:
        await told_until(changes, secret.edit())
        await told_until(changes, secret.delete())
        await told_until(changes, secret.create())
    listed, *events = heard
    assert [item["metadata"]["name"] for item in listed["items"]] == ["orders"]
    assert {event["object"]["kind"] for event in events} == {"PartialObjectMetadata"}
    text = json.dumps(heard)
    assert '"data"' not in text
    assert base64.b64encode(CANARY.encode()).decode() not in text


# --- namespaces


async def test_a_role_in_each_namespace_is_enough_and_all_are_told_as_one(kube_cluster, kube_namespace):
    spaces = (f"{kube_namespace}-a", f"{kube_namespace}-b")
    for space in spaces:
        kube_cluster.admin.create_namespace(space)
        grant(kube_cluster, space, "list", "watch")
    kube_cluster.admin.create_namespace(f"{kube_namespace}-c")
    options = KubernetesSinkOptions(kubeconfig=kube_cluster.kubeconfig("syncer"), namespaces=spaces)
    since = kube_cluster.audit.position()
    async with watched(options) as changes:
        Secret(kube_cluster, f"{kube_namespace}-c").create()
        for space in spaces:
            # Each says for itself that it begins, and what comes before that need not be told.
            secret = Secret(kube_cluster, space)
            secret.create()
            found = await told_until(changes, secret.edit())
            assert {seen.address for seen in found} <= {None, f"{space}/orders"}
    assert watched_scopes(kube_cluster, since) == sorted(spaces)


async def test_without_namespaces_the_whole_cluster_takes_one_watch(kube_cluster, kube_namespace):
    role = grant(kube_cluster, None, "list", "watch")
    since = kube_cluster.audit.position()
    try:
        async with watched(KubernetesSinkOptions(kubeconfig=kube_cluster.kubeconfig("syncer"))) as changes:
            created = Secret(kube_cluster, kube_namespace).create()
            assert await told(changes) == created
    finally:
        kube_cluster.revoke(role)
    assert watched_scopes(kube_cluster, since) == [""]


def watched_scopes(cluster, since: int) -> list[str]:
    events = cluster.audit.events(since=since, user="syncer", verbs=["watch"])
    return sorted(event.namespace for event in events)


# --- rights


async def test_without_the_right_to_watch_it_says_only_so_and_ends(kube_cluster, kube_namespace):
    grant(kube_cluster, kube_namespace, *VERBS, user="reader")
    options = KubernetesSinkOptions(
        kubeconfig=kube_cluster.kubeconfig("reader"), namespaces=(kube_namespace,)
    )
    where = f"secrets in namespace {kube_namespace}"
    async with KubernetesSecretSink(options, watch_pace=SURE) as sink:
        with pytest.raises(Forbidden, match=f"^the right to watch {where} is missing$"):
            await told(sink.watch(OWNER))
        good, missing = await sink.check()
    assert (good.level, missing.level) == (FindingLevel.OK, FindingLevel.WARNING)
    detail = "the right to watch is missing: changes by others are found by the sweep only"
    assert (missing.subject, missing.detail) == (where, detail)


async def test_with_the_right_to_watch_the_check_has_nothing_to_say(kube_cluster, kube_namespace):
    grant(kube_cluster, kube_namespace, *VERBS, "watch", user="reader")
    options = KubernetesSinkOptions(
        kubeconfig=kube_cluster.kubeconfig("reader"), namespaces=(kube_namespace,)
    )
    async with KubernetesSecretSink(options) as sink:
        (finding,) = await sink.check()
    assert finding.level is FindingLevel.OK


async def test_without_the_right_to_list_it_says_so_and_ends(kube_cluster, kube_namespace):
    grant(kube_cluster, kube_namespace, "watch", user="reader")
    options = KubernetesSinkOptions(
        kubeconfig=kube_cluster.kubeconfig("reader"), namespaces=(kube_namespace,)
    )
    async with KubernetesSecretSink(options, watch_pace=SURE) as sink:
        with pytest.raises(Forbidden, match=r"^the right to list "):
            await told(sink.watch(OWNER))


@pytest.mark.fault(35)
async def test_a_right_that_is_taken_away_ends_it_with_the_next_watch(kube_cluster, kube_namespace):
    role = grant(kube_cluster, kube_namespace, "list", "watch", user="reader")
    options = KubernetesSinkOptions(
        kubeconfig=kube_cluster.kubeconfig("reader"), namespaces=(kube_namespace,)
    )
    async with watched(options, replace(SURE, lasting=1)) as changes:
        kube_cluster.revoke(role, kube_namespace)
        with pytest.raises(Forbidden):
            await told(changes)
