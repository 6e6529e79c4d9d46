"""Porter's `filesystem` plugin: one file for each secret, holding the raw bytes.

A key names a file directly in the folder, or nothing: no path, no link is followed.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from backends.contract import Finding, FindingLevel
from backends.secret_value import SecretValue
from syncer.core.errors import SourceError, SourceUnavailable

MAX_BYTES: Final = 64 * 1024 * 1024
"""Of one secret; no sink takes that much."""

_ABSENT: Final = "not in the store"
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SUBJECT: Final = "Porter secrets"


class FilesystemSecrets:
    """`core.ports.ValueResolver` over a folder, by default `secrets` in Porter's home."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def check(self) -> tuple[Finding, ...]:
        try:
            await self.resolve(())
        except SourceError as error:
            return (Finding(level=FindingLevel.ERROR, subject=_SUBJECT, detail=error.reason),)
        return (Finding(level=FindingLevel.OK, subject=_SUBJECT, detail=f"folder {self._folder}"),)

    async def resolve(self, keys: Collection[str]) -> Mapping[str, SecretValue | str]:
        return await asyncio.to_thread(self._resolve, keys)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def _resolve(self, keys: Collection[str]) -> dict[str, SecretValue | str]:
        try:
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise SourceUnavailable(
                f"Porter's secrets folder {self._folder} cannot be opened ({error.strerror})"
            ) from None
        try:
            return {key: _read(folder, key) for key in keys}
        finally:
            os.close(folder)


def _read(folder: int, key: str) -> SecretValue | str:
    if not _is_file_name(key):
        return _ABSENT
    try:
        descriptor = os.open(key, _FLAGS, dir_fd=folder)
    except FileNotFoundError:
        return _ABSENT
    except OSError as error:
        return f"its file in the store cannot be opened ({error.strerror})"
    try:
        return _content(descriptor)
    except OSError as error:
        return f"its file in the store cannot be read ({error.strerror})"
    finally:
        os.close(descriptor)


def _content(descriptor: int) -> SecretValue | str:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return "in the store it is no file"
    if status.st_size > MAX_BYTES:
        return f"in the store it has more than {MAX_BYTES} bytes"
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return SecretValue(file.read(MAX_BYTES))


def _is_file_name(key: str) -> bool:
    """Whether it can name a file at all; else nothing can be stored under it."""
    if key in {"", ".", ".."} or "/" in key or "\0" in key:
        return False
    try:
        return len(key.encode()) <= os.pathconf("/", "PC_NAME_MAX")
    except UnicodeEncodeError:
        return False
