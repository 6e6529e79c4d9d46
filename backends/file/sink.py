"""The file sink: a folder of files for each secret, changed under one lock for each base folder.

Every call runs in a worker thread; one lock file in the base keeps other processes away
while it changes something. What a folder means is decided in `state`, the order of changes
in `writing`. `attributes` do not exist here: a folder has none.

A secret's folder cannot hold another secret's, so of the addresses `a` and `a/b` the one
that is there first is kept, and the other refused.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self, assert_never

from backends.contract import (
    Capabilities,
    DesiredSecret,
    Expectation,
    Finding,
    FindingLevel,
    ObservedSecret,
    Owner,
    TakeOver,
    Version,
)
from backends.errors import ForeignSecret, NameRefused, Refused, SinkUnavailable
from backends.file import writing
from backends.file.folders import (
    Blocked,
    find_folders,
    locked,
    opened_base,
    opened_folder,
    read_folder,
)
from backends.file.names import is_legal, split_address
from backends.file.options import CAPABILITIES, FileOptions
from backends.file.state import LIVE, Folder, observation
from backends.preconditions import owner_of, require_removable, require_writable
from backends.sending import may_send

_BATCH: Final = 100
"""Folders read between two yields of an inventory; bounds how many values are held."""
_BLOCKED: Final = Version("blocked")


def _no_step(_: str) -> None:
    return None


class FileSink:
    """A sink below `options.path`. `step` is told of every change to the disk before it is made."""

    def __init__(self, options: FileOptions, *, step: Callable[[str], None] = _no_step) -> None:
        self._path = options.path
        self._step = step
        # Threads of this process take turns here; those of others wait at the lock file.
        self._turn = asyncio.Lock()

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    async def check(self) -> tuple[Finding, ...]:
        """Whether the base folder, or the one it will be made in, may be written to."""
        return await asyncio.to_thread(_check, self._path)

    async def observe(self, owner: Owner, addresses: Collection[str]) -> Mapping[str, ObservedSecret]:
        """What is at these addresses. A file, a link, or a folder that holds others is foreign."""
        return await asyncio.to_thread(_observe, self._path, owner, addresses)

    async def inventory(self, owner: Owner) -> AsyncIterator[ObservedSecret]:
        """Every folder that carries our mark, also one a killed process left half written.

        A base folder that was never made is empty; a folder that cannot be read raises.
        """
        addresses = await asyncio.to_thread(_find, self._path)
        for start in range(0, len(addresses), _BATCH):
            batch = await self.observe(owner, addresses[start : start + _BATCH])
            for secret in batch.values():
                if secret.ours:
                    yield secret

    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        async with self._turn:
            return await asyncio.to_thread(_put, self._path, desired, expect, self._step)

    async def remove(self, observed: ObservedSecret) -> None:
        owner = owner_of(observed)
        async with self._turn:
            await asyncio.to_thread(_remove, self._path, observed, owner, self._step)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def _observe(path: Path, owner: Owner, addresses: Collection[str]) -> dict[str, ObservedSecret]:
    with _translated("read", path), opened_base(path) as base:
        if base is None:
            return {}
        found = {address: _observe_one(base, owner, address) for address in addresses}
    return {address: secret for address, secret in found.items() if secret is not None}


def _observe_one(base: int, owner: Owner, address: str) -> ObservedSecret | None:
    segments = _segments(address)
    with (
        _translated("read", address),
        locked(base, exclusive=False),
        opened_folder(base, segments) as fd,
    ):
        return _observed(_read(fd), address, owner)


def _find(path: Path) -> list[str]:
    with _translated("list", path), opened_base(path) as base:
        return [] if base is None else find_folders(base)


def _put(path: Path, desired: DesiredSecret, expect: Expectation, step: Callable[[str], None]) -> Version:
    address, segments = desired.address, _segments(desired.address)
    _require_legal_keys(desired)
    owner = Owner(instance=desired.mark.instance, source=desired.mark.source)
    may_send()
    with _translated("write", address), writing.made_base(path, step) as base, locked(base, exclusive=True):
        with opened_folder(base, segments) as fd:
            folder = _read(fd)
        require_writable(_observed(folder, address, owner), address, expect)
        _require_room(folder, desired, expect)
        may_send()
        try:
            with writing.made_folder(base, segments, step) as fd:
                writing.replace_set(fd, desired, step)
                return read_folder(fd).version
        except (OSError, SinkUnavailable):
            with suppress(OSError):
                writing.prune(base, segments, step)
            raise


def _remove(path: Path, observed: ObservedSecret, owner: Owner, step: Callable[[str], None]) -> None:
    address, segments = observed.address, _segments(observed.address)
    with _translated("remove", address), opened_base(path) as base:
        if base is None:
            return
        with locked(base, exclusive=True):
            with opened_folder(base, segments) as fd:
                folder = _read(fd)
                current = _observed(folder, address, owner)
                if current is not None:
                    require_removable(current, observed)
                may_send()
                if isinstance(fd, int):
                    writing.clear(fd, step)
            writing.prune(base, segments, step)


def _read(fd: int | Blocked | None) -> Folder | Blocked | None:
    return read_folder(fd) if isinstance(fd, int) else fd


def _observed(folder: Folder | Blocked | None, address: str, owner: Owner) -> ObservedSecret | None:
    match folder:
        case None:
            return None
        case Blocked():
            reason = "a file or a symbolic link is in its path"
            return ObservedSecret(address=address, version=_BLOCKED, mark=None, foreign=reason)
        case Folder():
            return observation(folder, address, owner)
        case _:
            assert_never(folder)


def _require_room(folder: Folder | Blocked | None, desired: DesiredSecret, expect: Expectation) -> None:
    """Raise `ForeignSecret` where something stands that even this change must not replace.

    A stranger's file is replaced where the live set has that key, because the place is ours
    then, and in a takeover. A folder is never replaced.
    """
    if folder is None:
        return
    if isinstance(folder, Blocked):
        raise ForeignSecret(f"{desired.address}: a file or a symbolic link is in its path")
    wanted = desired.data.keys() | {LIVE}
    in_the_way = folder.folders & wanted
    if isinstance(expect, TakeOver):
        in_the_way |= {name for name in folder.folders if is_legal(name)}
    else:
        in_the_way |= (folder.strangers & wanted) - (folder.live.keys if folder.live else frozenset())
    if in_the_way:
        raise ForeignSecret(f"{desired.address}: somebody else's {min(in_the_way)!r} is in the way")


def _require_legal_keys(desired: DesiredSecret) -> None:
    for key in desired.data:
        if not is_legal(key):
            raise Refused(f"{desired.address}: {key!r} cannot be the name of a file")


def _segments(address: str) -> tuple[str, ...]:
    try:
        return split_address(address)
    except NameRefused as error:
        raise Refused(str(error)) from None


@contextmanager
def _translated(verb: str, what: str | Path) -> Iterator[None]:
    """Only `SinkError`s leave. The text of an `OSError` is left behind: its cause says enough."""
    try:
        yield
    except OSError as error:
        cause = os.strerror(error.errno) if error.errno else type(error).__name__
        raise SinkUnavailable(f"cannot {verb} {str(what)!r}: {cause}") from None


def _check(path: Path) -> tuple[Finding, ...]:
    subject = str(path)
    try:
        with _translated("open", path), opened_base(path) as base:
            mode = None if base is None else os.fstat(base).st_mode
    except SinkUnavailable as error:
        return (Finding(level=FindingLevel.ERROR, subject=subject, detail=error.reason),)
    holder = path.parent if mode is None else path
    if not os.access(holder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        detail = f"{str(holder)!r} must be readable and writable"
        return (Finding(level=FindingLevel.ERROR, subject=subject, detail=detail),)
    if mode is not None and mode & 0o077:
        detail = f"its mode is {mode & 0o777:o}; 700 keeps the names of the secrets from others"
        return (Finding(level=FindingLevel.WARNING, subject=subject, detail=detail),)
    detail = "will be made" if mode is None else "readable and writable"
    return (Finding(level=FindingLevel.OK, subject=subject, detail=detail),)
