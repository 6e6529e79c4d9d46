"""What `Porter` writes is read as what a real Porter wrote, whole and half-way.

Simulates the histories of the quickstart dump, written anew, and Porter stopped between its steps. Excludes
what becomes of outputs in sinks.
"""

from __future__ import annotations

import random
from pathlib import Path

import bson
import pytest
from pymongo import MongoClient

from syncer.core.model import (
    Found,
    Installation,
    InstallationKey,
    InstallationState,
    Missing,
    OutputRef,
    OutputState,
    Unresolved,
)
from syncer.core.ulid import is_ulid, ulid_seconds
from syncer.sources.porter.dump import DumpStore
from syncer.sources.porter.mongodb import MongoStore
from syncer.sources.porter.secrets.filesystem import FilesystemSecrets
from syncer.sources.porter.source import PorterSource
from tests.servers.porter import LOGS, Porter

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"
ORDERS, STOREFRONT, NEVER = (
    InstallationKey("shop", "orders-db"),
    InstallationKey("shop", "storefront"),
    InstallationKey("staging", "never-worked"),
)
DB = InstallationKey("shop", "db")
OUTPUTS = {"host": b"db.internal", "empty": b"", "password": b"s3cret"}
SENSITIVE = ("password",)


@pytest.fixture
def database(mongo_url):
    with MongoClient(mongo_url) as client:
        yield client.get_default_database()


@pytest.fixture
def porter(database, tmp_path) -> Porter:
    return Porter(database=database, secrets=tmp_path / "secrets", random=random.Random(1))


@pytest.fixture
async def source(mongo_url, tmp_path):
    async with PorterSource(MongoStore(mongo_url), FilesystemSecrets(tmp_path / "secrets")) as source:
        yield source


def documents(collection: str) -> list[dict]:
    return bson.decode_all((QUICKSTART / "dump" / f"{collection}.bson").read_bytes())


async def read(
    source: PorterSource, key: InstallationKey = DB
) -> tuple[Installation, dict[str, OutputState]]:
    """The whole history, and what the newest result's outputs are."""
    found = await source.history(key)
    assert isinstance(found, Installation), found
    newest = found.results[0]
    refs = {
        name: OutputRef(key, newest.run_id, newest.id, name, digest)
        for name, digest in newest.outputs.items()
    }
    states = await source.values(refs.values())
    return found, {name: states[ref] for name, ref in refs.items()}


async def told(source: PorterSource, key: InstallationKey) -> tuple:
    """What is read of an installation, but for ids and the types of outputs."""
    found = await source.history(key)
    assert isinstance(found, Installation), found
    refs = [
        OutputRef(key, result.run_id, result.id, name, digest)
        for result in found.results
        for name, digest in sorted(result.outputs.items())
    ]
    states = await source.values(refs)
    return (
        found.state,
        found.labels,
        found.last_run_failed,
        [(result.action, result.modifies, result.outputs) for result in found.results],
        {name: declared.sensitive for name, declared in found.declared.items()},
        [states[ref] for ref in refs],
    )


async def replay(real: PorterSource, porter: Porter, key: InstallationKey) -> None:
    """Do to an installation what was done to the real one."""
    found = await real.history(key)
    assert isinstance(found, Installation)
    results = {result.run_id: result for result in found.results}
    labels = next(one for one in documents("installations") if one["name"] == key.name).get("labels", {})
    for run in sorted(documents("runs"), key=lambda one: one["_id"]):
        if (run["namespace"], run["installation"]) != (key.namespace, key.name):
            continue
        options: dict = {"status": "failed", "labels": labels}
        outputs = {}
        if result := results.get(run["_id"]):
            refs = [OutputRef(key, result.run_id, result.id, *one) for one in result.outputs.items()]
            states = await real.values(refs)
            outputs = {
                ref.name: state.value.reveal() for ref, state in states.items() if isinstance(state, Found)
            }
            sensitive = [name for name, declared in found.declared.items() if declared.sensitive]
            options |= {"status": "succeeded", "sensitive": sensitive, "declared": found.declared}
        match run["action"]:
            case "install" | "upgrade" | "uninstall" as action:
                getattr(porter, action)(key.namespace, key.name, outputs, **options).finish()
            case action:
                porter.invoke(key.namespace, key.name, action, outputs, **options).finish()


@pytest.mark.parametrize("key", [ORDERS, STOREFRONT, NEVER], ids=str)
async def test_a_real_history_that_is_written_anew_is_read_as_the_real_one(source, porter, key):
    real = PorterSource(DumpStore(QUICKSTART / "dump"), FilesystemSecrets(QUICKSTART / "secrets"))
    await replay(real, porter, key)
    assert await told(source, key) == await told(real, key)


def test_documents_have_the_fields_of_real_ones(database, porter):
    porter.install("shop", "db", OUTPUTS, sensitive=SENSITIVE, labels={"team": "db"}).finish()
    porter.upgrade("shop", "db", status="failed").finish()
    for collection in ("config", "installations", "runs", "results", "outputs"):
        real = documents(collection)
        fields = {(name, type(value)) for one in real for name, value in one.items()}
        for written in database[collection].find():
            assert {(name, type(value)) for name, value in written.items()} <= fields, collection
            assert set.intersection(*map(set, real)) - set(written) <= {
                "parameters",
                "parameterOverrides",
                "parametersDigest",
                "credentials",
            }, collection
    (status,) = (one["status"] for one in database["installations"].find())
    assert set(status) == set(documents("installations")[0]["status"])


