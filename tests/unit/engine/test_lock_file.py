"""Election by a locked file: one process of a machine at a time, and what becomes of the file.

On a real file system, with the kernel's own locks; one test with another process, that is killed. Excludes
network file systems, whose locks are their own affair.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from virtual_time import run_virtual

from syncer.engine.lock_file import LockFileElection, LockFileUnusable


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "syncer.lock"


def during(*steps: Callable[[], object]) -> Callable[[float], Awaitable[None]]:
    """Sleeps in which, one after the other, this happens; no time passes, and there is no further one."""
    left = list(steps)

    async def sleep(seconds: float) -> None:
        assert seconds == 1.0
        left.pop(0)()

    return sleep


async def test_who_gets_the_lock_leads_and_says_so_in_the_file(path) -> None:
    us = LockFileElection(path)
    assert (us.holds(), us.holder) == (False, "")
    async with us:
        assert not us.holds()
        await us.acquire()
        assert (us.holds(), us.holder, us.reason) == (True, str(os.getpid()), "")
        assert path.read_text() == f"{os.getpid()}\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (us.holds(), us.holder) == (False, "")
    assert path.read_text() == ""


async def test_a_second_one_waits_until_the_first_gives_it_up(path) -> None:
    seen = []
    first = LockFileElection(path)
    await first.acquire()
    second = LockFileElection(
        path,
        sleep=during(
            lambda: seen.append((second.holds(), second.holder, second.reason)),
            first._close,
        ),
    )
    await second.acquire()
    assert seen == [(False, str(os.getpid()), f"process {os.getpid()} leads")]
    assert second.holds()
    assert not first.holds()
    await second.release()


async def test_a_process_that_is_killed_holds_nothing(path) -> None:
    code = (
        "import fcntl, os, sys, time; "
        f"fd = os.open({str(path)!r}, os.O_RDWR | os.O_CREAT, 0o600); fcntl.flock(fd, fcntl.LOCK_EX); "
        "os.write(fd, b'%d' % os.getpid()); print('locked', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(  # noqa: ASYNC220  # nothing else goes on
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"locked\n"
        seen = []

        def kill() -> None:
            seen.append(us.holder)
            child.send_signal(signal.SIGKILL)
            child.wait(10)

        us = LockFileElection(path, sleep=during(kill))
        await us.acquire()
        assert seen == [str(child.pid)]
        assert us.holds()
        await us.release()


@pytest.mark.parametrize(
    "replace", [lambda path: path.unlink(), lambda path: path.with_suffix(".new").replace(path)]
)
async def test_a_lock_file_that_is_deleted_or_replaced_is_lost(path, replace) -> None:
    path.with_suffix(".new").touch()
    us = LockFileElection(path, sleep=during(lambda: None, lambda: replace(path)))
    await us.acquire()
    await us.lost()
    assert (us.holds(), us.holder) == (False, "")
    another = LockFileElection(path)
    await another.acquire()
    assert (us.holds(), another.holds()) == (False, True)
    await us.release()
    assert path.read_text() == f"{os.getpid()}\n"
    await another.release()


async def test_who_loses_it_can_have_it_again(path) -> None:
    us = LockFileElection(path)
    await us.acquire()
    path.unlink()
    await us.lost()
    await us.acquire()
    assert us.holds()
    await us.acquire()
    assert us.holds()
    await us.release()


async def test_a_file_that_is_replaced_while_it_is_locked_does_not_count(path, monkeypatch) -> None:
    real = fcntl.flock

    def replaced_meanwhile(fd: int, kind: int) -> None:
        real(fd, kind)
        monkeypatch.setattr(fcntl, "flock", real)
        path.unlink()

    monkeypatch.setattr(fcntl, "flock", replaced_meanwhile)
    seen = []
    us = LockFileElection(path, sleep=during(lambda: seen.append(us.reason)))
    await us.acquire()
    assert seen == [f"the lock file {str(path)!r}: it was replaced meanwhile"]
    assert us.holds()
    await us.release()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.symlink_to(path.parent / "elsewhere"), "Too many levels of symbolic links"),
        (os.mkfifo, "it is no regular file"),
    ],
)
async def test_what_cannot_be_a_lock_file_is_named_and_left_alone(path, spoil, why) -> None:
    spoil(path)
    us = LockFileElection(path, sleep=during(lambda: path.rmdir() if path.is_dir() else path.unlink()))
    with pytest.raises(LockFileUnusable) as caught:
        await us.__aenter__()
    assert str(caught.value) == f"the lock file {str(path)!r}: {why}"
    assert isinstance(caught.value, ValueError)
    assert not (path.parent / "elsewhere").exists()
    await us.acquire()
    assert us.holds()
    await us.release()


async def test_a_folder_that_does_not_exist_is_told(tmp_path) -> None:
    with pytest.raises(LockFileUnusable, match="No such file or directory"):
        await LockFileElection(tmp_path / "none" / "lock").__aenter__()


async def test_a_file_system_without_locks_is_told(path, monkeypatch) -> None:
    def refuse(fd: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, "text that is not ours")

    monkeypatch.setattr(fcntl, "flock", refuse)
    us = LockFileElection(path, sleep=during(monkeypatch.undo))
    await us.acquire()
    assert us.holds()
    monkeypatch.setattr(fcntl, "flock", refuse)
    second = LockFileElection(path, sleep=during(lambda: (_ for _ in ()).throw(TimeoutError)))
    with pytest.raises(TimeoutError):
        await second.acquire()
    assert second.reason == f"the lock file {str(path)!r}: No locks available"
    await us.release()


async def test_a_full_disk_keeps_nobody_from_leading(path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    us = LockFileElection(path)
    monkeypatch.setattr(os, "pwrite", full)
    monkeypatch.setattr(os, "truncate", full)
    await us.acquire()
    assert us.holds()
    await us.release()
    await us.release()
    assert not us.holds()


def test_a_second_looks_time_after_time(path) -> None:
    async def story() -> None:
        first, second = LockFileElection(path), LockFileElection(path)
        await first.acquire()
        getting = asyncio.create_task(second.acquire())
        losing = asyncio.create_task(first.lost())
        await asyncio.sleep(10)
        assert (getting.done(), losing.done()) == (False, False)
        await first.release()
        await getting
        await losing
        assert asyncio.get_running_loop().time() <= 11
        await second.release()

    run_virtual(story())


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_descriptors_do_not_pile_up(path) -> None:
    first = LockFileElection(path)
    await first.acquire()
    before = descriptors()
    second = LockFileElection(path, sleep=during(*[lambda: None] * 20, first._close))
    await second.acquire()
    assert descriptors() == before
    await second.release()
    assert descriptors() == before - 1
