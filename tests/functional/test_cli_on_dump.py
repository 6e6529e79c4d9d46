"""The commands end to end: a real Porter's dump, a file sink in a temporary folder, `main([...])`.

Kubernetes and MongoDB are in files of their own. Deletions are made by rewriting the dump as
`mongodump` would have written it after the delete.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import bson
import pytest
import yaml

from syncer.cli import main
from tests.functional.acceptance import remove_from_dump

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "examples/quickstart"
PRINTED = ROOT / "tests/fixtures/porter-cli"
NON_EMPTY = sorted(path for path in PRINTED.glob("*--*.json") if path.stat().st_size)

CONFIG = """
instance: test
namespaces: {{"": platform}}
source:
  kind: dump
  path: ./dump
  secrets: {{kind: filesystem, path: ./secrets}}
sinks:
  - {{name: local, kind: file, path: ./out}}
rules:
  - name: files
    match: {{namespaces: {namespaces}}}
    targets:
      - {{sink: local, path: "{{namespace}}/{{installation}}"}}
guard: {{grace: 1ms}}
"""
WRITTEN = ["prod/api", "shop/Odd_Clean.Install", "shop/orders-db", "staging/too-big"]


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def data(self):
        return json.loads(self.out)

    def actions(self) -> dict[str, str]:
        return {one["address"]: one["action"] for one in self.data["changes"]}


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with everything in it, and the program to run there."""

    folder: Path
    run: Callable[..., Answer]

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def configure(self, namespaces: str = '["*"]') -> None:
        (self.folder / "syncer.yaml").write_text(CONFIG.format(namespaces=namespaces))

    def delete(self, *names: str) -> None:
        """Delete installations, document by document, as Porter does."""
        remove_from_dump(self.folder / "dump", *names)

    def rewrite(
        self, collection: str, change: Callable[[list[dict[str, object]]], list[dict[str, object]]]
    ) -> None:
        """Put other documents into the dump."""
        path = self.folder / f"dump/{collection}.bson"
        path.write_bytes(b"".join(map(bson.encode, change(bson.decode_all(path.read_bytes())))))

    def secrets_there(self) -> list[str]:
        return sorted(str(link.parent.relative_to(self.out)) for link in self.out.glob("*/*/..data"))

    def inodes(self) -> dict[str, int]:
        return {str(path): path.lstat().st_ino for path in self.out.rglob("*")}


@pytest.fixture
def place(tmp_path, monkeypatch, capsysbinary) -> Place:
    shutil.copytree(QUICKSTART / "dump", tmp_path / "dump")
    shutil.copytree(QUICKSTART / "secrets", tmp_path / "secrets")
    monkeypatch.setenv("SYNCER_CONFIG", str(tmp_path / "syncer.yaml"))

    def run(*arguments: str) -> Answer:
        code = main(arguments)
        out, err = capsysbinary.readouterr()
        return Answer(code, out.decode(), err.decode())

    made = Place(tmp_path, run)
    made.configure()
    return made


# --- once, plan, status --------------------------------------------------------------------


def test_plan_then_once_then_nothing_to_do(place):
    planned = place.run("plan", "-o", "json")
    assert planned.code == 3
    assert not place.out.exists()
    assert planned.actions() == {"platform/odd-names": "hold", **dict.fromkeys(WRITTEN, "create")}

    first = place.run("once")
    assert first.code == 4
    assert "'binary'" in first.out
    assert "'tls/key'" in first.out
    assert first.out.splitlines()[-5:] == [
        *(f"created local:{address} ({address})" for address in WRITTEN),
        "4 created, 0 updated, 0 deleted, 0 unchanged, 0 in conflict, 1 held, 0 failed",
    ]
    assert place.secrets_there() == WRITTEN
    assert (place.out / "shop/orders-db/admin-password").read_bytes() == b"battery staple"

    before = place.inodes()
    second = place.run("once", "-o", "json")
    assert second.code == 4
    assert second.data["summary"] == {
        "create": 0,
        "update": 0,
        "keep": 4,
        "delete": 0,
        "conflict": 0,
        "hold": 1,
    }
    assert place.inodes() == before
    assert place.run("plan").code == 4


def test_everything_in_sync_ends_with_0(place):
    place.configure("[shop, prod]")
    assert place.run("once").code == 0
    assert place.run("once").out == (
        "0 created, 0 updated, 0 deleted, 3 unchanged, 0 in conflict, 0 held, 0 failed\n"
    )
    assert place.run("plan").code == 0


