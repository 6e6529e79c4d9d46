"""Writes that were stopped half way, hands of others, and how the sinks stand. On a real kube-apiserver.

The end of the process between two requests is a fault put into the sink's own client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from installation_outputs_world import API, DEFINITION, KIND, OWNER, RULES, desired, output

from backends.contract import Absent, Condition, ObservedSecret, TakeOver, Unchanged, Version
from backends.errors import ForeignSecret, PreconditionFailed, Refused
from backends.installation_outputs.options import InstallationOutputsOptions
from backends.installation_outputs.sink import InstallationOutputsSink

HOST = [output("host")]
SYNCED = Condition(ok=True, reason="Synced", message="it has the latest")
BROKEN = Condition(ok=False, reason="SinkUnavailable", message="vault cannot be reached")


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sink(kube_cluster, kube_namespace, clock) -> AsyncIterator[InstallationOutputsSink]:
    kube_cluster.install(DEFINITION)
    kube_cluster.grant("syncer", RULES, kube_namespace)
    options = InstallationOutputsOptions(
        kubeconfig=kube_cluster.kubeconfig("syncer"), namespaces=(kube_namespace,)
    )
    async with InstallationOutputsSink(options, clock=clock) as opened:
        yield opened


@pytest.fixture
def hands(kube_cluster, kube_namespace) -> Hands:
    return Hands(kube_cluster.admin, kube_namespace)


class Hands:
    """The administrator, at one resource."""

    def __init__(self, admin, namespace: str) -> None:
        self._admin = admin
        self._namespace = namespace
        self._path = f"/apis/{API}/namespaces/{namespace}/installationoutputs"

    @property
    def resource(self) -> dict:
        found = self._admin.get(API, KIND, "orders", self._namespace)
        assert found is not None
        return found

    @property
    def conditions(self) -> dict[str, tuple[str, str, str]]:
        stated = self.resource["status"]["conditions"]
        return {one["type"]: (one["status"], one["reason"], one["lastTransitionTime"]) for one in stated}

    def create(self, installation: str = "orders", **metadata: object) -> dict:
        spec = {"installation": {"namespace": "shop", "name": installation}}
        body = {"apiVersion": API, "kind": KIND, "metadata": {"name": "orders"} | metadata, "spec": spec}
        return self._admin.request("POST", self._path, body)

    def edit_status(self, edit) -> None:
        resource = self.resource
        edit(resource["status"])
        self._admin.request("PUT", f"{self._path}/orders/status", resource)

    def edit_metadata(self, edit) -> None:
        resource = self.resource
        edit(resource["metadata"])
        self._admin.request("PUT", f"{self._path}/orders", resource)


def stop_before_the_status(sink, monkeypatch) -> None:
    whole = sink._client.put

    async def put(path: str, body: dict) -> dict:
        if path.endswith("/status"):
            raise KeyboardInterrupt
        return await whole(path, body)

    monkeypatch.setattr(sink._client, "put", put)


async def observed(sink, namespace: str) -> ObservedSecret:
    return (await sink.observe(OWNER, [f"{namespace}/orders"]))[f"{namespace}/orders"]


async def repaired(sink, namespace: str, secret) -> Version:
    """It is seen to be wrong, and right after a write."""
    seen = await observed(sink, namespace)
    (listed,) = [one async for one in sink.inventory(OWNER)]
    assert (seen.ours, seen.intact, listed.intact) == (True, False, False)
    version = await sink.put(secret, Unchanged(seen.version))
    assert (await observed(sink, namespace)).intact
    return version


# --- stopped half way


async def test_a_first_write_that_was_stopped_before_the_status_is_finished(
    kube_namespace, sink, hands, monkeypatch
):
    secret = desired(kube_namespace, HOST, {"host": b"1"})
    with monkeypatch.context() as fault:
        stop_before_the_status(sink, fault)
        with pytest.raises(KeyboardInterrupt):
            await sink.put(secret, Absent())
    assert "status" not in hands.resource
    await repaired(sink, kube_namespace, secret)
    assert hands.resource["status"]["outputs"][0]["value"] == "1"


async def test_an_update_that_was_stopped_before_the_status_is_finished(
    kube_namespace, sink, hands, monkeypatch
):
    version = await sink.put(desired(kube_namespace, HOST, {"host": b"1"}), Absent())
    newer = desired(kube_namespace, HOST, {"host": b"2"}, revision="revision-2")
    with monkeypatch.context() as fault:
        stop_before_the_status(sink, fault)
        with pytest.raises(KeyboardInterrupt):
            await sink.put(newer, Unchanged(version))
    assert hands.resource["status"]["outputs"][0]["value"] == "1"
    await repaired(sink, kube_namespace, newer)
    assert hands.resource["status"]["outputs"][0]["value"] == "2"


# --- hands of others


@pytest.mark.parametrize(
    "edit",
    [
        lambda status: status["outputs"][0].update(value="theirs"),
        lambda status: status["outputs"][0].update(sensitive=True) or status["outputs"][0].pop("value"),
        lambda status: status["outputs"].append({"name": "more", "type": "string", "sensitive": False}),
        lambda status: status.update(run="another"),
        lambda status: status.update(action="another"),
        lambda status: status.update(binding={"name": "theirs"}),
        lambda status: status.update(observedGeneration=0),
        lambda status: status.pop("digest"),
        lambda status: status.clear(),
        lambda status: status["conditions"].pop(),
        lambda status: status["conditions"][0].update(status="False"),
    ],
    ids=[
        "value", "sensitive", "another output", "run", "action", "binding", "generation", "digest", "everything",
        "a condition gone", "Ready",
    ],
)  # fmt: skip
async def test_a_status_edited_by_hand_is_seen_and_repaired(kube_namespace, sink, hands, edit):
    secret = desired(kube_namespace, HOST, {"host": b"1"}, sinks=["cluster"])
    await sink.put(secret, Absent())
    before = hands.resource["status"]
    hands.edit_status(edit)
    await repaired(sink, kube_namespace, secret)
    assert hands.resource["status"] == before


async def test_others_labels_annotations_and_finalizers_stay(kube_namespace, sink, hands):
    version = await sink.put(desired(kube_namespace, HOST, {"host": b"1"}), Absent())
    hands.edit_metadata(lambda metadata: metadata["labels"].update(team="shop"))
    hands.edit_metadata(lambda metadata: metadata["annotations"].update(note="theirs"))
    hands.edit_metadata(lambda metadata: metadata.update(finalizers=["example.com/theirs"]))
    seen = await observed(sink, kube_namespace)
    assert seen.intact
    assert seen.version != version
    newer = desired(kube_namespace, HOST, {"host": b"2"}, revision="revision-2")
    await sink.put(newer, Unchanged(seen.version))
    metadata = hands.resource["metadata"]
    assert (metadata["labels"]["team"], metadata["annotations"]["note"]) == ("shop", "theirs")
    assert metadata["finalizers"] == ["example.com/theirs"]


async def test_a_resource_that_a_user_made_is_never_touched(kube_namespace, sink, hands):
    before = hands.create(labels={"theirs": "yes"})
    with pytest.raises(ForeignSecret):
        await sink.put(desired(kube_namespace, HOST, {"host": b"1"}), Absent())
    seen = await observed(sink, kube_namespace)
    assert not seen.ours
    with pytest.raises(ForeignSecret):
        await sink.put(desired(kube_namespace, HOST, {"host": b"1"}), Unchanged(seen.version))
    with pytest.raises(ForeignSecret):
        await sink.remove(seen)
    assert hands.resource == before


async def test_a_resource_that_lost_its_mark_is_nobodys(kube_namespace, sink, hands):
    await sink.put(desired(kube_namespace, HOST, {"host": b"1"}), Absent())
    ours = await observed(sink, kube_namespace)
    hands.edit_metadata(lambda metadata: metadata.pop("annotations"))
    seen = await observed(sink, kube_namespace)
    assert seen.foreign == "no mark"
    assert [one async for one in sink.inventory(OWNER)] == []
    with pytest.raises(PreconditionFailed):
        await sink.remove(ours)
    assert hands.resource["status"]


async def test_a_resource_made_for_another_installation_cannot_be_taken_over(kube_namespace, sink, hands):
    hands.create(installation="another")
    seen, before = await observed(sink, kube_namespace), hands.resource
    with pytest.raises(Refused, match="made for another installation"):
        await sink.put(desired(kube_namespace, HOST, {"host": b"1"}), TakeOver(seen.version))
    assert hands.resource == before


# --- how the sinks stand


async def test_of_a_new_resource_the_conditions_are_unknown_and_it_is_ready(kube_namespace, sink, hands):
    await sink.put(desired(kube_namespace, HOST, {}, sinks=["cluster", "vault"]), Absent())
    start = "2023-11-14T22:13:20Z"
    assert hands.conditions == {
        "Ready": ("True", "OutputsShown", start),
        "Synced/cluster": ("Unknown", "NotKnown", start),
        "Synced/vault": ("Unknown", "NotKnown", start),
    }


async def test_a_sink_that_fails_makes_the_resource_unready_until_it_works_again(
    kube_namespace, sink, hands, clock
):
    secret = desired(kube_namespace, HOST, {}, sinks=["cluster", "vault"])
    known = {"cluster": SYNCED, "vault": SYNCED, "file": BROKEN}
    sink.show(lambda namespace, name: known if (namespace, name) == ("shop", "orders") else {})
    await sink.put(secret, Absent())
    start, later = "2023-11-14T22:13:20Z", "2023-11-14T22:15:00Z"
    assert hands.conditions["Ready"] == ("True", "OutputsShown", start)
    clock.now += 100
    known["vault"] = BROKEN
    await repaired(sink, kube_namespace, secret)
    assert hands.conditions == {
        "Ready": ("False", "SinkNotSynced", later),
        "Synced/cluster": ("True", "Synced", start),
        "Synced/vault": ("False", "SinkUnavailable", later),
    }
    ready = hands.resource["status"]["conditions"][0]
    assert ready["message"] == "not in sync: vault"
    known["vault"] = Condition(ok=False, reason="Forbidden", message="a right is missing")
    clock.now += 100
    await repaired(sink, kube_namespace, secret)
    assert hands.conditions["Synced/vault"] == ("False", "Forbidden", later)
    known["vault"] = SYNCED
    await repaired(sink, kube_namespace, secret)
    assert hands.conditions["Ready"] == ("True", "OutputsShown", "2023-11-14T22:16:40Z")


async def test_what_is_not_known_any_more_stays_as_it_stands(kube_namespace, sink, hands):
    secret = desired(kube_namespace, HOST, {}, sinks=["cluster", "vault"])
    sink.show(lambda _namespace, _name: {"vault": BROKEN})
    version = await sink.put(secret, Absent())
    before = hands.conditions
    sink.show(lambda _namespace, _name: {"vault": None})
    assert (await observed(sink, kube_namespace)).intact
    assert await sink.put(secret, Unchanged(version)) == version
    assert hands.conditions == before


async def test_a_new_wording_alone_is_no_reason_to_write(kube_namespace, sink):
    known = {"vault": BROKEN}
    sink.show(lambda _namespace, _name: known)
    await sink.put(desired(kube_namespace, HOST, {}, sinks=["vault"]), Absent())
    known["vault"] = Condition(ok=False, reason=BROKEN.reason, message="for the third time")
    assert (await observed(sink, kube_namespace)).intact


async def test_a_sink_that_is_no_longer_named_is_dropped(kube_namespace, sink, hands):
    sink.show(lambda _namespace, _name: {"vault": BROKEN})
    version = await sink.put(desired(kube_namespace, HOST, {}, sinks=["cluster", "vault"]), Absent())
    newer = desired(kube_namespace, HOST, {}, sinks=["cluster"], revision="revision-2")
    await sink.put(newer, Unchanged(version))
    assert hands.conditions.keys() == {"Ready", "Synced/cluster"}
    assert hands.conditions["Ready"][0] == "True"


async def test_a_change_of_conditions_writes_the_status_only(kube_cluster, kube_namespace, sink):
    secret = desired(kube_namespace, HOST, {"host": b"1"}, sinks=["vault"])
    version = await sink.put(secret, Absent())
    sink.show(lambda _namespace, _name: {"vault": BROKEN})
    since = kube_cluster.audit.position()
    await sink.put(secret, Unchanged(version))
    writes = kube_cluster.audit.writes(since=since, user="syncer")
    assert [(one.verb, one.subresource) for one in writes] == [("update", "status")]
