"""Election by a locked file, for processes of one machine that have no Kubernetes to ask.

The kernel keeps the lock, and lets go of it when its process ends, however that ends; a process that is
only stopped goes on leading. Stands here and not among the clients of servers: there is no server, nothing
of it is a sink's, and no other module opens the file.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

RETRY: Final = 1.0
"""Seconds between two looks at the file."""

_MODE: Final = 0o600
# NB: without O_NONBLOCK a device somebody put there could hang us.
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LONGEST_NAME: Final = 64


class LockFileUnusable(ValueError):
    """The file cannot be made or opened. The message names it, and says why."""


class LockFileElection:
    """Leads while it has the lock on the file at `path`; in the file is its process id, for people.

    Entering raises `LockFileUnusable`. What keeps `acquire` waiting is in `reason`.
    """

    def __init__(self, path: Path, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._path = path
        self._sleep = sleep
        self._fd: int | None = None
        self._known = ""
        self.reason = ""

    @property
    def holder(self) -> str:
        """The process id of whoever leads."""
        return str(os.getpid()) if self.holds() else self._known

    async def acquire(self) -> None:
        self._close()
        while not self._try():
            await self._sleep(RETRY)

    async def lost(self) -> None:
        while self.holds():
            await self._sleep(RETRY)

    def holds(self) -> bool:
        """Whether we have the lock, and that on the file which others would find at the path."""
        return self._fd is not None and _is_at(self._path, self._fd)

    async def release(self) -> None:
        if self._fd is not None:
            with suppress(OSError):
                os.truncate(self._fd, 0)
        self._close()

    async def __aenter__(self) -> Self:
        os.close(_opened(self._path))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.release()

    def _try(self) -> bool:
        try:
            fd = _opened(self._path)
        except LockFileUnusable as error:
            self._known, self.reason = "", str(error)
            return False
        self._known, self.reason = _look(self._path, fd)
        if self.reason:
            os.close(fd)
            return False
        self._fd = fd
        return True

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _opened(path: Path) -> int:
    try:
        fd = os.open(path, _FLAGS, _MODE)
    except OSError as error:
        raise LockFileUnusable(f"the lock file {str(path)!r}: {os.strerror(error.errno or 0)}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise LockFileUnusable(f"the lock file {str(path)!r}: it is no regular file")
    return fd


def _look(path: Path, fd: int) -> tuple[str, str]:
    """Who has the lock, and why we cannot; both empty when it is ours now."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, _LONGEST_NAME, 0).decode("ascii", "replace").strip()
        return holder, f"process {holder} leads"
    except OSError as error:
        return "", f"the lock file {str(path)!r}: {os.strerror(error.errno or 0)}"
    if not _is_at(path, fd):
        return "", f"the lock file {str(path)!r}: it was replaced meanwhile"
    with suppress(OSError):  # a full disk: the lock is there without it
        os.truncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return "", ""


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(fd))
    except OSError:
        return False
