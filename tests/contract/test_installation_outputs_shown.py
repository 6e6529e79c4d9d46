"""What a resource shows, and what the API server refuses to have in it. On a real kube-apiserver, with the
definition as the chart installs it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from installation_outputs_world import API, DEFINITION, KIND, OWNER, RULES, desired, output, shown_value

from backends.contract import Absent, Unchanged
from backends.errors import Refused
from backends.installation_outputs.options import InstallationOutputsOptions
from backends.installation_outputs.sink import InstallationOutputsSink
from tests.servers.kube_client import KubeError

DOCS = Path(__file__).parents[2] / "docs"
CANARY = b"canary-7f3a9c51e2"


@pytest.fixture
async def sink(kube_cluster, kube_namespace) -> AsyncIterator[InstallationOutputsSink]:
    kube_cluster.install(DEFINITION)
    kube_cluster.grant("syncer", RULES, kube_namespace)
    options = InstallationOutputsOptions(
        kubeconfig=kube_cluster.kubeconfig("syncer"), namespaces=(kube_namespace,)
    )
    async with InstallationOutputsSink(options) as opened:
        yield opened


def found(cluster, namespace: str, name: str = "orders") -> dict:
    resource = cluster.admin.get(API, KIND, name, namespace)
    assert resource is not None
    return resource


def by_name(resource: dict) -> dict[str, dict]:
    return {entry["name"]: entry for entry in resource["status"]["outputs"]}


async def observed(sink, namespace: str):
    return (await sink.observe(OWNER, [f"{namespace}/orders"]))[f"{namespace}/orders"]


# --- what is shown


async def test_a_resource_tells_installation_run_and_outputs(kube_cluster, kube_namespace, sink):
    outputs = [
        output("host", secret=f"{kube_namespace}/orders-outputs"),
        output("password", sensitive=True, secret=f"{kube_namespace}/orders-outputs"),
    ]
    binding = f"{kube_namespace}/orders-binding"
    await sink.put(desired(kube_namespace, outputs, {"host": b"db.shop"}, binding=binding), Absent())
    resource = found(kube_cluster, kube_namespace)
    assert resource["spec"] == {"installation": {"namespace": "shop", "name": "orders"}}
    status = resource["status"]
    assert (status["run"], status["result"], status["action"]) == ("01RUN", "01RESULT", "install")
    assert status["observedGeneration"] == resource["metadata"]["generation"]
    assert status["binding"] == {"name": "orders-binding"}
    assert status["outputs"] == [
        {
            "name": "host",
            "type": "string",
            "sensitive": False,
            "value": "db.shop",
            "secretKeyRef": {"name": "orders-outputs", "key": "host"},
        },
        {
            "name": "password",
            "type": "string",
            "sensitive": True,
            "secretKeyRef": {"name": "orders-outputs", "key": "password"},
        },
    ]


async def test_a_secret_in_another_namespace_is_not_referred_to(kube_cluster, kube_namespace, sink):
    outputs = [output("host", secret="elsewhere/orders-outputs")]
    await sink.put(desired(kube_namespace, outputs, {}, binding="elsewhere/orders-binding"), Absent())
    status = found(kube_cluster, kube_namespace)["status"]
    assert status["outputs"] == [{"name": "host", "type": "string", "sensitive": False}]
    assert "binding" not in status


async def test_no_sensitive_byte_is_in_the_object_even_where_one_is_handed_over(
    kube_cluster, kube_namespace, sink
):
    outputs = [output("password", sensitive=True), {"name": "token", "type": "string"}, output("host")]
    data = {"password": CANARY, "token": CANARY, "undescribed": CANARY, "host": b"db.shop"}
    await sink.put(desired(kube_namespace, outputs, data), Absent())
    resource = found(kube_cluster, kube_namespace)
    whole = json.dumps(resource)
    assert CANARY.decode() not in whole
    assert base64.b64encode(CANARY).decode() not in whole
    assert {name: entry["sensitive"] for name, entry in by_name(resource).items()} == {
        "password": True,
        "token": True,
        "host": False,
    }
    assert by_name(resource)["host"]["value"] == "db.shop"


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"x" * 4096, 4096),
        (b"x" * 4097, 4096),
        ("é".encode() * 3000, 4096),
        (b"x" + "é".encode() * 3000, 4095),
    ],
    ids=["fits", "one too long", "letters of two bytes", "cut inside a letter"],
)
async def test_text_is_cut_at_a_letter(kube_cluster, kube_namespace, sink, content, shown):
    await sink.put(desired(kube_namespace, [output("long")], {"long": content}), Absent())
    entry = by_name(found(kube_cluster, kube_namespace))["long"]
    assert content[:shown] == shown_value(entry)
    assert entry.get("truncated", False) is (len(content) > shown)
    seen = await observed(sink, kube_namespace)
    assert seen.intact
    assert (seen.data is None) is (len(content) > shown)


async def test_bytes_that_are_no_text_are_shown_as_base64(kube_cluster, kube_namespace, sink):
    content = bytes(range(256)) * 13
    data = {"short": b"\xff\0", "long": content}
    await sink.put(desired(kube_namespace, [output("short"), output("long")], data), Absent())
    entries = by_name(found(kube_cluster, kube_namespace))
    assert (entries["short"]["encoding"], shown_value(entries["short"])) == ("base64", b"\xff\0")
    assert (entries["long"]["encoding"], entries["long"]["truncated"]) == ("base64", True)
    assert shown_value(entries["long"]) == content[:3072]


async def test_a_thousand_outputs_of_the_worst_kind_are_taken(kube_cluster, kube_namespace, sink):
    names = [f"output-{number:04}" for number in range(1024)]
    data = dict.fromkeys(names, b"\x01<" * 2048)
    outputs = [output(name, secret=f"{kube_namespace}/orders-outputs") for name in names]
    await sink.put(desired(kube_namespace, outputs, data), Absent())
    entries = by_name(found(kube_cluster, kube_namespace))
    assert sum(len(entry["value"]) for entry in entries.values()) == 128 * 1024
    assert not entries[names[0]].get("truncated")
    assert entries[names[-1]]["truncated"]
    assert (await observed(sink, kube_namespace)).intact


async def test_more_outputs_than_a_resource_takes_are_refused(kube_namespace, sink):
    outputs = [output(f"output-{number}") for number in range(1025)]
    with pytest.raises(Refused):
        await sink.put(desired(kube_namespace, outputs, {}), Absent())


async def test_a_description_that_is_none_is_refused_and_not_quoted(kube_namespace, sink):
    secret = desired(kube_namespace, [], {})
    secret.attributes["description"] = '{"outputs": "canary-7f3a9c51e2"}'
    with pytest.raises(Refused) as caught:
        await sink.put(secret, Absent())
    assert CANARY.decode() not in repr(caught.value)
    assert caught.value.__cause__ is None


# --- nothing is written twice


async def test_what_is_shown_already_is_not_written_again(kube_cluster, kube_namespace, sink):
    secret = desired(kube_namespace, [output("host")], {"host": b"db.shop"}, sinks=["cluster"])
    version = await sink.put(secret, Absent())
    since = kube_cluster.audit.position()
    assert await sink.put(secret, Unchanged(version)) == version
    assert kube_cluster.audit.writes(since=since, user="syncer") == ()


async def test_a_write_is_the_mark_and_then_the_status(kube_cluster, kube_namespace, sink):
    since = kube_cluster.audit.position()
    secret = desired(kube_namespace, [output("host")], {"host": b"1"})
    version = await sink.put(secret, Absent())
    newer = desired(kube_namespace, [output("host")], {"host": b"2"}, revision="revision-2")
    await sink.put(newer, Unchanged(version))
    writes = kube_cluster.audit.writes(since=since, user="syncer")
    assert [(one.verb, one.subresource) for one in writes] == [
        ("create", ""),
        ("update", "status"),
        ("update", ""),
        ("update", "status"),
    ]


# --- what the definition refuses


@pytest.mark.parametrize(
    "field", [{"value": "x"}, {"value": ""}, {"encoding": "base64"}, {"truncated": True}]
)
def test_the_api_server_refuses_a_value_on_a_sensitive_output(kube_cluster, kube_namespace, field):
    kube_cluster.install(DEFINITION)
    entry = {"name": "password", "type": "string", "sensitive": True} | field
    with pytest.raises(KubeError) as caught:
        write_status(kube_cluster, kube_namespace, {"outputs": [entry]})
    assert "a sensitive output is shown without its value" in str(caught.value)


def test_the_api_server_keeps_no_field_that_the_definition_does_not_have(kube_cluster, kube_namespace):
    kube_cluster.install(DEFINITION)
    entry = {"name": "password", "type": "string", "sensitive": True}
    stray = {
        "outputs": [entry | {"plaintext": "canary"}],
        "values": {"password": "canary"},
        "message": "canary",
    }
    stored = write_status(kube_cluster, kube_namespace, stray)
    assert stored["status"] == {"outputs": [entry]}


def test_the_installation_of_a_resource_cannot_be_changed(kube_cluster, kube_namespace):
    kube_cluster.install(DEFINITION)
    made = create(kube_cluster, kube_namespace)
    made["spec"]["installation"]["name"] = "another"
    with pytest.raises(KubeError) as caught:
        kube_cluster.admin.request("PUT", f"{folder(kube_namespace)}/orders", made)
    assert "the installation cannot be changed" in str(caught.value)


def test_a_table_of_resources_shows_installation_run_and_readiness(kube_cluster):
    kube_cluster.install(DEFINITION)
    stored = kube_cluster.admin.get(
        "apiextensions.k8s.io/v1", "CustomResourceDefinition", DEFINITION["metadata"]["name"]
    )
    columns = stored["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [one["name"] for one in columns if not one.get("priority")] == [
        "Porter Namespace",
        "Installation",
        "Run",
        "Action",
        "Ready",
        "Age",
    ]
    accepted = {one["type"]: one["status"] for one in stored["status"]["conditions"]}
    assert accepted["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in accepted


def test_the_example_of_the_documentation_is_a_resource_that_the_api_server_takes(
    kube_cluster, kube_namespace
):
    kube_cluster.install(DEFINITION)
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / "custom-resources.md").read_text(), re.DOTALL)
    (example,) = [yaml.safe_load(block) for block in blocks if f"kind: {KIND}\nmetadata" in block]
    status, example["metadata"]["namespace"] = example.pop("status"), kube_namespace
    made = kube_cluster.admin.request("POST", folder(kube_namespace), example)
    path = f"{folder(kube_namespace)}/{example['metadata']['name']}/status"
    assert kube_cluster.admin.request("PUT", path, made | {"status": status})["status"] == status


def test_the_rights_of_the_documentation_are_those_the_tests_go_by():
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / "custom-resources.md").read_text(), re.DOTALL)
    assert yaml.safe_load(blocks[-1]) == RULES


def folder(namespace: str) -> str:
    return f"/apis/{API}/namespaces/{namespace}/installationoutputs"


def create(cluster, namespace: str) -> dict:
    spec = {"installation": {"namespace": "shop", "name": "orders"}}
    body = {"apiVersion": API, "kind": KIND, "metadata": {"name": "orders"}, "spec": spec}
    return cluster.admin.request("POST", folder(namespace), body)


def write_status(cluster, namespace: str, status: dict) -> dict:
    made = create(cluster, namespace)
    return cluster.admin.request("PUT", f"{folder(namespace)}/orders/status", made | {"status": status})
