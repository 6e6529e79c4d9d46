"""A sink of a package of its own: found by its entry point, configured like ours, held to the same contract.

The package is the example in `examples/third-party-sink`, installed as an installer leaves it: the module
and its metadata in a folder on the path. Building a wheel of it is left out.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import tomllib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from backends.loading import find_kind
from backends.testing import OpenRig, Raw, Rig, SinkContract
from syncer.cli import main

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/third-party-sink"
QUICKSTART = ROOT / "examples/quickstart"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package in a folder of its own, on the path for this test."""
    folder = tmp_path / "site"
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    metadata = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    shutil.copy(EXAMPLE / "sqlite_sink.py", folder)
    about = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (metadata / "METADATA").write_text(about)
    groups = project["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups]
    (metadata / "entry_points.txt").write_text("".join(lines))
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("sqlite_sink", None)


class SqliteRig(Rig):
    """Somebody else has the database open, too."""

    def __init__(self, path: Path) -> None:
        kind = find_kind("sqlite")
        self.path = path
        super().__init__(sink=kind.create(kind.options(path=path)), kind=kind)

    def address(self, number: int) -> str:
        return f"shop/orders-{number}"

    async def plant_foreign(self, address: str, data: Mapping[str, bytes]) -> None:
        self._execute("INSERT INTO secrets VALUES (?, 1, '{}', ?)", address, hexed(data))

    async def tamper(self, address: str, data: Mapping[str, bytes]) -> None:
        change = "UPDATE secrets SET version = version + 1, data = ? WHERE address = ?"
        self._execute(change, hexed(data), address)

    async def rewrite_mark(self, address: str, fields: Mapping[str, str]) -> None:
        change = "UPDATE secrets SET version = version + 1, mark = ? WHERE address = ?"
        self._execute(change, json.dumps(dict(fields)), address)

    async def raw(self, address: str) -> Raw | None:
        found = self._execute("SELECT data, version, mark FROM secrets WHERE address = ?", address)
        if not found:
            return None
        data = {key: bytes.fromhex(text) for key, text in json.loads(found[0][0]).items()}
        return Raw(data=data, state=repr(found[0][1:]))

    def _execute(self, statement: str, *values: object) -> list:
        with closing(sqlite3.connect(self.path)) as database, database:
            table = "CREATE TABLE IF NOT EXISTS secrets (address TEXT PRIMARY KEY, version, mark, data)"
            database.execute(table)
            return database.execute(statement, values).fetchall()


def hexed(data: Mapping[str, bytes]) -> str:
    return json.dumps({key: content.hex() for key, content in data.items()})


class TestThirdPartySink(SinkContract):
    @pytest.fixture
    def open_rig(self, installed, tmp_path) -> OpenRig:
        @asynccontextmanager
        async def opened() -> AsyncIterator[SqliteRig]:
            rig = SqliteRig(tmp_path / "secrets.db")
            async with rig.sink:
                yield rig

        return opened


def test_it_is_configured_and_written_to_like_one_of_ours(installed, tmp_path, capsys):
    config = {
        "instance": "third-party",
        "source": {
            "kind": "dump",
            "path": str(QUICKSTART / "dump"),
            "secrets": {"kind": "filesystem", "path": str(QUICKSTART / "secrets")},
        },
        "sinks": [{"name": "rows", "kind": "sqlite", "path": "secrets.db"}],
        "rules": [{"name": "all", "match": {"namespaces": ["shop"]}, "targets": [{"sink": "rows"}]}],
    }
    path = tmp_path / "syncer.yaml"
    path.write_text(json.dumps(config))
    assert main(["once", "-c", str(path)]) == 0, capsys.readouterr().err
    with closing(sqlite3.connect(tmp_path / "secrets.db")) as database:
        rows = dict(database.execute("SELECT address, data FROM secrets"))
    assert set(rows) == {"shop/orders-db", "shop/Odd_Clean.Install"}
    assert bytes.fromhex(json.loads(rows["shop/orders-db"])["admin-password"]) == b"battery staple"


def test_without_the_package_its_kind_is_unknown():
    with pytest.raises(LookupError, match="no kind of sink 'sqlite'"):
        find_kind("sqlite")
