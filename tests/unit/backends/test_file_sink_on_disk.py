"""What the file sink makes of addresses, links, its base folder, missing rights and other processes.

Real folders, modes, links and locks. What a secret's folder means is in
`test_file_sink_folder`, cuts in the middle of a write are in `test_file_sink_kills`.
"""

# ruff: noqa: ASYNC240  # nothing else runs in these loops
from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401  # without rights it could not be loaded any more
import fcntl
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest
from file_world import ADDRESS, found, inventory, names, observe, readable, secret, sink_at, tree, write

from backends.contract import Absent, FindingLevel, ObservedSecret, TakeOver, Unchanged, Version
from backends.errors import ForeignSecret, Refused, SinkUnavailable, TargetUnavailable
from backends.file import folders
from backends.file.folders import LOCK_FILE, find_folders, opened_base

DATA = {"host": b"db", "port": b"3306"}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def folder(base: Path) -> Path:
    return base / ADDRESS


# --- addresses and links


@pytest.mark.parametrize(
    "address", ["", "/etc", "..", "a/../../b", "a//b", "a/", "./a", "a/..data", "a\0b", "a\n", "é"]
)
async def test_no_address_leads_out_of_the_base(address: str, base: Path) -> None:
    await write(base, DATA)
    with pytest.raises(Refused):
        await observe(base, address)
    with pytest.raises(Refused):
        await sink_at(base).put(secret(DATA, address), Absent())


@pytest.mark.parametrize("key", ["", ".", "..", "../x", "/x", "..data", "a/b", "a\0", "é", "x" * 254])
async def test_no_key_leads_out_of_the_folder(key: str, base: Path) -> None:
    with pytest.raises(Refused):
        await sink_at(base).put(secret({key: b"x"}), Absent())
    assert not base.exists()


async def test_links_are_not_followed_on_the_way(base: Path, tmp_path: Path) -> None:
    await write(tmp_path / "elsewhere", DATA, "orders")
    await write(base, DATA, "other/orders")
    (base / "shop").symlink_to(tmp_path / "elsewhere")
    assert (await found(base)).foreign == "a file or a symbolic link is in its path"
    assert await inventory(base) == ["other/orders"]


async def test_a_folder_replaced_by_a_link_meanwhile_leads_no_write_out(base: Path, tmp_path: Path) -> None:
    await write(base, DATA)
    steps: list[str] = []
    await sink_at(base, steps.append).put(secret(DATA), Unchanged((await found(base)).version))
    for at in range(len(steps)):
        base, outside = tmp_path / f"base-{at}", tmp_path / f"outside-{at}"
        (outside / "orders").mkdir(parents=True)
        await write(base, DATA)
        done: list[str] = []

        def step(
            name: str, base: Path = base, outside: Path = outside, at: int = at, done: list[str] = done
        ) -> None:
            if len(done) == at:
                (base / "shop").rename(base / "moved")
                (base / "shop").symlink_to(outside)
            done.append(name)

        try:
            await sink_at(base, step).put(secret(DATA), Unchanged((await found(base)).version))
        except SinkUnavailable:
            assert done[at] == "make folder shop"
        assert names(outside / "orders") == [], steps[at]


