"""Which results, outputs and declarations make up the snapshot of an installation.

Simulates whole databases by hand. Excludes values (test_porter_values), bundles' syntax
(test_porter_bundles) and the installation's own document (test_porter_installations).
"""

from __future__ import annotations

import asyncio
import re

import pytest
from bson import Code, ObjectId
from hypothesis import given
from hypothesis import strategies as st
from porter_world import (
    DB,
    NOW,
    PLAIN,
    SENSITIVE,
    World,
    bundle,
    history,
    load,
    loaded,
    quarantined,
    source,
    ulid,
)

from backends.secret_value import EMPTY_DIGEST
from syncer.core.model import Declaration, Installation


@pytest.fixture
def world() -> World:
    """An installation `shop/db` with one succeeded install."""
    world = World()
    world.installation()
    world.run({"host": b"h"})
    return world


def installation(world: World) -> dict:
    return world.documents["installations"][0]


async def names(world: World) -> list[list[str]]:
    return [sorted(result.outputs) for result in (await history(world)).results]


# --- results ---------------------------------------------------------------------------


async def test_results_come_newest_first_with_run_and_action(world):
    upgrade = world.run({"host": b"h2"}, action="upgrade")
    found = await history(world)
    assert [result.action for result in found.results] == ["upgrade", "install"]
    assert found.results[0].id == upgrade["result"]["_id"]
    assert found.results[0].run_id == upgrade["run"]["_id"]
    assert all(result.modifies for result in found.results)


@pytest.mark.bad_input(24)
@pytest.mark.parametrize(
    "status",
    ["failed", "running", "unknown", "", "Succeeded", "succeeded ", None, 1, ["succeeded"], {"$ne": "x"}],
)
async def test_only_exactly_succeeded_is_succeeded(world, status):
    world.run({"host": b"other"}, action="upgrade")["result"]["status"] = status
    assert [result.action for result in (await loaded(world)).results] == ["install"]


@pytest.mark.bad_input(14)
async def test_a_result_whose_run_is_missing_is_ignored(world):
    upgrade = world.run({"host": b"h2"}, action="upgrade")
    world.documents["runs"].remove(upgrade["run"])
    assert [result.action for result in (await loaded(world)).results] == ["install"]


@pytest.mark.bad_input(14)
async def test_outputs_and_runs_without_an_installation_are_ignored(world):
    world.documents["installations"].clear()
    assert await load(world) is None
    assert await source(world).list() == []


@pytest.mark.bad_input(14)
@pytest.mark.bad_input(15)
@pytest.mark.parametrize(
    "bent", [{"_id": ObjectId()}, {"_id": Code("x")}, {"namespace": "prod"}, {"installation": {"$ne": ""}}]
)
async def test_a_result_whose_run_is_another_installations_is_ignored(world, bent):
    world.run({"host": b"h2"}, action="upgrade")["run"].update(bent)
    assert [result.action for result in (await loaded(world)).results] == ["install"]


async def test_results_of_a_former_life_of_the_name_do_not_count(world):
    installation(world)["id"] = world.new_id()
    assert (await loaded(world)).results == ()
    assert (await loaded(world)).declared == {}


async def test_an_older_result_that_the_status_names_belongs_to_this_life(world):
    installation(world)["id"] = world.new_id()
    installation(world)["status"]["resultId"] = world.documents["results"][0]["_id"]
    assert len((await loaded(world)).results) == 1


@pytest.mark.bad_input(25)
@pytest.mark.parametrize(
    "bad",
    [
        "not-a-ulid",
        "01m85e6n1vwe5ygbmf3xzejtwq",
        "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "01M85E6N1VWE5YGBMF3XZEJTWI",
        7,
        None,
    ],
)
async def test_a_result_whose_age_cannot_be_told_holds_the_installation(world, bad):
    world.run({"host": b"h2"}, action="upgrade")["result"]["_id"] = bad
    assert "results document" in await quarantined(world)


@pytest.mark.bad_input(25)
async def test_a_result_of_the_far_future_holds_the_installation(world):
    world.run({"host": b"h2"}, action="upgrade")["result"]["_id"] = ulid(1, seconds=NOW + 10 * 366 * 86_400)
    assert "far future" in await quarantined(world)


@pytest.mark.bad_input(25)
async def test_an_installation_of_the_far_future_is_held(world):
    installation(world)["id"] = ulid(1, seconds=NOW + 10 * 366 * 86_400)
    assert "far future" in await quarantined(world)


async def test_a_clock_an_hour_ahead_does_no_harm(world):
    world.run({"host": b"h2"}, action="upgrade")["result"]["_id"] = ulid(1, seconds=NOW + 3600)
    assert (await loaded(world)).results[0].action == "upgrade"


@pytest.mark.bad_input(36)
@pytest.mark.parametrize("run_id", [None, 7, Code("x"), {"$ne": ""}, ["x"]])
async def test_a_result_that_names_no_run_holds_the_installation(world, run_id):
    world.run({}, action="upgrade")["result"]["runId"] = run_id
    assert "runId" in await quarantined(world)


