"""The steps that change a secret's folder, in an order that survives a kill at each of them.

Whoever opens `<folder>/<key>` finds the old set or the new one: links for new keys dangle
until the swap, those of dropped keys dangle after it. A change that was cut leaves a folder
that `state` knows how to judge, and that the next put or remove cleans up. The caller holds
the lock and has decided that the change is allowed.

`step` is called before every change to the disk; tests cut a write there.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from backends.contract import DesiredSecret
from backends.errors import SinkUnavailable, TargetUnavailable
from backends.file.folders import (
    OPEN_BASE,
    OPEN_FOLDER,
    base_exists,
    names_in,
    opened,
    opened_folder,
    read_folder,
)
from backends.file.marks import MARK_FILE, mark_bytes
from backends.file.state import (
    FILE_MODE,
    FOLDER_MODE,
    LIVE,
    NEW_LINK,
    NEW_LIVE,
    NEW_MARK,
    SET_PREFIX,
    Folder,
    is_set_name,
    link_to,
)
from backends.sending import may_send

Step = Callable[[str], None]

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def made_base(path: Path, step: Step) -> Iterator[int]:
    """The base folder, made where it is missing; its parent has to be there."""
    if not base_exists(path):
        step("make base")
        with suppress(FileExistsError):
            path.mkdir(FOLDER_MODE)
    with opened(path, OPEN_BASE) as fd:
        yield fd


@contextmanager
def made_folder(base: int, segments: tuple[str, ...], step: Step) -> Iterator[int]:
    """The folder of an address, made where it is missing, parents included.

    Raises `TargetUnavailable` where a folder on the way is a secret's itself: a secret in it
    could not be told from its keys.
    """
    with ExitStack() as stack:
        fd = base
        for depth, segment in enumerate(segments):
            if depth and any(name == LIVE or is_set_name(name) for name in names_in(fd)):
                raise TargetUnavailable(f"the folder {'/'.join(segments[:depth])!r} holds a secret itself")
            _make_folder(segment, fd, step)
            fd = stack.enter_context(opened(segment, OPEN_FOLDER, dir_fd=fd))
        yield fd


def _make_folder(name: str, parent: int, step: Step) -> None:
    step(f"make folder {name}")
    with suppress(FileExistsError):
        os.mkdir(name, FOLDER_MODE, dir_fd=parent)
        os.fsync(parent)


def replace_set(fd: int, desired: DesiredSecret, step: Step) -> None:
    """Make the desired set the live one, and the folder hold nothing else of ours.

    When the disk fails before the swap, or we may no longer write, what was begun is taken back.
    """
    before = read_folder(fd)
    try:
        step("set mode of folder")
        os.fchmod(fd, FOLDER_MODE)
        name = _write_set(fd, desired, step)
        for key in desired.data.keys() - before.links.keys() - before.others:
            step(f"link {key}")
            os.symlink(link_to(key), key, dir_fd=fd)
        may_send()
        _swap(fd, name, NEW_LIVE, LIVE, step)
        # What a person put where a link of ours belongs is replaced only after the swap: until
        # then it would be lost without anything in its place.
        for key in desired.data.keys() & ((before.links.keys() - before.our_links) | before.others):
            _swap(fd, link_to(key), NEW_LINK, key, step)
        tidy(fd, step)
    except (OSError, SinkUnavailable):
        with suppress(OSError):
            tidy(fd, step)
        raise


def _write_set(fd: int, desired: DesiredSecret, step: Step) -> str:
    """A whole new set, on the disk before this returns. The mark goes first: no value is unmarked."""
    name = SET_PREFIX + secrets.token_hex(16)
    step("make set")
    os.mkdir(name, FOLDER_MODE, dir_fd=fd)
    with opened(name, OPEN_FOLDER, dir_fd=fd) as set_fd:
        os.fchmod(set_fd, FOLDER_MODE)
        _write_file(set_fd, NEW_MARK, mark_bytes(desired.mark, desired.data), step)
        step("name mark")
        os.rename(NEW_MARK, MARK_FILE, src_dir_fd=set_fd, dst_dir_fd=set_fd)
        os.fsync(set_fd)
        for key, value in desired.data.items():
            _write_file(set_fd, key, value.reveal(), step)
        os.fsync(set_fd)
    return name


def _write_file(dir_fd: int, name: str, content: bytes, step: Step) -> None:
    step(f"open {name}")
    with opened(name, _NEW_FILE, dir_fd=dir_fd) as fd, os.fdopen(fd, "wb", closefd=False) as file:
        os.fchmod(fd, FILE_MODE)
        step(f"write {name}")
        file.write(content)
        file.flush()
        os.fsync(fd)


def _swap(fd: int, to: str, new: str, name: str, step: Step) -> None:
    """Let the link `name` point to `to`, from one moment to the next."""
    step(f"make {new}")
    with suppress(FileNotFoundError):
        os.unlink(new, dir_fd=fd)
    os.symlink(to, new, dir_fd=fd)
    step(f"swap {name}")
    os.rename(new, name, src_dir_fd=fd, dst_dir_fd=fd)
    os.fsync(fd)


def clear(fd: int, step: Step) -> None:
    """Take away the live set, for every reader at once, and then whatever else is ours."""
    step("unlink live")
    with suppress(FileNotFoundError):
        os.unlink(LIVE, dir_fd=fd)
    os.fsync(fd)
    tidy(fd, step)


def tidy(fd: int, step: Step) -> None:
    """Drop what is ours by its name and not, or no longer, part of the live set."""
    folder = read_folder(fd)
    for name in sorted(_stale_links(folder)):
        step(f"unlink {name}")
        os.unlink(name, dir_fd=fd)
    for name in sorted(folder.sets):
        if folder.sets[name] is not folder.live:
            _discard_set(fd, name, step)
    os.fsync(fd)


def _stale_links(folder: Folder) -> frozenset[str]:
    temporary = folder.links.keys() & {NEW_LIVE, NEW_LINK}
    if LIVE in folder.strangers:  # a takeover that failed: the links belong to what is there
        return frozenset(temporary)
    wanted = folder.live.keys if folder.live is not None else frozenset()
    return frozenset(temporary) | (folder.our_links - wanted)


def _discard_set(parent: int, name: str, step: Step) -> None:
    """Values first, the mark last: until nothing is left, it says whose they are."""
    with opened(name, OPEN_FOLDER, dir_fd=parent) as fd:
        for key in sorted(names_in(fd), key=lambda key: key == MARK_FILE):
            step(f"discard {key}")
            if stat.S_ISDIR(os.lstat(key, dir_fd=fd).st_mode):
                shutil.rmtree(key, dir_fd=fd)
            else:
                os.unlink(key, dir_fd=fd)
    step(f"discard {name}")
    os.rmdir(name, dir_fd=parent)


def prune(base: int, segments: tuple[str, ...], step: Step) -> None:
    """Remove the folder of an address and its parents, as far up as they are empty."""
    for depth in range(len(segments), 0, -1):
        with opened_folder(base, segments[: depth - 1]) as parent:
            if not isinstance(parent, int):
                continue
            step(f"remove folder {segments[depth - 1]}")
            try:
                os.rmdir(segments[depth - 1], dir_fd=parent)
            except FileNotFoundError:
                continue
            except OSError:  # not empty: the rest is needed, by us or by others
                return
