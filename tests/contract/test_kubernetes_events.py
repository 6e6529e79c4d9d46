"""Events about Secrets on a real API server: who finds them, and what happens where they are not taken.

Excludes which events there are (tests/unit/telemetry/test_events.py).
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

import pytest

from backends.clients.kubernetes_events import EventRecorder
from backends.clients.kubernetes_options import KubernetesOptions
from backends.errors import AuthenticationFailed, Forbidden, Refused, SinkUnavailable, TargetUnavailable
from syncer.core.changes import KeyChange, KeyChangeKind, State, Subject
from syncer.core.model import InstallationKey
from syncer.engine.report import Entry
from syncer.telemetry.events import KubernetesEvents

RULES = [{"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]}]
DEADLINE = 20.0
AT = 1_790_000_000.25
EVENT = {"reason": "Updated", "warning": False, "note": "host (change)", "at": AT}


@pytest.fixture
def options(kube_cluster, kube_namespace) -> KubernetesOptions:
    """A login that may create events in one namespace, and nothing else."""
    kube_cluster.grant("syncer", RULES, kube_namespace)
    return KubernetesOptions(kubeconfig=kube_cluster.kubeconfig("syncer"))


def events_of(cluster, namespace: str, name: str) -> list[dict]:
    """As `kubectl events --for secret/NAME` finds them."""
    fields = f"involvedObject.kind=Secret,involvedObject.name={name}"
    path = f"/api/v1/namespaces/{namespace}/events?{urlencode({'fieldSelector': fields})}"
    return cluster.admin.request("GET", path)["items"]


def entry(namespace: str, *, name: str = "orders-db") -> Entry:
    subject = Subject(
        sink="cluster",
        path=f"{namespace}/{name}",
        rule="everything",
        key=InstallationKey("shop", "orders-db"),
        id="01LIFE",
        run_id="01RUN",
    )
    keys = (KeyChange("host", KeyChangeKind.CHANGE),)
    return Entry(action="update", subject=subject, reason="newer outputs", state=State.PENDING, keys=keys)


async def become_of(options: KubernetesOptions, told: Entry) -> str:
    """What becomes of the event that a change is told by."""
    result = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(DEADLINE), EventRecorder(options, instance="pod-1") as recorder:
        events = KubernetesEvents({"cluster": recorder}, count=lambda _, what: result.set_result(what))
        sending = asyncio.create_task(events.run())
        events.entry(told)
        await result
        sending.cancel()
        await asyncio.wait([sending])
    return result.result()


async def test_an_event_is_found_with_its_secret(kube_cluster, kube_namespace, options):
    async with EventRecorder(options, instance="pod-1") as recorder:
        await recorder.record(address=f"{kube_namespace}/orders-db", **EVENT)
        await recorder.record(address=f"{kube_namespace}/other", **(EVENT | {"warning": True}))
    [event] = events_of(kube_cluster, kube_namespace, "orders-db")
    [other] = events_of(kube_cluster, kube_namespace, "other")
    assert (event["type"], event["reason"], event["message"]) == ("Normal", "Updated", "host (change)")
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Secret",
        "namespace": kube_namespace,
        "name": "orders-db",
    }
    assert (event["reportingComponent"], event["reportingInstance"]) == ("porter-outputs-syncer", "pod-1")
    assert event["eventTime"] == "2026-09-21T14:13:20.250000Z"
    assert other["type"] == "Warning"


@pytest.mark.parametrize("name", ["a" * 253, "a" * 235 + "." + "b" * 17, "a.b-c"])
async def test_a_secret_of_any_name_has_as_many_events_as_there_are(
    kube_cluster, kube_namespace, options, name
):
    async with EventRecorder(options, instance="i" * 500) as recorder:
        for _ in range(3):
            await recorder.record(address=f"{kube_namespace}/{name}", **EVENT)
    assert len(events_of(kube_cluster, kube_namespace, name)) == 3


@pytest.mark.parametrize(
    ("note", "shown"),
    [
        ("é" * 2000, "é" * 510 + "…"),
        ("a\x1b[31m\r\n\0\u202e", "a�[31m����"),
        ("lone \udc80", "lone �"),
    ],
)
async def test_a_note_is_cut_and_made_fit_for_a_terminal(kube_cluster, kube_namespace, options, note, shown):
    async with EventRecorder(options, instance="pod-1") as recorder:
        await recorder.record(address=f"{kube_namespace}/a", **(EVENT | {"note": note}))
    [event] = events_of(kube_cluster, kube_namespace, "a")
    assert event["message"] == shown


@pytest.mark.fault(35)
async def test_what_is_not_taken_is_told_by_its_kind(kube_cluster, kube_namespace, options):
    async with EventRecorder(options, instance="pod-1") as recorder:
        with pytest.raises(Forbidden, match="the right to create events in namespace default is missing"):
            await recorder.record(address="default/a", **EVENT)
        for address in ("a", "/a", "a/", ""):
            with pytest.raises(Refused, match="not the namespace/name of a Secret"):
                await recorder.record(address=address, **EVENT)
    admin = KubernetesOptions(kubeconfig=kube_cluster.kubeconfig())
    async with EventRecorder(admin, instance="pod-1") as recorder:
        with pytest.raises(TargetUnavailable, match="does not exist"):
            await recorder.record(address=f"{kube_namespace}-x/a", **EVENT)


async def test_without_a_login_there_is_an_error_at_the_first_event_and_the_next_one_tries_again(
    kube_cluster, kube_namespace, options, tmp_path
):
    later = tmp_path / "later"
    async with EventRecorder(KubernetesOptions(kubeconfig=later), instance="pod-1") as recorder:
        with pytest.raises(AuthenticationFailed):
            await recorder.record(address=f"{kube_namespace}/a", **EVENT)
        later.symlink_to(options.kubeconfig)
        await recorder.record(address=f"{kube_namespace}/a", **EVENT)
    assert len(events_of(kube_cluster, kube_namespace, "a")) == 1


async def test_nothing_is_asked_of_the_cluster_before_there_is_an_event(tmp_path):
    async with EventRecorder(KubernetesOptions(kubeconfig=tmp_path / "none"), instance="pod-1"):
        pass


async def test_a_change_that_is_told_becomes_an_event(kube_cluster, kube_namespace, options):
    assert await become_of(options, entry(kube_namespace)) == "recorded"
    [event] = events_of(kube_cluster, kube_namespace, "orders-db")
    assert event["message"] == (
        "newer outputs (installation shop/orders-db, rule everything, run 01RUN): host (change)"
    )


@pytest.mark.fault(35)
async def test_without_the_right_to_create_events_nothing_breaks(kube_cluster, kube_namespace):
    nobody = KubernetesOptions(kubeconfig=kube_cluster.kubeconfig("nobody"))
    assert await become_of(nobody, entry(kube_namespace)) == "failed"
    assert events_of(kube_cluster, kube_namespace, "orders-db") == []


@pytest.mark.fault(25)
async def test_a_stopped_api_server_is_an_error_and_no_more(kube_cluster, kube_namespace, options):
    async with EventRecorder(options, instance="pod-1") as recorder:
        kube_cluster.stop_apiserver()
        try:
            with pytest.raises(SinkUnavailable):
                await recorder.record(address=f"{kube_namespace}/a", **EVENT)
        finally:
            kube_cluster.start_apiserver()
        await recorder.record(address=f"{kube_namespace}/a", **EVENT)
    assert len(events_of(kube_cluster, kube_namespace, "a")) == 1
