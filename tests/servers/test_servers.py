"""The servers themselves: real ones, started by the plugin's fixtures; nothing is simulated.

Excludes building (the first run does it) and the product.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure

from tests.servers import mongodump
from tests.servers.kube_client import KubeError
from tests.servers.kubernetes import KubeCluster
from tests.servers.mongodb import MongoServer
from tests.servers.processes import Child, ServerFailedError, free_port

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart" / "dump"
SECRETS = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}


@pytest.fixture
def database(mongo_url: str) -> Iterator[Database[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](mongo_url) as client:
        yield client.get_default_database()


def secret(namespace: str, name: str = "answer") -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"value": "42"}}


def runs(installations: int) -> list[dict[str, Any]]:
    pairs = [(i, n) for i in range(installations) for n in range(3)]
    return [
        {"_id": f"{i}-{n}", "namespace": "shop", "installation": f"i{i}", "bundle": "{}"} for i, n in pairs
    ]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""  # a dead process nobody asked after has none
    except OSError:
        return False


def test_the_api_server_creates_and_reads_a_secret(kube_cluster: KubeCluster, kube_namespace: str) -> None:
    kube_cluster.admin.apply(secret(kube_namespace))
    stored = kube_cluster.admin.secret(kube_namespace, "answer")
    assert stored is not None
    assert stored["data"] == {"value": "NDI="}
    listed = kube_cluster.admin.list("v1", "Secret", kube_namespace)
    assert [item["metadata"]["name"] for item in listed] == ["answer"]
    assert kube_cluster.admin.delete("v1", "Secret", "answer", kube_namespace)
    assert kube_cluster.admin.secret(kube_namespace, "answer") is None


def test_a_user_without_rights_is_refused_and_the_audit_log_says_so(
    kube_cluster: KubeCluster, kube_namespace: str
) -> None:
    before = kube_cluster.audit.position()
    with pytest.raises(KubeError, match="403"):
        kube_cluster.client("nobody").request(
            "POST", f"/api/v1/namespaces/{kube_namespace}/secrets", secret(kube_namespace)
        )
    (event,) = kube_cluster.audit.writes(since=before, user="nobody")
    assert (event.verb, event.resource, event.code) == ("create", "secrets", 403)
    assert event.namespace == kube_namespace


def test_a_granted_right_holds_in_its_namespace_until_it_is_revoked(
    kube_cluster: KubeCluster, kube_namespace: str
) -> None:
    kube_cluster.admin.apply(secret(kube_namespace))
    reader = kube_cluster.client("reader")
    role = kube_cluster.grant("reader", [SECRETS], kube_namespace)
    assert reader.secret(kube_namespace, "answer") is not None
    with pytest.raises(KubeError, match="403"):
        reader.secret("default", "answer")
    kube_cluster.revoke(role, kube_namespace)
    with pytest.raises(KubeError, match="403"):
        reader.secret(kube_namespace, "answer")


def test_a_custom_resource_is_served_once_installed(kube_cluster: KubeCluster, kube_namespace: str) -> None:
    names = {"kind": "Answer", "plural": "answers"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "answers.test.invalid"},
        "spec": {"group": "test.invalid", "names": names, "scope": "Namespaced", "versions": [version]},
    }
    kube_cluster.install(definition)
    metadata = {"name": "first", "namespace": kube_namespace}
    kube_cluster.admin.apply({"apiVersion": "test.invalid/v1", "kind": "Answer", "metadata": metadata})
    assert kube_cluster.admin.get("test.invalid/v1", "Answer", "first", kube_namespace) is not None


def test_secrets_outlive_a_restart_of_the_api_server(kube_cluster: KubeCluster, kube_namespace: str) -> None:
    kube_cluster.admin.apply(secret(kube_namespace))
    kube_cluster.stop_apiserver()
    with pytest.raises(OSError, match="refused"):
        kube_cluster.admin.secret(kube_namespace, "answer")
    kube_cluster.start_apiserver()
    assert kube_cluster.admin.secret(kube_namespace, "answer") is not None


def test_a_dump_is_restored_with_its_indexes_and_reads_are_counted(
    mongo_server: MongoServer, database: Database[dict[str, Any]], tmp_path: Path
) -> None:
    index = {"key": {"namespace": 1, "installation": 1}, "name": "by_name", "unique": False}
    mongodump.write(tmp_path, "runs", runs(installations=4), index)
    mongo_server.load_dump(tmp_path, database.name)
    mongo_server.counters(database.name, reset=True)

    assert len(list(database.runs.find({"namespace": "shop", "installation": "i2"}))) == 3
    assert len(list(database.runs.find({"_id": {"$in": ["0-1", "3-2", "none"]}}, {"bundle": 0}))) == 2
    counted = mongo_server.counters(database.name)
    assert counted.commands == {"find": 2}
    assert counted.requests == {"runs": 2}
    assert counted.documents == {"runs": 5}
    assert counted.returned("runs", "bundle") == 3
    assert "by_name" in database.runs.index_information()


def test_an_index_answers_what_a_scan_answers(database: Database[dict[str, Any]]) -> None:
    scanned, indexed = database["scanned"], database["indexed"]
    indexed.create_index([("namespace", 1), ("installation", 1)])
    for collection in (scanned, indexed):
        collection.insert_many(runs(installations=12))
        collection.delete_one({"_id": "7-0"})
        collection.update_one({"_id": "8-1"}, {"$set": {"installation": "i9"}})
    queries: list[dict[str, Any]] = [
        {"namespace": "shop", "installation": "i9"},
        {"namespace": "shop", "installation": {"$in": ["i7", "i8", None]}},
        {"namespace": {"$eq": "shop"}, "installation": {"$gt": "i3", "$lte": "i8"}},
        {"$or": [{"namespace": "shop", "installation": "i1"}, {"namespace": "none"}]},
        {"namespace": "shop", "bundle": None},
        {"_id": {"$gte": "7-0"}},
    ]
    for query in queries:
        assert list(indexed.find(query).sort("_id", -1)) == list(scanned.find(query).sort("_id", -1)), query


def test_large_answers_come_in_batches(mongo_server: MongoServer, database: Database[dict[str, Any]]) -> None:
    bundle = "x" * 300_000
    database.runs.insert_many({"_id": number, "bundle": bundle} for number in range(200))
    mongo_server.counters(database.name, reset=True)
    assert len(list(database.runs.find({}, {"_id": 1}))) == 200
    assert mongo_server.counters(database.name, reset=True).commands == {"find": 1, "getMore": 1}
    assert len(list(database.runs.find({}, batch_size=200))) == 200
    assert mongo_server.counters(database.name, reset=True).commands == {"find": 1, "getMore": 3}
    assert len(list(database.runs.aggregate([{"$match": {"_id": {"$lt": 150}}}]))) == 150
    assert mongo_server.counters(database.name).commands["aggregate"] == 1


def test_the_quickstart_dump_is_restored(
    mongo_server: MongoServer, database: Database[dict[str, Any]]
) -> None:
    if not QUICKSTART.is_dir():
        pytest.skip("examples/quickstart/dump is not there")
    mongo_server.load_dump(QUICKSTART, database.name)
    assert database.installations.find_one({"namespace": "shop", "name": "orders-db"}) is not None
    assert database.outputs.index_information()["resultId_1_name_1"]["unique"] is True


def test_a_change_stream_delivers_an_insert(database: Database[dict[str, Any]]) -> None:
    with database.results.watch() as stream:
        database.results.insert_one({"_id": "r1"})
        assert next(stream)["fullDocument"] == {"_id": "r1"}


def test_a_server_without_change_streams_refuses_them(
    mongo_server: MongoServer, database: Database[dict[str, Any]]
) -> None:
    mongo_server.set_change_streams(enabled=False)
    try:
        with pytest.raises(OperationFailure, match="only supported on replica sets"):
            database.results.watch()
    finally:
        mongo_server.set_change_streams(enabled=True)


def test_a_cursor_breaks_midway_on_request(
    mongo_server: MongoServer, database: Database[dict[str, Any]]
) -> None:
    database.runs.insert_many(runs(installations=4))
    cursor = database.runs.find({}, batch_size=5)
    next(cursor)
    with mongo_server.failing("getMore", code=43), pytest.raises(OperationFailure):
        list(cursor)
    assert len(list(database.runs.find({}, batch_size=5))) == 12


def test_a_server_that_ends_early_is_reported_with_its_log(tmp_path: Path) -> None:
    child = Child.start("broken", [sys.executable, "-c", "import sys; sys.exit('no such port')"], tmp_path)
    with pytest.raises(ServerFailedError, match=r"(?s)broken ended with status 1.*no such port"):
        child.wait_for_line("ready", seconds=20)
    child.stop()


def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    port = free_port()
    server = f"[{sys.executable!r}, '-u', '-m', 'http.server', '--bind', '127.0.0.1', '{port}']"
    parent = f"""
import os, pathlib, urllib.request
from tests.servers.processes import Child
child = Child.start('web', {server}, pathlib.Path({str(tmp_path)!r}))
child.wait_for_line('(Serving)', 20)
print(child.process.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    repository = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-u", "-c", parent], cwd=repository, capture_output=True, check=False
    )
    assert ended.returncode == -9
    deadline = time.monotonic() + 10
    while is_running(pid=int(ended.stdout)):
        assert time.monotonic() < deadline, "it outlived its parent"
