"""A server that speaks MongoDB's wire protocol, keeps everything in memory and counts what it is asked.

It is mongo-java-server behind a launcher of our own (`java/`), not MongoDB: it reports version 4.4, has
change streams, indexes on key prefixes and fail points, and lacks users, transactions, rollback, explain
and replica sets. Its data ends with it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pymongo import MongoClient

from tests.servers import builds, mongodump
from tests.servers.processes import Child

_READY_SECONDS = 30
_HOST_UNREACHABLE = 6  # an error code on which a driver retries a read once


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What one database was asked, and what it gave."""

    commands: Mapping[str, int]
    """How often each command came: find, getMore, aggregate, insert, ... (a fault's refusals included)."""

    requests: Mapping[str, int]
    """Commands by the collection they were for."""

    documents: Mapping[str, int]
    """Documents returned, by collection."""

    fields: Mapping[str, Mapping[str, int]]
    """How many of the returned documents held each top-level field, by collection."""

    def returned(self, collection: str, field_name: str) -> int:
        """How many documents left this collection with this field, e.g. outputs with their value."""
        return self.fields.get(collection, {}).get(field_name, 0)


@dataclass
class MongoServer:
    """One running server; `start` makes it, `stop` ends it and its data."""

    port: int
    client: MongoClient[dict[str, Any]] = field(repr=False)
    """An administrator's client; what it asks is counted like everybody's."""
    _scratch: tempfile.TemporaryDirectory[str] = field(repr=False)
    _child: Child = field(repr=False)

    @classmethod
    def start(cls, *, heap: str = "1g", change_streams: bool = True) -> Self:
        """Builds it if need be, and starts it on a port of its own (about 0.5 s). `heap` is Java's -Xmx."""
        jars = builds.mongo_server()
        options = ["-XX:+UseParallelGC", f"-Xmx{heap}", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]
        flags = [] if change_streams else ["--no-change-streams"]
        command = [builds.java(), *options, "-cp", f"{jars}/*", "testrig.Launcher", *flags]
        scratch = tempfile.TemporaryDirectory(prefix="mongo-server-")
        child = Child.start("mongo-server", command, Path(scratch.name))
        try:
            port = int(child.wait_for_line(r"^port (\d+)$", _READY_SECONDS))
        except BaseException:
            child.stop(grace=0)
            scratch.cleanup()
            raise
        return cls(port, MongoClient("127.0.0.1", port), scratch, child)

    def url(self, database: str) -> str:
        """The connection URL of a database, which need not exist yet."""
        return f"mongodb://127.0.0.1:{self.port}/{database}"

    def load_dump(self, folder: Path, database: str) -> None:
        """Restores a mongodump folder, documents and indexes, into a new database."""
        mongodump.restore(folder, self.client[database])

    def drop(self, database: str) -> None:
        """Removes a database with its counters."""
        self.client.drop_database(database)
        self.counters(database, reset=True)

    def counters(self, database: str, *, reset: bool = False) -> Counters:
        """What this database was asked since it began, or since the last `reset`; asking is not counted."""
        answer = self.client[database].command("serverCounters", reset=reset)
        parts = ("commands", "requests", "documents", "fields")
        return Counters(**{part: answer[part] for part in parts})

    def set_change_streams(self, *, enabled: bool) -> None:
        """Without them the server refuses change streams as a standalone MongoDB does (code 40573).

        NB: each wake-up of a stream reads the whole history of writes: load large data with them off.
        """
        self.client.admin.command("setChangeStreams", enabled)

    @contextmanager
    def failing(
        self,
        *commands: str,
        times: int | None = None,
        code: int = _HOST_UNREACHABLE,
        disconnect: bool = False,
    ) -> Iterator[None]:
        """Inside the block these commands fail, `times` times or always: with a code, or by a lost connection.

        Drivers retry a failed find once, so `times=1` may go unseen; a getMore is never retried.
        """
        mode = "alwaysOn" if times is None else {"times": times}
        data = {"failCommands": commands, "errorCode": code, "closeConnection": disconnect}
        self.client.admin.command("configureFailPoint", "failCommand", mode=mode, data=data)
        try:
            yield
        finally:
            self.client.admin.command("configureFailPoint", "failCommand", mode="off")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside the block the server accepts connections and answers nothing."""
        with self._child.paused():
            yield

    def log_tail(self) -> str:
        """The last lines of the server's log."""
        return self._child.log_tail()

    def stop(self) -> None:
        """Ends the server; its data is gone."""
        self.client.close()
        self._child.stop(grace=0)
        self._scratch.cleanup()
