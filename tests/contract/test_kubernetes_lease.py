"""Election by a lease of a real kube-apiserver: who leads, and when another one takes over.

With short times, and real ones: leases here hold for 2 s. The rules themselves, and everything that
takes luck to happen, are in tests/unit/engine/test_engine_lease.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from test_kubernetes_client import kubeconfig

from backends.clients.kubernetes import KubernetesClient
from backends.clients.kubernetes_lease import KubernetesLease
from backends.clients.kubernetes_options import KubernetesOptions
from backends.clients.lease_record import (
    LeaseRecord,
    LeaseTaken,
    changed_lease,
    micro_time,
    new_lease,
    read_record,
)
from backends.errors import Forbidden, SinkUnavailable, TargetUnavailable
from backends.sending import only_while
from syncer.engine.lease import LeaseElection, LeaseTimes
from tests.servers.http_proxy import BlackHole, HttpProxy, answer, everything, on

GROUP = "coordination.k8s.io"
TIMES = LeaseTimes(lease_duration=2, renew_deadline=1, retry_period=0.2)
RULES = [{"apiGroups": [GROUP], "resources": ["leases"], "verbs": ["get", "create", "update"]}]
RECORD = LeaseRecord(
    holder="us",
    seconds=15,
    acquired="2026-11-24T08:00:00.000001Z",
    renewed="2026-11-24T08:00:05.500000Z",
    transitions=3,
)


@pytest.fixture
async def lease(kube_cluster, kube_namespace) -> AsyncIterator[KubernetesLease]:
    kube_cluster.grant("syncer", RULES, kube_namespace)
    async with client_of(kube_cluster) as client:
        yield KubernetesLease(client, namespace=kube_namespace, name="syncer")


@pytest.fixture
def proxy(kube_cluster) -> Iterator[HttpProxy]:
    started = HttpProxy.start(kube_cluster.url, kube_cluster.ca_file)
    yield started
    started.stop()


@asynccontextmanager
async def client_of(cluster, user: str = "syncer") -> AsyncIterator[KubernetesClient]:
    async with KubernetesClient(KubernetesOptions(kubeconfig=cluster.kubeconfig(user))) as client:
        yield client


def stored(cluster, namespace: str) -> dict:
    found = cluster.admin.get(f"{GROUP}/v1", "Lease", "syncer", namespace)
    assert found is not None
    return found


def plant(cluster, namespace: str, spec: dict, **metadata: object) -> None:
    cluster.admin.request(
        "POST",
        f"/apis/{GROUP}/v1/namespaces/{namespace}/leases",
        {"metadata": {"name": "syncer", **metadata}, "spec": spec},
    )


async def until(fact: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


# --- one lease


async def test_a_lease_is_created_read_and_updated_as_kubernetes_writes_it(
    kube_cluster, kube_namespace, lease
):
    assert await lease.read() is None
    await lease.create(RECORD)
    assert stored(kube_cluster, kube_namespace)["spec"] == {
        "holderIdentity": "us",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-11-24T08:00:00.000001Z",
        "renewTime": "2026-11-24T08:00:05.500000Z",
        "leaseTransitions": 3,
    }
    assert await lease.read() == RECORD
    given_up = LeaseRecord(
        holder="", seconds=1, acquired=RECORD.renewed, renewed=RECORD.renewed, transitions=3
    )
    await lease.update(given_up)
    assert "holderIdentity" not in stored(kube_cluster, kube_namespace)["spec"]
    assert await lease.read() == given_up


async def test_what_somebody_wrote_meanwhile_is_not_written_over(kube_cluster, kube_namespace, lease):
    await lease.create(RECORD)
    with pytest.raises(LeaseTaken, match="the lease syncer was written by somebody else meanwhile"):
        await lease.create(RECORD)
    await lease.read()
    async with client_of(kube_cluster) as client:
        theirs = KubernetesLease(client, namespace=kube_namespace, name="syncer")
        await theirs.read()
        await theirs.update(changed_record("them"))
    with pytest.raises(LeaseTaken):
        await lease.update(RECORD)
    assert await lease.read() == changed_record("them")
    kube_cluster.admin.delete(f"{GROUP}/v1", "Lease", "syncer", kube_namespace)
    with pytest.raises(LeaseTaken):
        await lease.update(RECORD)
    assert await lease.read() is None


def changed_record(holder: str) -> LeaseRecord:
    return LeaseRecord(
        holder=holder, seconds=15, acquired=RECORD.acquired, renewed=RECORD.renewed, transitions=4
    )


@pytest.mark.parametrize("spec", [{}, {"holderIdentity": None, "renewTime": None, "leaseTransitions": None}])
async def test_a_lease_of_another_tool_is_read_and_keeps_what_else_is_in_it(
    kube_cluster, kube_namespace, lease, spec
):
    plant(kube_cluster, kube_namespace, spec, labels={"theirs": "yes"}, annotations={"a": "b"})
    assert await lease.read() == LeaseRecord(holder="", seconds=0, acquired="", renewed="", transitions=0)
    await lease.update(RECORD)
    found = stored(kube_cluster, kube_namespace)
    assert (found["metadata"]["labels"], found["metadata"]["annotations"]) == ({"theirs": "yes"}, {"a": "b"})
    assert read_record(found) == RECORD


async def test_the_lease_is_written_without_the_permit_that_it_decides_about(lease):
    with only_while(lambda: False):
        await lease.create(RECORD)
        await lease.read()
        await lease.update(changed_record("them"))
        assert await lease.read() == changed_record("them")


async def test_a_missing_right_or_namespace_is_told(kube_cluster, kube_namespace):
    async with client_of(kube_cluster, "nobody") as client:
        lease = KubernetesLease(client, namespace=kube_namespace, name="syncer")
        with pytest.raises(
            Forbidden, match=f"the right to get leases in namespace {kube_namespace} is missing"
        ):
            await lease.read()
    async with client_of(kube_cluster, "admin") as client:
        lease = KubernetesLease(client, namespace="nowhere", name="syncer")
        assert await lease.read() is None
        with pytest.raises(TargetUnavailable, match="namespace nowhere does not exist"):
            await lease.create(RECORD)


async def test_an_answer_without_a_version_is_no_lease_to_write_over(
    kube_cluster, kube_namespace, proxy, tmp_path
):
    proxy.rules.add(on("GET"), answer(200, {"kind": "Lease", "metadata": {"name": "syncer"}, "spec": {}}))
    user = {"token": kube_cluster.tokens["admin"]}
    login = kubeconfig(tmp_path / "config", proxy.url, user, proxy.ca_file)
    async with KubernetesClient(login) as client:
        with pytest.raises(SinkUnavailable, match="not a Kubernetes API server's"):
            await KubernetesLease(client, namespace=kube_namespace, name="syncer").read()


@pytest.mark.parametrize(
    "lease",
    [
        {},
        {"spec": None},
        {"spec": []},
        {
            "spec": {
                "holderIdentity": 7,
                "leaseDurationSeconds": True,
                "acquireTime": {},
                "renewTime": 1.5,
                "leaseTransitions": "many",
            }
        },
        {"spec": {"leaseDurationSeconds": -1, "leaseTransitions": -1}},
    ],
)
def test_whatever_a_lease_holds_it_can_be_read_and_taken(lease):
    assert read_record(lease) == LeaseRecord(holder="", seconds=0, acquired="", renewed="", transitions=0)
    assert read_record(changed_lease(lease, RECORD)) == RECORD


def test_a_new_lease_says_what_its_record_does():
    assert read_record(new_lease("syncer", RECORD)) == RECORD
    assert micro_time(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02T03:04:05.000000Z"
    assert micro_time(datetime.fromtimestamp(0.25, UTC)) == "1970-01-01T00:00:00.250000Z"


# --- elections


@asynccontextmanager
async def contender(
    cluster, namespace: str, identity: str, *, proxy: HttpProxy | None = None, tmp_path=None
) -> AsyncIterator[LeaseElection]:
    options = KubernetesOptions(kubeconfig=cluster.kubeconfig("syncer"))
    if proxy is not None:
        user = {"token": cluster.tokens["syncer"]}
        options = kubeconfig(tmp_path / "config", proxy.url, user, proxy.ca_file)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(KubernetesClient(options))
        lock = KubernetesLease(client, namespace=namespace, name="syncer")
        yield await stack.enter_async_context(LeaseElection(lock, identity, times=TIMES))


async def test_one_of_two_leads_and_hands_over_at_once(kube_cluster, kube_namespace):
    kube_cluster.grant("syncer", RULES, kube_namespace)
    async with (
        contender(kube_cluster, kube_namespace, "first") as first,
        contender(kube_cluster, kube_namespace, "second") as second,
    ):
        await first.acquire()
        getting = asyncio.create_task(second.acquire())
        await until(lambda: second.holder == "first")
        begun = stored(kube_cluster, kube_namespace)["spec"]
        # Longer than a lease holds: it is kept by being renewed.
        await until(
            lambda: moment(kube_cluster, kube_namespace) > parsed(begun["renewTime"]) + timedelta(seconds=2.5)
        )
        assert (first.holds(), second.holds(), getting.done()) == (True, False, False)
        spec = stored(kube_cluster, kube_namespace)["spec"]
        assert (spec["acquireTime"], spec["leaseTransitions"]) == (begun["acquireTime"], 0)
        assert abs(datetime.now(UTC) - parsed(spec["renewTime"])) < timedelta(seconds=2)
        losing = asyncio.create_task(first.lost())
        given_up = time.monotonic()
        await first.release()
        assert not first.holds()
        await losing
        await getting
        assert time.monotonic() - given_up < 1.5
        assert (second.holds(), second.holder) == (True, "second")
        assert stored(kube_cluster, kube_namespace)["spec"]["leaseTransitions"] == 1
    assert "holderIdentity" not in stored(kube_cluster, kube_namespace)["spec"]


def parsed(text: str) -> datetime:
    return datetime.fromisoformat(text)


def moment(cluster, namespace: str) -> datetime:
    return parsed(stored(cluster, namespace)["spec"]["renewTime"])


@pytest.mark.fault(55, 62)
async def test_a_leader_that_is_cut_off_stops_before_another_takes_over(
    kube_cluster, kube_namespace, proxy, tmp_path
):
    kube_cluster.grant("syncer", RULES, kube_namespace)
    hole = BlackHole()
    async with (
        contender(kube_cluster, kube_namespace, "first", proxy=proxy, tmp_path=tmp_path) as first,
        contender(kube_cluster, kube_namespace, "second") as second,
    ):
        await first.acquire()
        getting = asyncio.create_task(second.acquire())
        await until(lambda: second.holder == "first")
        losing = asyncio.create_task(first.lost())
        cut = time.monotonic()
        proxy.rules.add(everything, hole)
        await losing
        assert 0 < time.monotonic() - cut < 1.8
        assert (first.holds(), first.holder, getting.done()) == (False, "", False)
        assert first.reason == "the lease: there was no answer in time"
        again = asyncio.create_task(first.acquire())
        await getting
        assert (first.holds(), second.holds()) == (False, True)
        # What the former leader had on its way comes late, and changes nothing.
        proxy.rules.clear()
        hole.release()
        await until(lambda: first.holder == "second")
        assert (first.holds(), second.holds()) == (False, True)
        again.cancel()


@pytest.mark.fault(55)
async def test_while_the_api_server_hangs_nobody_leads_and_afterwards_somebody_does(
    kube_cluster, kube_namespace
):
    kube_cluster.grant("syncer", RULES, kube_namespace)
    async with contender(kube_cluster, kube_namespace, "first") as first:
        await first.acquire()
        with kube_cluster.paused():
            await first.lost()
            assert not first.holds()
        await first.acquire()
        assert first.holds()
        assert stored(kube_cluster, kube_namespace)["spec"]["leaseTransitions"] == 0


async def test_rights_that_are_missing_are_the_reason_until_they_are_given(kube_cluster, kube_namespace):
    role = kube_cluster.grant("syncer", [RULES[0] | {"verbs": ["get"]}], kube_namespace)
    async with contender(kube_cluster, kube_namespace, "first") as first:
        getting = asyncio.create_task(first.acquire())
        await until(lambda: bool(first.reason))
        assert first.reason == f"the right to create leases in namespace {kube_namespace} is missing"
        kube_cluster.grant("syncer", RULES, kube_namespace)
        await getting
        assert (first.holds(), first.reason) == (True, "")
    kube_cluster.revoke(role, kube_namespace)
