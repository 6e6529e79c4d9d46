"""What others do to our secrets, and what we never do to theirs.

Simulates people with all rights in both sinks. Excludes writers at the very moment of a write (the
contract suite).
"""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest

from syncer.core.changes import State
from tests.functional.acceptance import (
    WRITER,
    DumpFolder,
    Site,
    actions,
    entry_at,
    porter_documents,
    replace_file,
)
from tests.functional.test_acceptance_fixtures import API, IN_CLUSTER, IN_FILES, ORDERS_DB, SPACES

PREFIX = "outputs.porter.sh/"
SECRET, FOLDER = "shop/orders-db-outputs", "shop/orders-db"


@pytest.fixture
def site(kube_cluster, kube_namespace, tmp_path) -> Site:
    database = DumpFolder(folder=tmp_path / "dump")
    database.publish(porter_documents())
    return Site(
        folder=tmp_path,
        cluster=kube_cluster,
        prefix=kube_namespace,
        source=database.settings,
        spaces=SPACES,
    )


def value(text: bytes) -> str:
    return base64.b64encode(text).decode()


def _label(name, text):
    return lambda secret: secret["metadata"]["labels"].update({name: text})


def _annotation(name, text):
    return lambda secret: secret["metadata"]["annotations"].update({name: text})


DRIFTS = {
    "an edited value": lambda secret: secret["data"].update(host=value(b"elsewhere")),
    "a value made empty": lambda secret: secret["data"].update({"admin-password": ""}),
    "a newline added": lambda secret: secret["data"].update({"admin-password": value(b"battery staple\n")}),
    "a removed key": lambda secret: secret["data"].pop("port"),
    "all keys removed": lambda secret: secret.pop("data"),
    "an added key": lambda secret: secret["data"].update(extra=value(b"1")),
    "another installation's label": _label(f"{PREFIX}installation-id", "01M85E6T4TWB8PVW2A67093EB9"),
    "another instance's label": _label(f"{PREFIX}instance", "another"),
    "another manager's label": _label("app.kubernetes.io/managed-by", "Helm"),
    "all labels removed": lambda secret: secret["metadata"].pop("labels"),
    "another revision": _annotation(f"{PREFIX}revision", "0" * 32),
    "another rule": _annotation(f"{PREFIX}rule", "other"),
}


@pytest.mark.fault(37)
@pytest.mark.parametrize("drift", DRIFTS)
async def test_a_secret_changed_by_hand_is_what_it_was_after_the_next_pass(site, drift):
    await site.once()
    marks = site.secrets()[SECRET]["metadata"]
    before = site.versions()
    site.edit(SECRET, DRIFTS[drift])
    assert site.versions()[SECRET] != before[SECRET], "the drift did not happen"
    report = await site.once()
    assert {(one.action, one.subject.address) for one in report.entries if one.action == "update"} == {
        ("update", site.address(SECRET))
    }
    after = site.secrets()[SECRET]["metadata"]
    assert site.in_cluster() == IN_CLUSTER
    assert after["labels"] == marks["labels"]
    restored = {name: text for name, text in marks["annotations"].items() if "content-id" not in name}
    assert restored.items() <= after["annotations"].items()
    assert {path: version for path, version in site.versions().items() if path != SECRET} == {
        path: version for path, version in before.items() if path != SECRET
    }
    assert actions(await site.once()) == {"keep", "hold"}


@pytest.mark.fault(36)
async def test_a_secret_deleted_by_hand_is_created_again(site):
    await site.once()
    site.delete(SECRET)
    report = await site.once()
    assert entry_at(report, site.address(SECRET)).action == "create"
    assert site.in_cluster() == IN_CLUSTER
    assert actions(await site.once()) == {"keep", "hold"}


async def test_labels_and_annotations_of_others_survive_a_repair(site):
    await site.once()

    def edit(secret):
        secret["metadata"]["labels"]["team"] = "shop"
        secret["metadata"]["annotations"]["example.test/note"] = "hands off"
        secret["data"]["host"] = value(b"elsewhere")

    site.edit(SECRET, edit)
    await site.once()
    metadata = site.secrets()[SECRET]["metadata"]
    assert metadata["labels"]["team"] == "shop"
    assert metadata["annotations"]["example.test/note"] == "hands off"
    assert site.in_cluster() == IN_CLUSTER


async def test_a_drift_is_called_one(site):
    await site.once()
    site.edit(SECRET, DRIFTS["an edited value"])
    entry = entry_at(await site.plan(), site.address(SECRET))
    assert (entry.action, entry.state) == ("update", State.DRIFTED)
    assert [(key.key, key.change.value) for key in entry.keys] == [("host", "change")]


def live(folder: Path) -> Path:
    return folder / (folder / "..data").readlink()


def _edit_mark(folder: Path) -> None:
    path = live(folder) / "..syncer.json"
    replace_file(path, json.dumps(json.loads(path.read_text()) | {"revision": "0" * 32}).encode())


FILE_DRIFTS = {
    "an edited value": lambda folder: replace_file(folder / "host", b"elsewhere"),
    "a removed key": lambda folder: (live(folder) / "port").unlink(),
    "a removed link": lambda folder: (folder / "port").unlink(),
    "an added key": lambda folder: (live(folder) / "extra").write_bytes(b"1"),
    "a deleted folder": shutil.rmtree,
    "another revision in the mark": _edit_mark,
    "a file that all can read": lambda folder: (live(folder) / "host").chmod(0o644),
    "a folder that all can read": lambda folder: folder.chmod(0o755),
}


