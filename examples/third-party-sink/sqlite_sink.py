"""An example of a third party's sink: rows of one table in a SQLite database.

Shows the whole of the contract in its smallest form. Each call is one transaction, so that mark and
data are written together and a write names the version it replaces.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict

from backends.contract import (
    Capabilities,
    DesiredSecret,
    Expectation,
    Finding,
    FindingLevel,
    Layout,
    ObservedSecret,
    Owner,
    SinkKind,
    TargetOptions,
    TargetShape,
    Version,
)
from backends.errors import NameRefused, SinkUnavailable
from backends.marking import mark_fields, parse_mark
from backends.preconditions import owner_of, require_removable, require_writable
from backends.secret_value import SecretValue

CAPABILITIES: Final = Capabilities(
    compare_and_set=True,
    atomic_mark=True,
    lists_values=True,
    layouts=frozenset({Layout.BUNDLE}),
    max_secret_bytes=None,
    max_value_bytes=None,
    max_address_length=None,
    max_key_length=None,
)

_TABLE: Final = """CREATE TABLE IF NOT EXISTS secrets (
    address TEXT PRIMARY KEY, version INTEGER NOT NULL, mark TEXT NOT NULL, data TEXT NOT NULL)"""
_WRITE: Final = "INSERT OR REPLACE INTO secrets VALUES (?, ?, ?, ?)"

_Answer = TypeVar("_Answer")


class SqliteOptions(BaseModel):
    """What the configuration may say about the sink."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path


class SqliteTarget(TargetOptions):
    """What it may say about a target."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "{namespace}/{installation}"

    def shape(self) -> TargetShape:
        return TargetShape(parts=(self.name,), layout=Layout.BUNDLE)


class SqliteNaming:
    """Every name is legal but the empty one."""

    global_namespace: str | None = "_global"

    def address(self, parts: tuple[str, ...]) -> str:
        return self.key(parts[0])

    def key(self, name: str) -> str:
        if not name:
            raise NameRefused("the name is empty")
        return name

    def same(self, address: str) -> str:
        return address


class SqliteSink:
    def __init__(self, options: SqliteOptions) -> None:
        self._path = options.path

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def check(self) -> tuple[Finding, ...]:
        await self._in_transaction(lambda _: None)
        return (Finding(level=FindingLevel.OK, subject=str(self._path), detail="can be written"),)

    async def observe(self, owner: Owner, addresses: Collection[str]) -> Mapping[str, ObservedSecret]:
        def read(database: sqlite3.Connection) -> dict[str, ObservedSecret]:
            found = ((address, _read(database, address, owner)) for address in addresses)
            return {address: secret for address, secret in found if secret is not None}

        return await self._in_transaction(read)

    async def inventory(self, owner: Owner) -> AsyncIterator[ObservedSecret]:
        def addresses(database: sqlite3.Connection) -> list[str]:
            return [row[0] for row in database.execute("SELECT address FROM secrets")]

        for secret in (await self.observe(owner, await self._in_transaction(addresses))).values():
            if secret.ours:
                yield secret

    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        owner = Owner(instance=desired.mark.instance, source=desired.mark.source)

        def write(database: sqlite3.Connection) -> Version:
            current = _read(database, desired.address, owner)
            require_writable(current, desired.address, expect)
            number = int(current.version.token) + 1 if current else 1
            data = {key: value.reveal().hex() for key, value in desired.data.items()}
            mark = json.dumps(mark_fields(desired.mark))
            database.execute(_WRITE, (desired.address, number, mark, json.dumps(data)))
            return Version(str(number))

        return await self._in_transaction(write)

    async def remove(self, observed: ObservedSecret) -> None:
        owner = owner_of(observed)

        def delete(database: sqlite3.Connection) -> None:
            current = _read(database, observed.address, owner)
            if current is not None:
                require_removable(current, observed)
                database.execute("DELETE FROM secrets WHERE address = ?", (observed.address,))

        await self._in_transaction(delete)

    async def _in_transaction(self, act: Callable[[sqlite3.Connection], _Answer]) -> _Answer:
        def run() -> _Answer:
            with _translated(), closing(sqlite3.connect(self._path, isolation_level=None)) as database:
                database.execute(_TABLE)
                database.execute("BEGIN IMMEDIATE")
                with database:
                    return act(database)

        return await asyncio.to_thread(run)


def _read(database: sqlite3.Connection, address: str, owner: Owner) -> ObservedSecret | None:
    row = database.execute("SELECT version, mark, data FROM secrets WHERE address = ?", (address,)).fetchone()
    if row is None:
        return None
    mark, foreign = parse_mark(json.loads(row[1]), address, owner)
    data = {key: SecretValue(bytes.fromhex(text)) for key, text in json.loads(row[2]).items()}
    return ObservedSecret(
        address=address,
        version=Version(str(row[0])),
        mark=mark,
        foreign=foreign,
        data=data if foreign is None else None,
    )


@contextmanager
def _translated() -> Iterator[None]:
    """Only `SinkError`s leave a sink, and none with a text that could hold a value."""
    try:
        yield
    except sqlite3.Error as error:
        raise SinkUnavailable(f"the database does not work ({type(error).__name__})") from None


KIND = SinkKind(
    kind="sqlite",
    options=SqliteOptions,
    target=SqliteTarget,
    capabilities=CAPABILITIES,
    naming=lambda _: SqliteNaming(),
    create=SqliteSink,
)