@pytest.mark.bad_input(36)
@pytest.mark.parametrize("bent", [{"action": {"$ne": ""}}, {"action": None}, {"action": Code("x")}])
async def test_a_run_without_an_action_holds_the_installation(world, bent):
    world.documents["runs"][0].update(bent)
    assert "runs document" in await quarantined(world)


# --- how far back -----------------------------------------------------------------------------


async def test_results_older_than_one_with_everything_declared_are_not_read(world):
    newest = world.run({"host": b"h2"}, action="upgrade")
    assert [result.id for result in (await loaded(world)).results] == [newest["result"]["_id"]]


async def test_older_results_are_read_for_what_the_newest_lacks(world):
    world.run({}, action="upgrade", declares=bundle(host=PLAIN))
    assert [result.action for result in (await loaded(world)).results] == ["upgrade", "install"]


async def test_older_results_are_read_if_the_newest_does_not_modify(world):
    world.run({"host": b"h2"}, action="ping", declares=bundle(host=PLAIN))
    assert [result.action for result in (await loaded(world)).results] == ["ping", "install"]


async def test_nothing_older_than_an_uninstall_is_read(world):
    world.run({}, action="uninstall", declares=bundle(host=PLAIN))
    assert [result.action for result in (await loaded(world)).results] == ["uninstall"]
    assert len((await history(world)).results) == 2


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["install", "upgrade", "rotate", "ping", "uninstall"]),
            st.sets(st.sampled_from("abc")),
            st.sets(st.sampled_from("abc")),
            st.sampled_from(["recorded", "unrecorded", "failed"]),
        ),
        max_size=5,
    )
)
def test_whatever_happened_what_can_be_selected_is_the_same_as_from_all_results(runs):
    world = World()
    world.installation()
    for action, outputs, declared, kind in runs:
        values = {name: name.encode() for name in outputs}
        status = "failed" if kind == "failed" else "succeeded"
        declares = bundle(**dict.fromkeys(sorted(declared), PLAIN))
        run = world.run(values, action=action, status=status, declares=declares)
        if kind == "unrecorded":
            run["result"]["outputs"] = None
    some, everything = asyncio.run(loaded(world)), asyncio.run(history(world))
    assert some.declared == everything.declared
    assert some.results == everything.results[: len(some.results)]
    assert selectable(some) == selectable(everything)


def selectable(installation: Installation) -> dict[str, str]:
    """The result each declared output would be taken from."""
    found: dict[str, str] = {}
    for result in installation.results:
        for name in result.outputs.keys() & installation.declared.keys():
            found.setdefault(name, result.id)
        if result.action == "uninstall":
            break
    return found


async def test_a_result_that_vanishes_while_it_is_read_holds_the_installation(world):
    def remove(query):
        if "outputs" in query.fields:
            world.documents["results"].clear()

    world.before_query = remove
    assert "was removed" in await quarantined(world)


async def test_the_history_of_what_does_not_exist_is_none():
    assert await source(World()).history(DB) is None


# --- outputs of results -------------------------------------------------------------------


async def test_an_output_listed_without_a_digest_is_the_empty_one(world):
    world.run({"host": b""}, action="upgrade")
    assert (await loaded(world)).results[0].outputs == {"host": EMPTY_DIGEST}


@pytest.mark.parametrize(
    "digest",
    [
        "sha512:" + "0" * 128,
        "sha256:" + "0" * 63,
        "sha256:" + "A" * 64,
        "0" * 64,
        "",
        7,
        "sha256:" + "0" * 64 + "\n",
    ],
)
async def test_a_digest_of_another_form_holds_the_installation(world, digest):
    world.documents["results"][0]["outputs"]["host"]["contentDigest"] = digest
    assert re.search("digest of output 'host'", await quarantined(world))


async def test_two_bad_digests_do_not_make_two_good_ones(world):
    good = "sha256:" + "0" * 64
    outputs = {"a": {"contentDigest": good + "sha256:"}, "b": {"contentDigest": "0" * 64}}
    world.documents["results"][0]["outputs"] = outputs
    assert "digest of output 'a'" in await quarantined(world)


@pytest.mark.parametrize(
    "outputs", [["host"], "host", 7, True, {"host": None}, {"host": "x"}, {"host": ["x"]}]
)
async def test_a_list_of_outputs_of_another_form_holds_the_installation(world, outputs):
    world.documents["results"][0]["outputs"] = outputs
    assert "list of outputs" in await quarantined(world)


@pytest.mark.parametrize("outputs", [None, {}])
async def test_a_migrated_result_without_a_list_has_the_outputs_that_are_stored(world, outputs):
    world.documents["results"][0]["outputs"] = outputs
    assert (await loaded(world)).results[0].outputs == {"host": None}
    assert all("value" not in query.fields for query in world.queries)


@pytest.mark.bad_input(36)
@pytest.mark.parametrize("name", [{"$ne": ""}, None, 7, "", Code("x")])
async def test_of_a_migrated_result_only_outputs_with_a_name_are_listed(world, name):
    world.documents["results"][0]["outputs"] = None
    world.documents["outputs"].append({**world.documents["outputs"][0], "name": name})
    assert (await loaded(world)).results[0].outputs == {"host": None}


