"""What the file sink leaves in a secret's folder, and what it makes of what people do there.

Real folders, modes and links; the facts every sink shares are in the contract suite.
"""

# ruff: noqa: ASYNC240  # nothing else runs in these loops
from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

import pytest
from file_world import ADDRESS, found, inventory, names, observe, readable, secret, sink_at, tree, write

from backends.contract import Absent, TakeOver, Unchanged
from backends.errors import ForeignSecret, PreconditionFailed, SinkUnavailable
from backends.file.folders import LOCK_FILE
from backends.secret_value import SecretValue

DATA = {"host": b"db", "port": b"3306"}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def folder(base: Path) -> Path:
    return base / ADDRESS


# --- the layout


async def test_a_secret_is_laid_out_as_the_kubelet_does_it(base: Path, folder: Path) -> None:
    before = os.umask(0)
    try:
        await write(base, DATA)
    finally:
        os.umask(before)
    live = str((folder / "..data").readlink())
    assert names(folder) == sorted(["..data", live, "host", "port"])
    assert str((folder / "host").readlink()) == "..data/host"
    assert names(folder / live) == ["..syncer.json", "host", "port"]
    for path in (base, base / "shop", folder, folder / live):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in (base / LOCK_FILE, *(folder / live).iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_strict_umask_takes_nothing_away(base: Path) -> None:
    before = os.umask(0o377)
    try:
        await write(base, DATA, "orders")
    finally:
        os.umask(before)
    assert (await found(base, "orders")).intact


async def test_removing_the_last_secret_leaves_the_base_and_its_lock(base: Path) -> None:
    await write(base, DATA)
    await write(base, DATA, "shop/other")
    for address in (ADDRESS, "shop/other"):
        await sink_at(base).remove(await found(base, address))
    assert names(base) == [LOCK_FILE]


async def test_removing_spares_folders_that_hold_something_else(base: Path) -> None:
    await write(base, DATA)
    (base / "shop" / "notes").write_text("mine")
    await sink_at(base).remove(await found(base))
    assert names(base / "shop") == ["notes"]


# --- drift


def replace_link(folder: Path) -> None:
    (folder / "host").unlink()
    (folder / "host").write_bytes(b"edited")


def redirect_link(folder: Path) -> None:
    (folder / "host").unlink()
    (folder / "host").symlink_to("/etc/hostname")


DRIFTS = {
    "link replaced by a file": replace_link,
    "link points elsewhere": redirect_link,
    "link removed": lambda folder: (folder / "host").unlink(),
    "link added": lambda folder: (folder / "user").symlink_to("..data/user"),
    "value edited": lambda folder: (folder / "host").write_bytes(b"edited"),
    "value removed": lambda folder: (folder / "..data" / "host").unlink(),
    "value added": lambda folder: (folder / "..data" / "user").write_bytes(b"added"),
    "folder added to the set": lambda folder: (folder / "..data" / "sub" / "deep").mkdir(parents=True),
    "pipe added to the set": lambda folder: os.mkfifo(folder / "..data" / "pipe", 0o600),
    "link added to the set": lambda folder: (folder / "..data" / "sub").symlink_to("/etc"),
    "mode of a value": lambda folder: (folder / "..data" / "host").chmod(0o644),
    "mode of the mark": lambda folder: (folder / "..data" / "..syncer.json").chmod(0o640),
    "mode of the set": lambda folder: (folder / "..data").chmod(0o755),
    "mode of the folder": lambda folder: folder.chmod(0o755),
}


@pytest.mark.parametrize("drift", DRIFTS.values(), ids=list(DRIFTS))
async def test_drift_is_ours_is_seen_and_is_repaired(drift: object, base: Path, folder: Path) -> None:
    await write(base, DATA)
    before, whole = await found(base), tree(base)
    assert callable(drift)
    drift(folder)
    seen = await found(base)
    assert seen.ours
    assert not seen.intact or seen.data != before.data
    with pytest.raises(PreconditionFailed):
        await sink_at(base).put(secret(DATA), Unchanged(before.version))
    await sink_at(base).put(secret(DATA), Unchanged(seen.version))
    assert tree(base) == whole
    assert Path("/etc/hostname").exists()


async def test_a_value_added_to_the_set_is_observed(base: Path, folder: Path) -> None:
    await write(base, DATA)
    (folder / "..data" / "user").write_bytes(b"added")
    assert (await found(base)).data == {key: SecretValue(b) for key, b in (DATA | {"user": b"added"}).items()}


async def test_a_file_beside_our_links_is_left_alone(base: Path, folder: Path) -> None:
    await write(base, DATA)
    (folder / "notes").write_bytes(b"mine")
    assert (await found(base)).intact
    await write(base, {"user": b"u"})
    assert readable(base) == {"notes": b"mine", "user": b"u"}
    with pytest.raises(ForeignSecret, match="'notes' is in the way"):
        await sink_at(base).put(secret({"notes": b"ours"}), Unchanged((await found(base)).version))
    await sink_at(base).remove(await found(base))
    assert readable(base) == {"notes": b"mine"}
    assert (await found(base)).foreign == "no mark"


async def test_a_set_that_was_deleted_is_absent_and_written_anew(base: Path, folder: Path) -> None:
    await write(base, DATA)
    whole = tree(base)
    shutil.rmtree(folder / str((folder / "..data").readlink()))
    assert await observe(base) is None
    assert await inventory(base) == []
    await sink_at(base).put(secret(DATA), Absent())
    assert tree(base) == whole


# --- what is foreign


FOREIGN = {
    "a file": lambda folder: folder.write_text("mine"),
    "a link to a folder": lambda folder: folder.symlink_to("/etc"),
    "a link to nothing": lambda folder: folder.symlink_to("nowhere"),
    "a folder with a file": lambda folder: (folder.mkdir(), (folder / "host").write_text("mine")),
    "a folder with a folder": lambda folder: (folder / "host").mkdir(parents=True),
    "a folder that is called ..data": lambda folder: (folder / "..data").mkdir(parents=True),
    "a file that is called ..data": lambda folder: (folder.mkdir(), (folder / "..data").write_text("mine")),
    "a live link of the kubelet's": lambda folder: (
        (folder / "..2026_01_01").mkdir(parents=True),
        (folder / "..2026_01_01" / "host").write_text("mine"),
        (folder / "..data").symlink_to("..2026_01_01"),
        (folder / "host").symlink_to("..data/host"),
    ),
}
TAKEN_OVER = ("a folder with a file", "a file that is called ..data", "a live link of the kubelet's")


@pytest.mark.parametrize("kind", FOREIGN)
async def test_what_is_not_a_secret_of_ours_is_foreign_and_stays(kind: str, base: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    FOREIGN[kind](folder)
    before = tree(base)
    seen = await found(base)
    assert not seen.ours
    assert await inventory(base) == []
    for expect in (Absent(), Unchanged(seen.version)):
        with pytest.raises(ForeignSecret):
            await sink_at(base).put(secret(DATA), expect)
    with pytest.raises(ForeignSecret):
        await sink_at(base).remove(seen)
    assert tree(base) == before
    if kind not in TAKEN_OVER:
        with pytest.raises(ForeignSecret):
            await sink_at(base).put(secret(DATA), TakeOver(seen.version))
        assert tree(base) == before


@pytest.mark.parametrize("kind", TAKEN_OVER)
async def test_a_takeover_replaces_what_is_in_its_way_only(kind: str, base: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    FOREIGN[kind](folder)
    (folder / "notes").write_bytes(b"mine")
    await sink_at(base).put(secret(DATA), TakeOver((await found(base)).version))
    assert (await found(base)).intact
    assert readable(base) == DATA | {"notes": b"mine"}


async def test_a_takeover_that_fails_leaves_the_links_of_what_is_there(base: Path, folder: Path) -> None:
    def no_space(name: str) -> None:
        if name.startswith("swap"):
            raise OSError(errno.ENOSPC, "full")

    folder.parent.mkdir(parents=True)
    FOREIGN["a live link of the kubelet's"](folder)
    seen = await found(base)
    with pytest.raises(SinkUnavailable):
        await sink_at(base, no_space).put(secret(DATA), TakeOver(seen.version))
    assert readable(base) == {"host": b"mine"}


async def test_values_that_are_not_marked_are_foreign_even_in_a_set_of_our_name(
    base: Path, folder: Path
) -> None:
    made = folder / ("..syncer-" + "0" * 32)
    made.mkdir(parents=True)
    assert await observe(base) is None
    (made / "..syncer.json_tmp").write_text("{")
    assert await observe(base) is None
    (made / "host").write_text("mine")
    assert (await found(base)).foreign == "no mark"


async def test_one_foreign_set_among_those_left_over_makes_the_folder_foreign(
    base: Path, folder: Path
) -> None:
    await write(base, DATA)
    (folder / "..data").unlink()
    assert (await found(base)).ours
    await sink_at(base / "shop").put(secret(DATA, "theirs", instance="somebody"), Absent())
    for path in (base / "shop" / "theirs").glob("..syncer-*"):
        path.rename(folder / ("..syncer-" + "f" * 32))  # after ours in every order
    seen = await found(base)
    assert not seen.ours
    with pytest.raises(ForeignSecret):
        await sink_at(base).remove(seen)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"text"', b"\xff", b"[" * 100_000, b"null"])
async def test_a_mark_that_is_no_mark_is_unreadable(content: bytes, base: Path, folder: Path) -> None:
    await write(base, DATA)
    (folder / "..data" / "..syncer.json").write_bytes(content)
    assert (await found(base)).foreign == "unreadable mark"


async def test_a_copied_folder_is_foreign(base: Path) -> None:
    await write(base, DATA)
    shutil.copytree(base / ADDRESS, base / "shop" / "copy", symlinks=True)
    assert (await found(base, "shop/copy")).foreign == f"its mark names another address, {ADDRESS!r}"
    assert await inventory(base) == [ADDRESS]