def test_status_tells_every_state(place):
    place.configure("[shop]")
    pending = place.run("status", "-o", "yaml")
    assert pending.code == 0
    assert not place.out.exists()
    assert {one["targets"][0]["state"] for one in yaml.safe_load(pending.out)} == {"Pending"}
    place.run("once")
    [odd, orders] = place.run("status", "-o", "json").data
    assert (odd["name"], orders["name"]) == ("Odd_Clean.Install", "orders-db")
    [target] = orders["targets"]
    assert (target["state"], target["since"]) == ("InSync", "2026-11-24T00:10:01Z")
    assert "InSync" in place.run("status").out


def test_a_drifted_secret_is_repaired(place):
    place.configure("[shop]")
    place.run("once")
    (place.out / "shop/orders-db/..data/host").write_bytes(b"evil")
    assert place.run("plan", "-o", "json").actions()["shop/orders-db"] == "update"
    assert "updated local:shop/orders-db" in place.run("once").out
    assert (place.out / "shop/orders-db/host").read_bytes() == b"orders-db-2.shop.internal"


def test_a_sink_that_fails_ends_with_1(place):
    place.out.write_text("not a folder")
    answer = place.run("once")
    assert answer.code == 1
    assert answer.err.startswith("sink local: ")
    assert place.run("plan").code == 1
    assert place.run("status").code == 1
    assert place.run("doctor").code == 1
    assert place.run("adopt", "local:shop/orders-db").code == 1


def test_a_source_that_fails_ends_with_1_and_one_line(place):
    (place.folder / "dump/results.bson").unlink()
    for command in ("once", "plan", "status", "gc"):
        answer = place.run(command)
        assert (answer.code, answer.out) == (1, "")
        assert answer.err.startswith("source: ")
        assert len(answer.err.splitlines()) == 1


def test_values_that_cannot_be_read_end_with_1_and_write_nothing(place):
    (place.folder / "dump/outputs.bson").unlink()
    answer = place.run("once")
    assert answer.code == 1
    assert answer.err.startswith("sink local: source: ")
    assert "sinks not finished: local" in answer.out
    assert place.secrets_there() == []


# --- gc, adopt -----------------------------------------------------------------------------


def test_what_is_deleted_in_porter_goes_and_nothing_else(place):
    place.run("once")
    place.delete("api")
    listed = place.run("gc", "-o", "json")
    assert listed.code == 3
    assert listed.actions()["prod/api"] == "delete"
    assert place.secrets_there() == WRITTEN
    assert "deleted local:prod/api (prod/api)" in place.run("once").out
    assert place.secrets_there() == [one for one in WRITTEN if one != "prod/api"]


def test_a_mass_deletion_is_held_until_its_hash_is_approved(place):
    place.run("once")
    place.delete("api", "Odd_Clean.Install", "orders-db", "too-big")
    assert place.run("once").code == 4
    listed = place.run("gc", "-o", "json")
    [held] = listed.data["held"]
    assert listed.code == 4
    assert f"syncer gc --approve {held['hash']}" in place.run("gc").out
    assert place.run("gc", "--approve", "0" * 16).code == 4
    assert place.secrets_there() == WRITTEN
    assert place.run("gc", "--approve", held["hash"]).code == 0
    assert place.secrets_there() == []


def test_orphans_stay_until_they_are_pruned(place):
    place.configure('["*"]')
    place.run("once")
    place.configure("[shop]")
    assert place.run("once").code == 0
    listed = place.run("gc")
    assert listed.code == 0
    assert "2 orphaned" in listed.out
    assert "syncer gc --prune" in listed.out
    assert place.secrets_there() == WRITTEN
    assert place.run("gc", "--prune").code == 0
    assert place.secrets_there() == ["shop/Odd_Clean.Install", "shop/orders-db"]


def test_gc_creates_and_updates_nothing(place):
    place.delete("api")
    assert place.run("gc", "--prune").code in (0, 4)
    assert not place.out.exists() or place.secrets_there() == []


def test_a_foreign_secret_is_reported_and_taken_over_on_purpose(place):
    place.configure("[shop]")
    foreign = place.out / "shop/orders-db/host"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"theirs")
    conflict = place.run("once", "-o", "json")
    assert (conflict.code, conflict.actions()["shop/orders-db"]) == (4, "conflict")
    assert foreign.read_bytes() == b"theirs"

    adopted = place.run("adopt", "local:shop/orders-db")
    assert adopted.code == 0
    assert "taking over local:shop/orders-db: not ours: no mark" in adopted.err
    assert "updated local:shop/orders-db" in adopted.out
    assert foreign.read_bytes() == b"orders-db-2.shop.internal"
    assert place.run("once").code == 0


@pytest.mark.parametrize(
    "address", ["shop/orders-db", "local:", "elsewhere:shop/orders-db", "local:shop/nothing"]
)
def test_adopt_says_what_is_wrong_with_an_address(place, address):
    answer = place.run("adopt", "local:shop/orders-db", address)
    assert (answer.code, answer.out) == (2, "")
    assert address in answer.err
    assert not place.out.exists() or place.secrets_there() == []