@pytest.mark.fault(36)
@pytest.mark.fault(37)
@pytest.mark.parametrize("drift", FILE_DRIFTS)
async def test_a_folder_changed_by_hand_is_what_it_was_after_the_next_pass(site, drift):
    await site.once()
    before = site.stamps()
    FILE_DRIFTS[drift](site.out / FOLDER)
    assert site.stamps() != before, "the drift did not happen"
    report = await site.once()
    assert not report.failed
    assert {one.subject.address for one in report.entries if one.action in ("update", "create")} == {
        f"files:{FOLDER}"
    }
    assert site.in_files() == IN_FILES
    modes = {path.lstat().st_mode & 0o777 for path in (site.out / FOLDER).rglob("*") if not path.is_symlink()}
    assert modes == {0o600, 0o700}
    assert (site.out / FOLDER).stat().st_mode & 0o777 == 0o700
    assert actions(await site.once()) == {"keep", "hold"}


# --- what is not ours ----------------------------------------------------------------------


def strange_folder(site: Site) -> Path:
    folder = site.out / FOLDER
    folder.mkdir(parents=True)
    (folder / "host").write_bytes(b"somebody else's")
    return folder


async def test_secrets_of_others_stay_byte_for_byte_and_are_reported(site):
    site.create(SECRET, {"host": b"somebody else's"})
    strange_folder(site)
    secret, position = site.secrets()[SECRET], site.cluster.audit.position()
    for _ in range(2):
        report = await site.once()
        for address in (site.address(SECRET), f"files:{FOLDER}"):
            entry = entry_at(report, address)
            assert (entry.action, entry.state, entry.reason) == (
                "conflict",
                State.CONFLICT,
                "not ours: no mark",
            )
    assert site.secrets()[SECRET] == secret
    assert site.in_files()[FOLDER] == {"host": b"somebody else's"}
    assert sorted(path.name for path in (site.out / FOLDER).iterdir()) == ["host"]
    assert site.in_cluster() == IN_CLUSTER | {SECRET: {"host": b"somebody else's"}}
    assert not [
        event
        for event in site.cluster.audit.writes(since=position, user=WRITER)
        if event.name == "orders-db-outputs"
    ]


async def test_adopting_takes_over_exactly_what_was_named(site):
    for path in (SECRET, "prod/api-outputs"):
        site.create(path, {"host": b"somebody else's"})
    strange_folder(site)
    await site.once()
    report = await site.once(only=[site.address(SECRET), f"files:{FOLDER}"], adopt=True)
    assert {(entry.action, entry.subject.address) for entry in report.entries} == {
        ("update", site.address(SECRET)),
        ("update", f"files:{FOLDER}"),
    }
    assert site.in_cluster() == IN_CLUSTER | {"prod/api-outputs": {"host": b"somebody else's"}}
    assert site.in_files() == IN_FILES
    report = await site.once()
    assert {one.subject.address for one in report.entries if one.action == "conflict"} == {
        site.address("prod/api-outputs")
    }
    assert entry_at(report, site.address(SECRET)).action == "keep"


async def test_without_adopt_looking_at_one_address_takes_nothing_over(site):
    site.create(SECRET, {"host": b"somebody else's"})
    report = await site.once(only=[site.address(SECRET)])
    assert actions(report) == {"conflict"}
    assert site.in_cluster() == {SECRET: {"host": b"somebody else's"}}


async def test_another_instances_secrets_are_not_ours(site):
    site.settings = {"instance": "other"}
    await site.once()
    before = site.state()
    site.settings = {}
    report = await site.once()
    assert actions(report) == {"conflict", "hold"}
    assert "not ours: marked by instance 'other'" in {entry.reason for entry in report.entries}
    assert site.state() == before


@pytest.mark.fault(38)
async def test_a_secret_whose_mark_was_stripped_is_nobodys_and_never_deleted(site):
    await site.once()

    def strip(secret):
        secret["metadata"]["annotations"] = {}
        secret["data"]["host"] = value(b"theirs now")

    site.edit(SECRET, strip)
    before = site.versions()
    assert entry_at(await site.once(), site.address(SECRET)).action == "conflict"
    documents = porter_documents()
    documents["installations"] = [one for one in documents["installations"] if one["name"] != "orders-db"]
    DumpFolder(folder=site.folder / "dump").publish(documents)
    await site.once()
    assert site.versions() == before
    assert FOLDER not in site.in_files()


async def test_a_copied_secret_is_not_ours_where_it_was_copied_to(site):
    await site.once()
    copy = {"apiVersion": "v1", "kind": "Secret"} | site.secrets()[SECRET]
    copy["metadata"] = {
        "name": "copy",
        "namespace": f"{site.prefix}-shop",
        "labels": copy["metadata"]["labels"],
        "annotations": copy["metadata"]["annotations"],
    }
    site.cluster.admin.apply(copy)
    before = site.versions()
    assert actions(await site.once()) == {"keep", "hold"}
    assert site.versions() == before
    assert site.in_cluster()["shop/copy"] == ORDERS_DB


async def test_conflict_policy_adopt_takes_over_without_being_asked(site):
    site.create("prod/api-outputs", {"host": b"somebody else's"})
    document = site.document()["rules"][0]["targets"]
    site.rule = {"targets": [{**target, "conflictPolicy": "Adopt"} for target in document]}
    report = await site.once()
    assert entry_at(report, site.address("prod/api-outputs")).reason == "taken over"
    assert site.in_cluster()["prod/api-outputs"] == API