@pytest.mark.bad_input(16)
async def test_internal_outputs_and_logs_are_left_out():
    world = World()
    world.installation()
    state = {"type": "string", "$comment": "porter-internal"}
    logs = "io.cnab.outputs.invocationImageLogs"
    declares = bundle(**{"host": PLAIN, "porter-state": state, logs: PLAIN})
    world.run({"host": b"h", "porter-state": b"s", logs: b"l"}, declares=declares)
    found = await loaded(world)
    assert list(found.results[0].outputs) == ["host"]
    assert list(found.declared) == ["host"]


@pytest.mark.bad_input(16)
async def test_logs_that_no_bundle_declares_are_left_out(world):
    logs = "io.cnab.outputs.invocationImageLogs"
    world.run({"host": b"h", logs: b"l"}, action="upgrade", declares=bundle(host=PLAIN))
    assert await names(world) == [["host"], ["host"]]


@pytest.mark.bad_input(17)
@pytest.mark.parametrize(
    "name",
    [
        ".",
        "..",
        "__proto__",
        "x" * 300,
        "😀",
        "\u202egnp.exe",
        "a/b",
        "-x",
        "with space",
        "naïve",
        "a.b",
        "$x",
    ],
)
async def test_odd_names_pass_through_unchanged(name):
    world = World()
    world.installation()
    world.run({name: b"v"})
    assert await names(world) == [[name]]


@pytest.mark.bad_input(17)
@pytest.mark.parametrize("name", ["", "x" * 2000, "\ud800"])
async def test_names_that_are_none_hold_the_installation(world, name):
    world.documents["results"][0]["outputs"][name] = {"contentDigest": "sha256:" + "0" * 64}
    assert "list of outputs" in await quarantined(world)


@pytest.mark.bad_input(18)
async def test_names_that_only_look_alike_stay_apart():
    world = World()
    world.installation()
    world.run({"A_b": b"1", "a-b": b"2", "n\u00e4": b"3", "na\u0308": b"4"})
    assert len((await names(world))[0]) == 4


@pytest.mark.bad_input(10)
async def test_more_outputs_than_anybody_has_hold_the_installation(world):
    entry = {"contentDigest": "sha256:" + "0" * 64}
    world.documents["results"][0]["outputs"] = {f"o{number}": entry for number in range(10_001)}
    assert "more than 10000" in await quarantined(world)


@pytest.mark.bad_input(29)
@pytest.mark.bad_input(37)
async def test_unknown_fields_are_ignored_whatever_their_names(world):
    extra = {"future": {"$where": "x"}, "a.b": 1, "$set": {"x": 1}, "custom": None}
    for documents in world.documents.values():
        for document in documents:
            document.update(extra)
    assert await names(world) == [["host"]]


# --- what is declared -----------------------------------------------------------------------


async def test_the_newest_run_that_modifies_declares(world):
    world.run({}, action="upgrade", declares=bundle(url=PLAIN, password=SENSITIVE))
    world.run({}, action="ping", declares=bundle(other=PLAIN))
    found = await loaded(world)
    assert found.declared == {
        "url": Declaration(sensitive=False, type="string"),
        "password": Declaration(sensitive=True, type="string"),
    }
    assert [result.modifies for result in found.results] == [False, True, True]


async def test_a_custom_action_declares_if_its_bundle_says_that_it_modifies(world):
    world.run({}, action="rotate", declares=bundle(rotated=PLAIN))
    found = await loaded(world)
    assert list(found.declared) == ["rotated"]
    assert [result.modifies for result in found.results] == [True, True]


async def test_a_run_that_failed_declares_nothing(world):
    world.run({}, action="upgrade", status="failed", declares=bundle(other=PLAIN))
    assert list((await loaded(world)).declared) == ["host"]


@pytest.mark.bad_input(20)
async def test_sensitivity_is_that_of_the_newest_bundle(world):
    world.run({"host": b"h"}, action="upgrade", declares=bundle(host=SENSITIVE))
    assert (await loaded(world)).declared["host"].sensitive
    world.run({"host": b"h"}, action="upgrade", declares=bundle(host=PLAIN))
    assert not (await loaded(world)).declared["host"].sensitive


@pytest.mark.bad_input(22)
@pytest.mark.bad_input(23)
@pytest.mark.parametrize("text", ["no json", "null", "[]", '{"outputs": null}', None, 7, {"outputs": {}}])
async def test_a_bundle_that_cannot_be_read_holds_the_installation(world, text):
    upgrade = world.run({}, action="upgrade")
    upgrade["run"]["bundle"] = text
    reason = await quarantined(world)
    assert reason.startswith(f"runs document {upgrade['run']['_id']!r}: the bundle")


async def test_a_bundle_nobody_needs_may_be_anything(world):
    world.documents["runs"][0]["bundle"] = "no json"
    world.run({"host": b"h2"}, action="upgrade")
    assert list((await history(world)).declared) == ["host"]