# --- config, doctor ------------------------------------------------------------------------


def test_doctor_finds_everything_in_order(place):
    answer = place.run("doctor", "-o", "json")
    assert answer.code == 0
    assert {one["of"] for one in answer.data} == {"source", "sink local"}
    assert "source" in place.run("doctor").out


def test_configuration_is_checked_described_and_begun(place):
    assert place.run("config", "check").out.endswith("syncer.yaml: fine (1 rules, 1 sinks)\n")
    assert "properties" in place.run("config", "schema").data
    assert yaml.safe_load(place.run("config", "init").out)["instance"]
    (place.folder / "syncer.yaml").write_text("instance: test\nbogus: 1\n")
    wrong = place.run("config", "check")
    assert (wrong.code, wrong.out) == (2, "")
    assert any(line.startswith(f"{place.folder}/syncer.yaml:2: bogus: ") for line in wrong.err.splitlines())


# --- installations -------------------------------------------------------------------------


def named(path: Path) -> tuple[str, str, str]:
    namespace, _, rest = path.stem.partition("--")
    name, _, kind = rest.rpartition(".")
    return "" if namespace == "_global" else namespace, name, kind


def test_the_fixtures_are_there():
    assert len(NON_EMPTY) == 15


@pytest.mark.parametrize("path", NON_EMPTY, ids=lambda path: path.stem)
def test_porter_semantics_are_porters_bytes(place, path):
    namespace, name, kind = named(path)
    shown = ["--show-sensitive"] if kind == "outputs" else []
    answer = place.run(
        "installations", kind, "list", name, "-n", namespace, "-o", "json", "--porter-semantics", *shown
    )
    assert (answer.code, answer.out) == (0, path.read_text())


def test_installations_are_listed_as_porter_does(place):
    expected = (PRINTED / "installations.json").read_text()
    for more in ([], ["--porter-semantics"]):
        assert place.run("inst", "list", "--all-namespaces", "-o", "json", *more).out == expected


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((), ["odd-names"]),
        (("-n", "prod"), ["in-flight", "api"]),
        (("--all-namespaces", "-l", "team=api"), ["api"]),
        (
            ("--all-namespaces", "--name", "o"),
            ["too-big", "never-worked", "odd-names", "storefront", "orders-db"],
        ),
        (("--all-namespaces", "--skip", "1", "--limit", "2"), ["api", "too-big"]),
        (("--all-namespaces", "--skip", "7"), ["orders-db"]),
    ],
)
def test_installations_are_filtered(place, arguments, names):
    answer = place.run("installations", "list", "-o", "yaml", *arguments)
    assert [one["name"] for one in yaml.safe_load(answer.out)] == names
    assert [line.split()[-5:] for line in place.run("inst", "list", *arguments).out.splitlines()[3:]]


def test_porters_failure_is_ours_under_its_semantics(place):
    answer = place.run("inst", "outputs", "list", "odd-names", "--porter-semantics", "-o", "json")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("source: output ")


def values(answer: Answer) -> dict[str, str]:
    return {one["name"]: one["value"] for one in answer.data}


ORDERS = ["orders-db", "-n", "shop"]
INSTALL, FAILED_UPGRADE = "01M85E6N1VWE5YGBMF3XZEJTWQ", "01M85E6NRCPD997MKXVAHD4C6A"


@pytest.mark.parametrize("semantics", [[], ["--porter-semantics"]])
@pytest.mark.parametrize("form", ["plaintext", "json", "yaml"])
def test_sensitive_values_are_masked_unless_asked_for(place, form, semantics):
    hidden = place.run("inst", "outputs", "list", *ORDERS, "-o", form, *semantics)
    assert "******" in hidden.out
    assert "battery staple" not in hidden.out
    shown = place.run("inst", "outputs", "list", *ORDERS, "-o", form, "--show-sensitive", *semantics)
    assert "battery staple" in shown.out


def test_outputs_are_the_selected_ones(place):
    ours = values(place.run("inst", "outputs", "list", "-i", "orders-db", "-n", "shop", "-o", "json"))
    assert list(ours) == ["admin-password", "ca.crt", "connection", "host", "port"]
    assert place.run("inst", "outputs", "list", "storefront", "-n", "shop", "-o", "json").data == []
    assert place.run("inst", "outputs", "list", "never-worked", "-n", "staging", "-o", "json").data == []
    api = place.run(
        "inst", "outputs", "list", "api", "-n", "prod", "-r", "latest", "-o", "json", "--show-sensitive"
    )
    assert (
        values(api)["API_TOKEN"]
        == (place.out.parent / "secrets/01M85E6ST60B1JNW5W06H7M6C4-API_TOKEN").read_text()
    )


