"""The file system below the base folder: opening, reading, locking, never through a link.

Everything goes by descriptors of folders that were opened without following symbolic links,
so that nobody can lead a write out of the base. Raises `OSError`; `sink` translates.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backends.errors import SinkUnavailable
from backends.file.names import is_legal
from backends.file.state import FILE_MODE, FOLDER_MODE, LIVE, Folder, StoredSet, is_set_name
from backends.secret_value import SecretValue

LOCK_FILE: Final = "..syncer.lock"
LOCK_PATIENCE: Final = 10.0
"""Seconds to wait for another process that is writing below the same base."""
_LOCK_POLL: Final = 0.005

OPEN_BASE: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# NB: without O_NONBLOCK a FIFO somebody put there would hang the reader.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Blocked:
    """A file or a symbolic link stands where a folder of the address should be."""


@contextmanager
def opened(name: str | Path, flags: int, *, dir_fd: int | None = None) -> Iterator[int]:
    fd = os.open(name, flags, FILE_MODE, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def base_exists(path: Path) -> bool:
    """Whether the base folder was ever made.

    Raises `SinkUnavailable` where its parent is missing too: then something is not mounted.
    """
    if os.path.lexists(path):
        return True
    if not path.parent.is_dir():
        raise SinkUnavailable(f"there is no folder {str(path.parent)!r} to hold the sink's folder")
    return False


@contextmanager
def opened_base(path: Path) -> Iterator[int | None]:
    """The base folder, None where it was never made. It may be a symbolic link: it is configured."""
    if not base_exists(path):
        yield None
        return
    with opened(path, OPEN_BASE) as fd:
        yield fd


@contextmanager
def opened_folder(base: int, segments: tuple[str, ...]) -> Iterator[int | Blocked | None]:
    """The folder of an address, None where there is none."""
    with ExitStack() as stack:
        yield _descend(base, segments, stack)


def _descend(base: int, segments: tuple[str, ...], stack: ExitStack) -> int | Blocked | None:
    fd = base
    for segment in segments:
        try:
            fd = stack.enter_context(opened(segment, OPEN_FOLDER, dir_fd=fd))
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                return Blocked()
            raise
    return fd


@contextmanager
def locked(base: int, *, exclusive: bool) -> Iterator[None]:
    """Hold the lock every writer below this base holds; readers share it.

    Where it was never made nobody has written, and a reader needs none. It ends with its
    process. Raises `SinkUnavailable` when it cannot be had in `LOCK_PATIENCE`.
    """
    flags = os.O_RDWR | os.O_CREAT if exclusive else os.O_RDONLY
    try:
        fd = os.open(LOCK_FILE, flags | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE, dir_fd=base)
    except FileNotFoundError:
        yield
        return
    try:
        _acquire(fd, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


def _acquire(fd: int, kind: int) -> None:
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise SinkUnavailable("another process keeps the sink's folder locked") from None
            time.sleep(_LOCK_POLL)
        else:
            return


def names_in(fd: int) -> list[str]:
    return sorted(os.listdir(fd))


def read_folder(fd: int) -> Folder:
    """Everything in a secret's folder, the bytes included."""
    sets: dict[str, StoredSet] = {}
    links: dict[str, str] = {}
    others: set[str] = set()
    folders: set[str] = set()
    own = os.fstat(fd)
    stamps = [_stamp("", own, times=False)]
    for name in names_in(fd):
        found = os.lstat(name, dir_fd=fd)
        stamps.append(_stamp(name, found, times=not stat.S_ISDIR(found.st_mode)))
        if stat.S_ISLNK(found.st_mode):
            links[name] = os.readlink(name, dir_fd=fd)
        elif stat.S_ISDIR(found.st_mode) and is_set_name(name):
            sets[name] = _read_set(fd, name, stamps)
        else:
            others.add(name)
            if stat.S_ISDIR(found.st_mode):
                folders.add(name)
    return Folder(
        sets=sets,
        links=links,
        others=frozenset(others),
        folders=frozenset(folders),
        sound=stat.S_IMODE(own.st_mode) == FOLDER_MODE,
        stamp="\n".join(stamps),
    )


def _read_set(parent: int, name: str, stamps: list[str]) -> StoredSet:
    files: dict[str, SecretValue] = {}
    with opened(name, OPEN_FOLDER, dir_fd=parent) as fd:
        sound = stat.S_IMODE(os.fstat(fd).st_mode) == FOLDER_MODE
        for key in names_in(fd):
            found = os.lstat(key, dir_fd=fd)
            stamps.append(_stamp(f"{name}/{key}", found, times=True))
            if stat.S_ISREG(found.st_mode):
                files[key] = _read_file(key, fd)
            sound = sound and found.st_mode == stat.S_IFREG | FILE_MODE
    return StoredSet(files=files, sound=sound)


def _read_file(name: str, dir_fd: int) -> SecretValue:
    with opened(name, _FILE, dir_fd=dir_fd) as fd, os.fdopen(fd, "rb", closefd=False) as file:
        return SecretValue(file.read())


def _stamp(name: str, found: os.stat_result, *, times: bool) -> str:
    """What changes when a name's content does. The times of a folder say nothing its names do not."""
    when = (found.st_size, found.st_mtime_ns, found.st_ctime_ns) if times else ()
    return f"{name!a}:{found.st_ino}:{found.st_mode:o}:{when}"


def find_folders(base: int) -> list[str]:
    """The addresses of all folders that hold a set, live or not. Raises where one cannot be read."""
    found: list[str] = []
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        segments = waiting.pop()
        with opened_folder(base, segments) as fd:
            if not isinstance(fd, int):  # gone, or replaced, since it was listed
                continue
            with os.scandir(fd) as entries:
                names = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        if segments and any(name == LIVE or is_set_name(name) for name in names):
            found.append("/".join(segments))
        waiting += [(*segments, name) for name, folder in names.items() if folder and is_legal(name)]
    return sorted(found)
