"""The contract, shown by the file sink on a real file system.

Somebody else is played with plain file operations. What only files do (kills, links, modes,
other processes) is in the unit tests of the file sink.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backends.file import KIND
from backends.file.names import FileNaming
from backends.file.options import FileOptions
from backends.file.sink import FileSink
from backends.testing import OpenRig, Raw, Rig, SinkContract


class FileRig(Rig):
    def __init__(self, base: Path) -> None:
        super().__init__(sink=FileSink(FileOptions(path=base)), kind=KIND)
        self.base = base

    def address(self, number: int) -> str:
        return FileNaming().address(("shop", f"orders-{number}"))

    async def plant_foreign(self, address: str, data: Mapping[str, bytes]) -> None:
        folder = self.base / address
        folder.mkdir(parents=True)
        for key, content in data.items():
            (folder / key).write_bytes(content)

    async def tamper(self, address: str, data: Mapping[str, bytes]) -> None:
        live = self.base / address / "..data"
        for path in live.iterdir():
            if path.name != "..syncer.json":
                path.unlink()
        for key, content in data.items():
            (live / key).write_bytes(content)
            (live / key).chmod(0o600)

    async def rewrite_mark(self, address: str, fields: Mapping[str, str]) -> None:
        mark = self.base / address / "..data" / "..syncer.json"
        if fields:
            mark.write_text(json.dumps(fields))
        else:
            mark.unlink()

    async def raw(self, address: str) -> Raw | None:
        folder = self.base / address
        if not folder.is_dir():
            return None
        keys = [path.name for path in sorted(folder.iterdir()) if not path.name.startswith("..")]
        stats = [(str(path), path.lstat()) for path in sorted(folder.rglob("*"))]
        state = [(path, found.st_ino, found.st_mtime_ns, found.st_mode) for path, found in stats]
        return Raw(data={key: (folder / key).read_bytes() for key in keys}, state=repr(state))


class TestFileSink(SinkContract):
    @pytest.fixture
    def open_rig(self, tmp_path: Path) -> OpenRig:
        @asynccontextmanager
        async def opened() -> AsyncIterator[FileRig]:
            rig = FileRig(tmp_path / "out")
            async with rig.sink:
                yield rig

        return opened