def test_a_run_has_its_own_outputs(place):
    for semantics in ([], ["--porter-semantics"]):
        answer = place.run("inst", "outputs", "list", "-r", INSTALL, "-o", "json", *semantics)
        assert values(answer)["host"] == "orders-db.shop.internal"
    assert place.run("inst", "outputs", "list", *ORDERS, "-r", FAILED_UPGRADE).code == 1
    elsewhere = place.run("inst", "outputs", "list", "api", "-n", "prod", "-r", INSTALL)
    assert (elsewhere.code, elsewhere.out) == (1, "")
    assert place.run("inst", "outputs", "list", "-r", "01M85E6N1VWE5YGBMF3XZEJTW0").code == 1


def test_runs_are_listed_last_started_first(place):
    lines = place.run("inst", "runs", "list", *ORDERS).out.splitlines()[3:]
    assert [line.split()[1] for line in lines] == ["ping", "upgrade", "upgrade", "install"]


@pytest.mark.parametrize(
    "what", [["list", *ORDERS], ["show", "host", "-i", *ORDERS], ["list", "-r", INSTALL]]
)
def test_outputs_of_an_installation_that_cannot_be_trusted_are_not_shown(place, what):
    place.rewrite("installations", lambda found: found + [one for one in found if one["name"] == "orders-db"])
    answer = place.run("inst", "outputs", *what)
    assert (answer.code, answer.out) == (1, "")
    assert "two installation documents" in answer.err


@pytest.mark.parametrize(
    "what", [["list", *ORDERS], ["show", "host", "-i", *ORDERS], ["list", "-r", INSTALL]]
)
def test_outputs_of_an_installation_that_is_gone_are_not_shown(place, what):
    place.rewrite("installations", lambda found: [one for one in found if one["name"] != "orders-db"])
    answer = place.run("inst", "outputs", *what)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err


def test_an_output_without_its_document_is_named(place):
    place.rewrite("outputs", lambda found: [one for one in found if one["name"] != "port"])
    rows = place.run("inst", "outputs", "list", *ORDERS, "-o", "json")
    assert rows.code == 1
    assert [one["reason"] for one in rows.data if "reason" in one] == ["has no value yet"]
    assert "'port' has no value yet" in place.run("inst", "outputs", "show", "port", "-i", *ORDERS).err


def test_binary_values_are_base64_in_json(place):
    rows = place.run("inst", "outputs", "list", "Odd_Clean.Install", "-n", "shop", "-o", "json").data
    [binary] = [one for one in rows if one["name"] == "binary"]
    assert binary["encoding"] == "base64"
    assert len(binary["value"]) == 344
    assert all("encoding" not in one for one in rows if one["name"] != "binary")


def test_what_does_not_resolve_is_named_and_the_rest_is_shown(place):
    answer = place.run("inst", "outputs", "list", "odd-names", "-o", "json", "--show-sensitive")
    assert answer.code == 1
    found = values(answer)
    assert (found["binary"], found["tls/key"], found["with space"]) == (None, None, "b")


@pytest.mark.parametrize("semantics", [[], ["--porter-semantics"]])
def test_one_output_is_shown_raw(place, semantics, capsysbinary):
    show = ["installations", "output", "show"]
    assert (
        place.run(*show, "admin-password", "-i", "orders-db", "-n", "shop", *semantics).out
        == "battery staple"
    )
    assert place.run(*show, "ca.crt", "-i", "orders-db", "-n", "shop", *semantics).out.endswith("-----\n")
    assert main([*show, "binary", "-i", "Odd_Clean.Install", "-n", "shop", *semantics]) == 0
    assert capsysbinary.readouterr().out == bytes(range(256))
    for wrong in (
        ["nothing", "-i", "orders-db", "-n", "shop"],
        ["host", "-i", "nobody"],
        ["binary", "-i", "odd-names"],
    ):
        answer = place.run(*show, *wrong, *semantics)
        assert (answer.code, answer.out) == (1, "")
        assert answer.err


# --- secrets -------------------------------------------------------------------------------


def test_no_value_is_printed_or_logged_by_what_does_not_show_values(place):
    secrets = [path.read_text() for path in (place.folder / "secrets").iterdir()]
    assert len(secrets) == 12
    (place.out / "prod/api").mkdir(parents=True)
    for command in (
        ["plan"],
        ["status"],
        ["once"],
        ["gc"],
        ["doctor"],
        ["adopt", "local:prod/api"],
        ["plan", "-o", "json"],
    ):
        answer = place.run(*command, "--log-level", "debug", "-v")
        assert answer.out
        assert not [one for one in secrets if one in answer.out + answer.err]
