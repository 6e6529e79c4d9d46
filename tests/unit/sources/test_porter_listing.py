"""What `--porter-semantics` prints equals what Porter printed, byte for byte.

Compares with tests/fixtures/porter-cli over the real dump; rarer shapes are made by hand after
Porter's source. Excludes tables, and our own selection of outputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from porter_world import DB, PLAIN, SENSITIVE, Secrets, World, bundle

from backends.secret_value import SecretValue
from syncer.core.errors import NoSuchRun, SourceRefused
from syncer.core.model import InstallationKey
from syncer.core.rows import InstallationFilter, OutputRow, RunRow
from syncer.sources.porter.compat import installations_json, outputs_json, runs_json
from syncer.sources.porter.dump import DumpStore
from syncer.sources.porter.listing import (
    list_installations,
    list_outputs,
    list_run_outputs,
    list_runs,
    page_installations,
    page_runs,
)
from syncer.sources.porter.secrets.filesystem import FilesystemSecrets

ROOT = Path(__file__).parents[3]
QUICKSTART = ROOT / "examples" / "quickstart"
PRINTED = ROOT / "tests" / "fixtures" / "porter-cli"
STORE = DumpStore(QUICKSTART / "dump")


def key_of(path: Path) -> InstallationKey:
    namespace, _, name = path.name.rsplit(".", 2)[0].partition("--")
    return InstallationKey("" if namespace == "_global" else namespace, name)


def printed(kind: str) -> list[Path]:
    return [path for path in sorted(PRINTED.glob(f"*--*.{kind}.json")) if path.stat().st_size]


@pytest.fixture
def store():
    return DumpStore(QUICKSTART / "dump")


@pytest.fixture
def secrets():
    return FilesystemSecrets(QUICKSTART / "secrets")


def test_the_fixtures_are_there():
    assert (len(printed("runs")), len(printed("outputs"))) == (8, 7)


async def test_installations_are_printed_as_porter_does(store):
    rows = await list_installations(store, InstallationFilter())
    assert installations_json(rows) == (PRINTED / "installations.json").read_bytes()


@pytest.mark.parametrize("path", printed("runs"), ids=lambda path: path.name)
async def test_runs_are_printed_as_porter_does(store, path):
    assert runs_json(await list_runs(store, key_of(path))) == path.read_bytes()


@pytest.mark.parametrize("path", printed("outputs"), ids=lambda path: path.name)
async def test_outputs_are_printed_as_porter_does(store, secrets, path):
    assert outputs_json(await list_outputs(store, secrets, key_of(path))) == path.read_bytes()


async def test_one_output_that_does_not_resolve_fails_everything(store, secrets):
    with pytest.raises(SourceRefused, match="not in the store"):
        await list_outputs(store, secrets, InstallationKey("", "odd-names"))


def test_no_rows_are_printed_as_porter_does():
    assert installations_json([]) == b"[]\n"
    assert runs_json([]) == b"null\n"
    assert outputs_json([]) == b"[]\n"


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (InstallationFilter(namespace="prod"), {"api", "in-flight"}),
        (InstallationFilter(namespace=""), {"odd-names"}),
        (InstallationFilter(name="^o"), {"orders-db", "odd-names"}),
        (InstallationFilter(name="db|api"), {"orders-db", "api"}),
        (InstallationFilter(labels={"team": "api"}), {"api"}),
        (InstallationFilter(labels={"team": "orders", "tier": "db"}), {"orders-db"}),
        (InstallationFilter(labels={"team": ""}), set()),
    ],
)
async def test_installations_are_filtered(store, wanted, names):
    assert {row.name for row in await list_installations(store, wanted)} == names


async def test_a_name_that_is_no_regular_expression_is_refused(store):
    with pytest.raises(SourceRefused, match="no regular expression"):
        await list_installations(store, InstallationFilter(name="("))


async def test_every_field_an_installation_can_have_is_printed():
    world = World()
    document = world.installation(
        action="rotate", resultStatus="running", installed="2026-01-01T00:00:00.10+01:00", created="x"
    )
    document.update(
        id="ID",
        schemaVersion="1.0.2",
        uninstalled=True,
        bundle={"repository": "r", "tag": "t", "digest": "d"},
        custom={"b": [1, 2.5, 1e21, 1e-7, True, None, {}], "a": []},
        labels={"b": "<>&\u2028", "a": "1", "c": 7},
        credentialSets=["one", "two"],
        parameterSets=["p"],
    )
    assert installations_json(await list_installations(world, InstallationFilter())).decode() == EVERYTHING


# --- pages of installations ----------------------------------------------------------------

_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=3)
_NAMELESS = st.sampled_from([None, 7, "", ["db"], {"a": "db"}, "x" * 1025, b"db"])
_INSTALLATIONS = st.lists(
    st.tuples(_TEXTS | st.just(""), _TEXTS) | st.tuples(_TEXTS | _NAMELESS, _NAMELESS),
    unique_by=repr,
    max_size=14,
)


def as_dump(folder: Path, keys: Iterable[tuple[Any, Any]], **more: Any) -> DumpStore:
    documents = [
        {"_id": number, "namespace": namespace, "name": name, **more}
        for number, (namespace, name) in enumerate(keys)
    ]
    (folder / "installations.bson").write_bytes(b"".join(map(bson.encode, documents)))
    return DumpStore(folder)


async def walked(store: Any, wanted: InstallationFilter, sizes: Iterable[int]) -> list[tuple[str, str]]:
    """Every page to the end; none but the last may be short, and none may be empty behind the first."""
    found: list[tuple[str, str]] = []
    beyond: InstallationKey | None = None
    for size in sizes:
        page = await page_installations(store, wanted, size=size, beyond=beyond)
        found += [(row.namespace, row.name) for row in page.rows]
        beyond = page.next
        if beyond is None:
            return found
        assert len(page.rows) == size
        assert beyond == InstallationKey(*found[-1])
    raise AssertionError("there was always a next page")


@given(_INSTALLATIONS, st.lists(st.integers(1, 4), min_size=15, max_size=15))
async def test_a_walk_of_any_size_gives_each_installation_once_in_the_order_of_bytes(
    tmp_path_factory, keys, sizes
):
    store = as_dump(tmp_path_factory.mktemp("dump"), keys)
    named = [key for key in keys if all(type(part) is str for part in key) and 0 < len(key[1]) <= 1024]
    expected = sorted(named, key=lambda key: (key[0].encode(), key[1].encode()))
    assert await walked(store, InstallationFilter(), sizes) == expected
    one = [key for key in expected if key[0] == "" and "a" in key[1]]
    assert await walked(store, InstallationFilter(namespace="", text="a"), sizes) == one


async def test_a_crowd_without_names_does_not_hide_those_behind_it(tmp_path):
    nameless = [("shop", number) for number in range(50)]
    store = as_dump(tmp_path, [("a", "first"), *nameless, ("shop", "db"), ("shop", "web")])
    keys = [("a", "first"), ("shop", "db"), ("shop", "web")]
    assert await walked(store, InstallationFilter(), [1] * 4) == keys


class Counting(DumpStore):
    queries = 0

    async def find(self, query):
        self.queries += 1
        return await super().find(query)


@pytest.mark.parametrize(("custom", "queries"), [(False, 11), (True, 41)])
async def test_looking_for_the_few_that_match_takes_few_queries(tmp_path, custom, queries):
    as_dump(tmp_path, [("shop", f"db{number:05}") for number in range(1000)])
    store = Counting(tmp_path)
    wanted = InstallationFilter(text="db00999", custom=custom)
    page = await page_installations(store, wanted, size=1, beyond=None)
    assert [row.name for row in page.rows] == ["db00999"]
    assert store.queries <= queries


async def test_a_page_without_custom_data_reads_none(tmp_path):
    store = as_dump(tmp_path, [("shop", "db")], custom={"a": 1})
    pages = [
        await page_installations(store, InstallationFilter(custom=custom), size=1, beyond=None)
        for custom in (False, True)
    ]
    assert [row.custom for page in pages for row in page.rows] == [None, {"a": 1}]


EVERYTHING = """[
  {
    "schemaType": "Installation",
    "schemaVersion": "1.0.2",
    "id": "ID",
    "name": "db",
    "namespace": "shop",
    "uninstalled": true,
    "bundle": {
      "repository": "r",
      "digest": "d",
      "tag": "t"
    },
    "custom": {
      "a": [],
      "b": [
        1,
        2.5,
        1e+21,
        1e-7,
        true,
        null,
        {}
      ]
    },
    "labels": {
      "a": "1",
      "b": "\\u003c\\u003e\\u0026\\u2028"
    },
    "credentialSets": [
      "one",
      "two"
    ],
    "parameterSets": [
      "p"
    ],
    "status": {
      "runId": "",
      "action": "rotate",
      "resultId": "",
      "resultStatus": "running",
      "created": "0001-01-01T00:00:00Z",
      "modified": "2026-11-24T00:10:00.1Z",
      "installed": "2026-01-01T00:00:00.1+01:00",
      "uninstalled": null,
      "bundleReference": "",
      "bundleVersion": "",
      "bundleDigest": ""
    },
    "_calculated": {
      "resolvedParameters": null,
      "displayInstallationState": "installed",
      "displayInstallationStatus": "running rotate"
    }
  }
]
"""


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\xe2\x82A", r"\ufffd\ufffdA"),
        (b"\xed\xa0\x80", r"\ufffd\ufffd\ufffd"),
        ("\ufffd\u2029\x7f é".encode(), "\ufffd\\u2029\x7f é"),
        (b'"\\\b\f\n\r\t\0\x1f', r"\"\\\b\f\n\r\t\u0000\u001f"),
    ],
)
def test_text_is_escaped_as_go_does(content, text):
    row = OutputRow(name="n", type="t", sensitive=False, value=SecretValue(content))
    assert f'"value": "{text}"'.encode() in outputs_json([row])


def results_at(world: World, *created: str) -> World:
    """One run with a result at each of these times."""
    world.installation()
    run = world.run()
    run["run"].update(created="2026-01-01T00:00:00Z", bundleReference="example/db:v1")
    world.documents["results"].clear()
    for moment in created:
        result = {**run["result"], "_id": world.new_id(), "created": moment, "status": f"at {moment[14:16]}"}
        world.documents["results"].append(result)
    return world


@pytest.mark.parametrize(
    ("results", "started", "stopped", "status"),
    [
        ((), "00", None, ""),
        (("01",), "01", None, "at 01"),
        (("01", "02"), "01", "02", "at 02"),
        (("01", "02", "03"), "00", "03", "at 03"),
    ],
)
async def test_when_a_run_started_and_stopped_is_told_as_porter_does(results, started, stopped, status):
    world = results_at(World(), *(f"2026-01-01T00:{minute}:00Z" for minute in results))
    (row,) = await list_runs(world, DB)
    assert row.started == f"2026-01-01T00:{started}:00Z"
    assert row.stopped == (stopped and f"2026-01-01T00:{stopped}:00Z")
    assert (row.status, row.bundle, row.version) == (status, "example/db:v1", "1.2.3")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
async def test_pages_of_runs_are_the_list_in_pieces_and_each_reads_the_bundles_of_its_own(size):
    world = World()
    for _ in range(5):
        world.run(declares=bundle())
    walked: list[RunRow] = []
    beyond, more = None, True
    while more:
        world.queries.clear()
        page = await page_runs(world, DB, size=size, beyond=beyond)
        read = [query.any_of["_id"] for query in world.queries if "bundle" in query.fields]
        assert [set(one) for one in read] == [{row.id for row in page.rows}]
        walked += page.rows
        beyond, more = walked[-1].id, page.more
    assert walked == await list_runs(world, DB)
    assert len(walked) == 5


async def test_a_page_behind_a_run_that_is_gone_is_refused():
    world = World()
    world.run()
    with pytest.raises(NoSuchRun, match="has no run 01GONE"):
        await page_runs(world, DB, size=1, beyond="01GONE")


async def test_runs_with_a_bundle_that_cannot_be_read_are_listed():
    world = World()
    world.run(declares="no json")
    assert [row.version for row in await list_runs(world, DB)] == [""]


@pytest.fixture
def world():
    """Two runs: an install and a failed upgrade that left `host` behind."""
    world = World()
    world.installation()
    declares = bundle(host=PLAIN, password=SENSITIVE)
    install = world.run({"host": b"1", "password": b"p", "undeclared": b"u"}, declares=declares)
    install["password"].update(value=None, key=f"{install['run']['_id']}-password")
    world.run({"host": b"2"}, action="upgrade", status="failed", declares=declares)
    return world


async def test_outputs_are_the_newest_whatever_their_status(world):
    install = world.documents["runs"][0]["_id"]
    rows = await list_outputs(world, Secrets({f"{install}-password": b"p"}), DB)
    assert [(row.name, row.sensitive, row.value.reveal()) for row in rows] == [
        ("host", False, b"2"),
        ("password", True, b"p"),
    ]


async def test_a_run_has_its_own_outputs(world):
    upgrade = world.documents["runs"][1]["_id"]
    rows = await list_run_outputs(world, Secrets(), upgrade)
    assert [(row.name, row.value.reveal()) for row in rows] == [("host", b"2")]


async def test_a_lost_value_is_printed_as_an_empty_one(world):
    world.documents["outputs"] = [{**world.documents["outputs"][0], "value": None}]
    rows = await list_outputs(world, Secrets(), DB)
    assert [row.value.reveal() for row in rows] == [b""]


async def test_a_key_that_names_another_secret_is_not_asked_for_here_either(world):
    world.documents["outputs"][1]["key"] = "other"
    secrets = Secrets({"other": b"x"})
    with pytest.raises(SourceRefused, match="password"):
        await list_outputs(world, secrets, DB)
    assert secrets.asked == []


@pytest.mark.parametrize("broken", [{"name": 7}, {"runId": None}, {"resultId": ""}])
async def test_an_output_document_that_names_nothing_is_refused(world, broken):
    world.documents["outputs"][-1].update(broken)
    world.documents["outputs"] = world.documents["outputs"][-1:]
    with pytest.raises(SourceRefused, match="without name, run or result"):
        await list_outputs(world, Secrets(), DB)


async def test_outputs_of_what_never_ran_are_refused():
    with pytest.raises(SourceRefused, match="no run"):
        await list_outputs(World(), Secrets(), DB)
    with pytest.raises(SourceRefused, match="no run"):
        await list_run_outputs(World(), Secrets(), "gone")


async def test_outputs_nobody_can_describe_are_refused(world):
    world.documents["runs"][1]["bundle"] = "no json"
    with pytest.raises(SourceRefused, match="not JSON"):
        await list_outputs(world, Secrets(), DB)
