"""What commands and API are told of the source: our selection, one run's outputs, or why there are none.

Documents are made by hand, as Porter writes them. Excludes rights, and how answers look.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.secret_value import SecretValue
from syncer.core.errors import NoSuchInstallation, NoSuchRun, NothingToRead, SourceRefused
from syncer.core.model import Found, InstallationKey
from syncer.core.rows import InstallationFilter, RunPage, SelectedOutputs
from syncer.reading import Reader
from syncer.sources.porter.dump import DumpStore
from syncer.sources.porter.source import PorterSource
from tests.unit.sources.porter_world import DB, NOW, PLAIN, SENSITIVE, Secrets, World, bundle, source

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"
OTHER = InstallationKey("prod", "db")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def reader(world) -> Reader:
    return Reader(source(world))


def origins(selected: SelectedOutputs) -> dict[str, str]:
    """Output to the run it comes from."""
    return {name: output.ref.run_id for name, output in selected.outputs.items()}


# --- latest --------------------------------------------------------------------------------


async def test_latest_are_the_newest_successful_outputs_and_what_they_carry_over(world, reader):
    world.installation(installed="2026-11-24T00:10:00Z")
    declares = bundle(host=PLAIN, port={"type": "integer"}, password=SENSITIVE)
    first = world.run({"host": b"1", "port": b"1"}, declares=declares)
    second = world.run({"host": b"2", "password": b"p"}, action="upgrade", declares=declares)
    world.run({"host": b"3"}, action="upgrade", status="failed", declares=declares)
    selected = await reader.selected(DB)
    runs = {"first": first["run"]["_id"], "second": second["run"]["_id"]}
    assert selected.run_id == runs["second"]
    assert origins(selected) == {"host": runs["second"], "password": runs["second"], "port": runs["first"]}
    kinds = {name: (one.sensitive, one.type) for name, one in selected.outputs.items()}
    assert kinds == {"host": (False, "string"), "password": (True, "string"), "port": (False, "integer")}


@pytest.mark.parametrize("status", [None, "failed", "running"])
async def test_before_anything_has_succeeded_there_are_no_outputs(world, reader, status):
    world.installation()
    if status is not None:
        world.run({"host": b"1"}, status=status)
    assert await reader.selected(DB) == SelectedOutputs(run_id="", outputs={})


async def test_what_was_uninstalled_has_no_outputs(world, reader):
    world.installation(installed="2026-11-24T00:10:00Z", uninstalled="2026-11-24T00:11:00Z")
    world.run({"host": b"1"})
    assert await reader.selected(DB) == SelectedOutputs(run_id="", outputs={})


@pytest.mark.parametrize("run", [None, "01GONE"])
async def test_what_is_not_there_has_neither_outputs_nor_runs(reader, run):
    with pytest.raises(NoSuchInstallation):
        await reader.selected(DB, run)
    with pytest.raises(NoSuchInstallation):
        await reader.runs(DB, size=9, beyond=None)
    with pytest.raises(NoSuchInstallation):
        await reader.as_porter(DB, sensitive=True)


@pytest.mark.parametrize("run", [None, "01ANY"])
async def test_of_documents_that_cannot_be_trusted_nothing_is_said_but_why(world, reader, run):
    world.installation()["id"] = 7
    world.run({"host": b"1"})
    with pytest.raises(NothingToRead, match="no ULID") as caught:
        await reader.selected(DB, run)
    assert not isinstance(caught.value, NoSuchInstallation | NoSuchRun)


async def test_an_uninstall_that_the_status_does_not_know_of_withholds_everything(world, reader):
    world.installation(installed="2026-11-24T00:10:00Z")
    world.run({"host": b"1"})
    world.run(action="uninstall")
    with pytest.raises(NothingToRead, match="uninstall"):
        await reader.selected(DB)


# --- one run -------------------------------------------------------------------------------


async def test_a_run_has_what_it_produced_and_nothing_that_others_did(world, reader):
    world.installation()
    declares = bundle(host=PLAIN, password=SENSITIVE)
    first = world.run({"host": b"1", "password": b"p"}, declares=declares)["run"]["_id"]
    second = world.run({"host": b"2"}, action="upgrade", declares=declares)["run"]["_id"]
    assert origins(await reader.selected(DB, second)) == {"host": second}
    older = await reader.selected(DB, first)
    assert (older.run_id, origins(older)) == (first, {"host": first, "password": first})
    assert {name: one.sensitive for name, one in older.outputs.items()} == {"host": False, "password": True}
    states = await reader.values([one.ref for one in older.outputs.values()])
    assert {ref.name: state for ref, state in states.items()} == {
        "host": Found(SecretValue(b"1")),
        "password": Found(SecretValue(b"p")),
    }


async def test_what_the_newest_bundle_does_not_declare_counts_as_sensitive(world, reader):
    world.installation()
    first = world.run({"host": b"1", "gone": b"2"})["run"]["_id"]
    world.run({"host": b"3"}, action="upgrade")
    outputs = (await reader.selected(DB, first)).outputs
    assert {name: one.sensitive for name, one in outputs.items()} == {"host": False, "gone": True}


async def test_a_run_of_another_installation_is_none(world, reader):
    world.installation()
    world.installation(OTHER)
    world.run({"host": b"1"})
    others = world.run({"host": b"2"}, key=OTHER)["run"]["_id"]
    assert origins(await reader.selected(OTHER, others)) == {"host": others}
    with pytest.raises(NoSuchRun):
        await reader.selected(DB, others)


async def test_a_run_of_an_earlier_life_is_none(world, reader):
    earlier = world.run({"host": b"1"})["run"]["_id"]
    world.installation()
    world.run({"host": b"2"})
    with pytest.raises(NoSuchRun):
        await reader.selected(DB, earlier)


@pytest.mark.parametrize("status", ["failed", "running", "canceled"])
async def test_a_run_that_did_not_succeed_is_none(world, reader, status):
    world.installation()
    world.run({"host": b"1"})
    run = world.run({"host": b"2"}, action="upgrade", status=status)["run"]["_id"]
    with pytest.raises(NoSuchRun, match=run):
        await reader.selected(DB, run)


@pytest.mark.parametrize("run", ["latest", "", ".*", "$ne", "\0", "x" * 100_000])
async def test_a_run_that_nobody_ever_made_is_none(world, reader, run):
    world.installation()
    world.run({"host": b"1"})
    with pytest.raises(NoSuchRun):
        await reader.selected(DB, run)


async def test_a_selection_reads_no_value(world, reader):
    world.installation()
    run = world.run({"host": b"1"})["run"]["_id"]
    await reader.selected(DB)
    await reader.selected(DB, run)
    assert not any("value" in query.fields for query in world.queries)


# --- lists ---------------------------------------------------------------------------------


async def test_an_installation_that_never_ran_has_no_runs(world, reader):
    world.installation()
    assert await reader.runs(DB, size=9, beyond=None) == RunPage(rows=[], more=False)


async def test_a_run_knows_its_owner(world, reader):
    world.installation()
    run = world.run()["run"]["_id"]
    assert await reader.owner(run) == DB
    with pytest.raises(SourceRefused, match="no run"):
        await reader.owner("01GONE")


async def test_both_lists_of_installations_are_of_the_same_rows():
    async with PorterSource(DumpStore(QUICKSTART / "dump"), Secrets(), clock=lambda: NOW) as porter:
        reader = Reader(porter)
        every = await reader.every_installation(InstallationFilter())
        page = await reader.installations(InstallationFilter(), size=100, beyond=None)
    assert len(every) == 8
    assert page.next is None
    assert list(page.rows) == sorted(every, key=lambda row: (row.namespace, row.name))


# --- as Porter -----------------------------------------------------------------------------


async def test_porters_outputs_are_the_newest_whatever_became_of_their_run(world, reader):
    world.installation()
    declares = bundle(host=PLAIN, password=SENSITIVE)
    world.run({"host": b"1", "password": b"p"}, declares=declares)
    world.run({"host": b"2"}, action="upgrade", status="failed", declares=declares)
    rows = await reader.as_porter(DB, sensitive=True)
    assert [(row.name, row.sensitive, row.value) for row in rows] == [
        ("host", False, SecretValue(b"2")),
        ("password", True, SecretValue(b"p")),
    ]


async def test_without_sensitive_ones_their_values_are_not_even_asked_for(world):
    secrets = Secrets({})
    world.installation()
    written = world.run({"host": b"1", "password": b"p"}, declares=bundle(host=PLAIN, password=SENSITIVE))
    written["password"].update(value=None, key=f"{written['run']['_id']}-password")
    reader = Reader(source(world, secrets))
    rows = await reader.as_porter(DB, sensitive=False)
    assert [(row.name, row.sensitive, row.value) for row in rows] == [
        ("host", False, SecretValue(b"1")),
        ("password", True, None),
    ]
    assert secrets.asked == []
    with pytest.raises(NothingToRead, match="password"):
        await reader.as_porter(DB, sensitive=True)


async def test_a_hidden_output_is_read_with_the_sensitive_ones_only(world):
    secrets = Secrets({})
    world.installation()
    written = world.run({"host": b"1", "hidden": b"s"}, declares=bundle(host=PLAIN))
    written["hidden"].update(value=None, key=f"{written['run']['_id']}-hidden")
    reader = Reader(source(world, secrets))
    assert [row.name for row in await reader.as_porter(DB, sensitive=False)] == ["host"]
    assert secrets.asked == []
    with pytest.raises(NothingToRead, match="hidden"):
        await reader.as_porter(DB, sensitive=True)


async def test_where_porter_fails_there_is_a_reason(world, reader):
    world.installation()
    with pytest.raises(NothingToRead, match="no run"):
        await reader.as_porter(DB, sensitive=True)