async def test_a_base_that_is_a_link_is_followed(base: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    base.symlink_to("real")
    await write(base, DATA)
    assert await inventory(tmp_path / "real") == [ADDRESS]


async def test_a_folder_in_a_secrets_folder_is_refused(base: Path) -> None:
    await write(base, DATA, "a")
    whole = tree(base)
    with pytest.raises(TargetUnavailable, match="'a' holds a secret itself"):
        await sink_at(base).put(secret(DATA, "a/b"), Absent())
    assert tree(base) == whole


async def test_a_secret_around_other_secrets_is_refused(base: Path) -> None:
    await write(base, DATA, "a/b")
    whole = tree(base)
    with pytest.raises(ForeignSecret):
        await sink_at(base).put(secret(DATA, "a"), Absent())
    with pytest.raises(ForeignSecret, match="'b' is in the way"):
        await sink_at(base).put(secret(DATA, "a"), TakeOver((await found(base, "a")).version))
    assert tree(base) == whole


async def test_folders_with_names_we_never_make_are_not_searched(base: Path) -> None:
    await write(base, DATA)
    shutil.copytree(base / "shop", base / "..backup", symlinks=True)
    shutil.copytree(base / "shop", base / "a b", symlinks=True)
    assert await inventory(base) == [ADDRESS]


# --- the base folder


async def test_a_base_that_was_never_made_is_empty(base: Path) -> None:
    assert await inventory(base) == []
    assert await observe(base) is None
    seen = ObservedSecret(address=ADDRESS, version=Version("1"), mark=secret(DATA).mark, foreign=None)
    await sink_at(base).remove(seen)
    assert not base.exists()


async def test_without_the_folder_around_the_base_nothing_is_known(tmp_path: Path) -> None:
    base = tmp_path / "not-mounted" / "out"
    for call in (inventory(base), observe(base), write(base, DATA)):
        with pytest.raises(SinkUnavailable, match="there is no folder"):
            await call
    (finding,) = await sink_at(base).check()
    assert finding.level is FindingLevel.ERROR


@pytest.mark.parametrize("make", [lambda base: base.write_text("x"), lambda base: base.symlink_to("nowhere")])
async def test_a_base_that_is_no_folder_is_unavailable(make: object, base: Path) -> None:
    assert callable(make)
    make(base)
    for call in (inventory(base), observe(base), write(base, DATA)):
        with pytest.raises(SinkUnavailable):
            await call
    (finding,) = await sink_at(base).check()
    assert finding.level is FindingLevel.ERROR


async def test_a_check_tells_what_the_base_is(base: Path) -> None:
    (finding,) = await sink_at(base).check()
    assert (finding.level, finding.detail) == (FindingLevel.OK, "will be made")
    assert not base.exists()
    await write(base, DATA)
    (finding,) = await sink_at(base).check()
    assert (finding.level, finding.detail) == (FindingLevel.OK, "readable and writable")
    base.chmod(0o755)
    (finding,) = await sink_at(base).check()
    assert finding.level is FindingLevel.WARNING
    assert "755" in finding.detail


@contextmanager
def unprivileged() -> Iterator[Path]:
    """A folder, and a process that modes hold for, also where the tests run as root."""
    with tempfile.TemporaryDirectory() as made:
        root = os.geteuid() == 0
        if root:
            os.chown(made, 65534, 65534)
            os.seteuid(65534)
        try:
            yield Path(made)
        finally:
            if root:
                os.seteuid(0)
            for path in Path(made).rglob("*"):
                if path.is_dir() and not path.is_symlink():
                    path.chmod(0o700)


@pytest.mark.parametrize("closed", ["out", "out/shop", "out/shop/orders", "out/shop/other"])
async def test_a_folder_that_cannot_be_read_is_unavailable_and_not_skipped(closed: str) -> None:
    with unprivileged() as place:
        for address in (ADDRESS, "shop/other", "api/token"):
            await write(place / "out", DATA, address)
        (place / closed).chmod(0)
        with pytest.raises(SinkUnavailable, match="Permission denied"):
            await inventory(place / "out")
        if closed != "out/shop/other":
            with pytest.raises(SinkUnavailable, match="Permission denied"):
                await observe(place / "out")


async def test_a_check_finds_missing_rights() -> None:
    with unprivileged() as place:
        (place / "out").mkdir(0o500)
        for mode, base in ((0o500, place / "out"), (0o500, place / "new"), (0, place / "out")):
            (place / "out").chmod(mode)
            place.chmod(0o500 if base.name == "new" else 0o700)
            (finding,) = await sink_at(base).check()
            assert finding.level is FindingLevel.ERROR, base
        place.chmod(0o700)


async def test_a_write_the_kernel_refuses_is_unavailable(base: Path) -> None:
    await write(base, DATA)
    whole = tree(base)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(SinkUnavailable, match=r"cannot write 'shop/orders': File too large"):
            await write(base, {"host": b"x" * 8192})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert tree(base) == whole


async def test_an_error_without_a_number_is_unavailable_too(base: Path) -> None:
    def step(_: str) -> None:
        raise OSError("text that may say anything")

    with pytest.raises(SinkUnavailable, match="cannot write 'shop/orders': OSError") as caught:
        await sink_at(base, step).put(secret(DATA), Absent())
    assert "anything" not in str(caught.value)


# --- other processes


async def test_writers_that_share_nothing_but_the_disk_do_not_both_win(base: Path) -> None:
    puts = [sink_at(base).put(secret({"host": b"%d" % n}), Absent()) for n in range(4)]
    outcomes = await asyncio.gather(*puts, return_exceptions=True)
    assert sorted(type(each).__name__ for each in outcomes) == [*["PreconditionFailed"] * 3, "Version"]


async def test_a_lock_that_is_never_released_makes_the_sink_unavailable(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(base, DATA)
    seen = await found(base)
    monkeypatch.setattr(folders, "LOCK_PATIENCE", 0.0)
    held = os.open(base / LOCK_FILE, os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    for call in (observe(base), sink_at(base).remove(seen), write(base, DATA)):
        with pytest.raises(SinkUnavailable, match="locked"):
            await call
    fcntl.flock(held, fcntl.LOCK_SH)
    assert await observe(base) == seen
    with pytest.raises(SinkUnavailable, match="locked"):
        await sink_at(base).remove(seen)
    os.close(held)


async def test_a_lock_that_is_released_is_waited_for(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await write(base, DATA)
    held = os.open(base / LOCK_FILE, os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    monkeypatch.setattr(folders.time, "sleep", lambda _: fcntl.flock(held, fcntl.LOCK_UN))
    await write(base, {"host": b"new"})
    os.close(held)
    assert readable(base) == {"host": b"new"}


def test_a_folder_that_goes_while_it_is_searched_is_not_there(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (base / "shop" / "orders").mkdir(parents=True)
    scandir = os.scandir

    def gone_after(fd: int) -> object:
        entries = list(scandir(fd))
        if [entry.name for entry in entries] == ["orders"]:
            (base / "shop" / "orders").rmdir()
        return _Entries(entries)

    monkeypatch.setattr(folders.os, "scandir", gone_after)
    with opened_base(base) as fd:
        assert fd is not None
        assert find_folders(fd) == []


class _Entries(list):  # type: ignore[type-arg]  # stands for os.scandir's iterator
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


async def test_no_descriptor_is_left_open(base: Path) -> None:
    await write(base, DATA)
    before = len(names(Path("/proc/self/fd")))
    for _ in range(5):
        await write(base, DATA)
        await inventory(base)
    assert len(names(Path("/proc/self/fd"))) == before