def test_the_steps_are_porters_and_outputs_come_in_any_order(porter):
    seen = set()
    for number in range(20):
        steps = list(porter.install("shop", f"db{number}", OUTPUTS, sensitive=SENSITIVE))
        assert steps[:5] == ["installation", "run", "running", "result", "status"]
        saved = steps[5:]
        assert sorted(saved) == [
            "output empty",
            "output host",
            f"output {LOGS}",
            "output password",
            "secret password",
        ]
        assert saved.index("secret password") == saved.index("output password") - 1
        seen.add(tuple(saved))
    assert len(seen) > 3


async def test_a_result_is_visible_before_its_outputs(source, porter):
    steps = porter.install("shop", "db", OUTPUTS, sensitive=SENSITIVE).until("result")
    found, states = await read(source)
    assert (found.results[0].id, found.state) == (steps.result_id, InstallationState.DEFINED)
    assert set(states) == set(OUTPUTS)
    assert all(isinstance(state, Missing) for state in states.values())
    steps.until("output password")
    _, states = await read(source)
    assert isinstance(states["password"], Found)
    steps.finish()
    found, states = await read(source)
    assert found.state is InstallationState.INSTALLED
    assert {
        name: state.value.reveal() for name, state in states.items() if isinstance(state, Found)
    } == OUTPUTS
    assert {name for name, declared in found.declared.items() if declared.sensitive} == {"password"}


async def test_what_goes_wrong_with_single_outputs(source, porter):
    outputs = {**OUTPUTS, "token": b"t", "url": b"u"}
    porter.install(
        "shop",
        "db",
        outputs,
        sensitive=["password", "token"],
        missing=["host"],
        dangling=["token"],
        lost=["url"],
    ).finish()
    _, states = await read(source)
    assert isinstance(states["password"], Found)
    assert isinstance(states["host"], Missing)
    assert isinstance(states["token"], Unresolved)
    assert isinstance(states["url"], Unresolved)


@pytest.mark.parametrize("status", ["failed", "canceled"])
async def test_a_run_that_did_not_succeed_changes_nothing_that_is_selected(source, porter, status):
    porter.install("shop", "db", OUTPUTS, sensitive=SENSITIVE).finish()
    before, _ = await read(source)
    porter.upgrade("shop", "db", {"host": b"other"}, status=status).finish()
    after, _ = await read(source)
    assert after.results == before.results
    assert after.last_run_failed is (status == "failed")


async def test_an_action_that_does_not_modify_leaves_the_status_and_one_that_does_sets_it(source, porter):
    porter.install("shop", "db", OUTPUTS).finish()
    porter.invoke("shop", "db", "ping", {"pong": b"1"}).finish()
    found, _ = await read(source)
    assert [result.action for result in found.results] == ["ping", "install"]
    assert "pong" not in found.declared
    porter.invoke("shop", "db", "rotate", {"host": b"2"}, modifies=True).finish()
    found, _ = await read(source)
    assert found.results[0].modifies
    assert set(found.declared) == {"host"}


async def test_an_uninstall_keeps_the_record_and_a_delete_takes_it_in_four_steps(source, porter, database):
    porter.install("shop", "db", OUTPUTS, sensitive=SENSITIVE).finish()
    porter.uninstall("shop", "db").finish()
    found, _ = await read(source)
    assert found.state is InstallationState.UNINSTALLED
    steps = porter.delete("shop", "db")
    assert next(steps) == "installations"
    assert await source.list() == []
    assert database["results"].count_documents({}) == 4
    assert list(steps) == ["runs", "results", "outputs"]
    assert database["outputs"].count_documents({}) == 0
    assert [path.read_bytes() for path in porter.secrets.iterdir()] == [b"s3cret"]


async def test_a_new_life_has_another_id_and_a_run_of_the_old_one_leaves_orphans(source, porter):
    porter.install("shop", "db", OUTPUTS).finish()
    late = porter.upgrade("shop", "db", {"host": b"late"}).until("running")
    (old,) = await source.list()
    porter.delete("shop", "db").finish()
    late.finish()
    assert await source.list() == []
    porter.install("shop", "db", OUTPUTS).finish()
    (new,) = await source.list()
    assert new.id != old.id
    found, _ = await read(source)
    assert [result.action for result in found.results] == ["install"]


async def test_the_status_of_two_runs_at_once_is_the_last_writers_and_labels_go_back(source, porter):
    porter.install("shop", "db", {"host": b"0"}, labels={"team": "a"}).finish()
    first = porter.upgrade("shop", "db", {"host": b"1"}).until("running")
    porter.relabel("shop", "db", {"team": "b"})
    second = porter.upgrade("shop", "db", {"host": b"2"}).until("result")
    first.finish()
    found, _ = await read(source)
    assert found.labels == {"team": "a"}
    second.finish()
    found, _ = await read(source)
    assert found.labels == {"team": "b"}
    assert [result.id for result in found.results[:2]] == [first.result_id, second.result_id]


def test_ids_are_ulids_by_the_clock_of_the_machine(database, tmp_path):
    porter = Porter(database=database, secrets=tmp_path, clock=lambda: 1_795_000_000.125)
    ids = [porter.ulid() for _ in range(100)]
    assert all(map(is_ulid, ids))
    assert ids == sorted(set(ids))
    assert ulid_seconds(ids[0]) == 1_795_000_000.125
    assert porter.moment() == "2026-11-18T11:06:40.125Z"


def test_a_step_that_never_comes_is_an_error(porter):
    with pytest.raises(LookupError, match="output host"):
        porter.install("shop", "db").until("output host")
    with pytest.raises(LookupError, match="no installation shop/other"):
        porter.upgrade("shop", "other").finish()
