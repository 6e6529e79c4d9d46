"""Porter's database as plain data, changed as Porter changes it, and a source that reads it.

Simulates lives of installations, outputs that arrive after their result, removal in four steps, backups
that are restored, and reads that are slow, fail at any wait, or find a database that is not the one.
Excludes Porter's documents (tests/unit/sources). What an installation publishes is said a second time
here, in `published`, so that the product is not compared with itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Self, TypeVar

from backends.contract import Finding
from backends.secret_value import SecretValue
from syncer.core.errors import SourceUnavailable
from syncer.core.model import (
    Declaration,
    Found,
    Installation,
    InstallationKey,
    InstallationRef,
    InstallationState,
    Loaded,
    Missing,
    OutputRef,
    OutputState,
    Result,
)
from tests.unit.sources.porter_world import NOW, ulid

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The document of an installation."""

    id: str
    uninstalled: bool = False
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A succeeded result, what its bundle declares, and the bytes that belong to it."""

    id: str
    action: str
    modifies: bool
    declares: frozenset[str]
    content: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Published:
    """What one life of an installation is to publish at some moment: output name to bytes."""

    id: str
    result_id: str
    content: tuple[tuple[str, bytes], ...]


@dataclass
class Database:
    """Results and outputs are filed under names, as Porter does: a new life finds those of an old one."""

    records: dict[InstallationKey, Record] = field(default_factory=dict)
    results: dict[InstallationKey, tuple[Written, ...]] = field(default_factory=dict)
    """Newest first."""
    outputs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """By result and name: those whose documents were written."""

    def copy(self) -> Database:
        return Database(dict(self.records), dict(self.results), dict(self.outputs))

    def of_this_life(self, key: InstallationKey) -> tuple[Written, ...]:
        return tuple(one for one in self.results.get(key, ()) if one.id >= self.records[key].id)

    def published(self, key: InstallationKey) -> Published | None:
        """None: nothing (uninstalled, or nothing succeeded yet)."""
        results = self.of_this_life(key) if key in self.records else ()
        newest = next((one for one in results if one.modifies), None)
        if newest is None or newest.action == "uninstall" or self.records[key].uninstalled:
            return None
        content: dict[str, bytes] = {}
        for one in results:
            if one.action == "uninstall":
                break
            for name in one.content.keys() & newest.declares:
                content.setdefault(name, one.content[name])
        return Published(self.records[key].id, results[0].id, tuple(sorted(content.items())))

    def lacks(self, key: InstallationKey) -> bool:
        """Whether a document is missing that something published needs."""
        published, missing = self.published(key), set[str]()
        for name, _ in published.content if published else ():
            holder = next(one for one in self.results[key] if name in one.content)
            missing |= {name} if (holder.id, name) not in self.outputs else set()
        return bool(missing)

    def loaded(self, key: InstallationKey) -> Installation:
        record, results = self.records[key], self.of_this_life(key)
        newest = next((one for one in results if one.modifies), None)
        return Installation(
            key=key,
            id=record.id,
            labels={},
            state=InstallationState.UNINSTALLED if record.uninstalled else InstallationState.INSTALLED,
            results=tuple(_result(one) for one in results),
            declared={
                name: Declaration(sensitive=True, type="string")
                for name in sorted(newest.declares if newest else ())
            },
            last_run_failed=record.failed,
        )


def _result(written: Written) -> Result:
    return Result(
        id=written.id,
        run_id=f"run-{written.id}",
        action=written.action,
        modifies=written.modifies,
        # NB: of an empty output Porter records no digest.
        outputs={
            name: hashlib.sha256(content).hexdigest() if content else None
            for name, content in written.content.items()
        },
    )


class Porter:
    """Whoever runs Porter. `moved` is called after everything that changes what is published."""

    def __init__(self, clock: Callable[[], float], moved: Callable[[InstallationKey], None]) -> None:
        self.database = Database()
        self._clock = clock
        self._moved = moved
        self._count = 0
        self._backup = self.database.copy()
        self._removing: dict[InstallationKey, int] = {}
        self.listeners: set[asyncio.Queue[InstallationKey]] = set()

    def new_id(self) -> str:
        self._count += 1
        return ulid(self._count, seconds=NOW + self._clock())

    def run(
        self, key: InstallationKey, action: str, names: Collection[str], declares: Collection[str], lag: float
    ) -> None:
        """A run that succeeds; its outputs arrive one by one, `lag` seconds apart. `ping` modifies nothing."""
        database = self.database
        if key not in database.records:
            database.records[key] = Record(id=self.new_id())
        modifies = action != "ping"
        identity = self.new_id()
        content = {name: self._bytes(name, identity) for name in names} if action != "uninstall" else {}
        written = Written(
            id=identity,
            action=action,
            modifies=modifies,
            declares=frozenset(declares) | content.keys(),
            content=content,
        )
        record = database.records[key]
        database.results[key] = (written, *database.results.get(key, ()))
        if modifies:
            record = replace(record, uninstalled=action == "uninstall")
        database.records[key] = replace(record, failed=False)
        self._tell(key)
        for place, name in enumerate(sorted(content), 1):
            if lag:
                asyncio.get_running_loop().call_later(place * lag, self._arrive, key, written, name)
            else:
                self._arrive(key, written, name)

    def fail(self, key: InstallationKey) -> None:
        """A run that does not succeed changes nothing but the installation's document."""
        if key in self.database.records:
            self.database.records[key] = replace(self.database.records[key], failed=True)
            self._tell(key)

    def remove(self, key: InstallationKey) -> None:
        """The next of the four steps: installation, runs, results, outputs (here the last two are one)."""
        step = self._removing.get(key, 0)
        if step == 0 and key in self.database.records:
            del self.database.records[key]
            self._removing[key] = 1
        elif step == 1:
            self.database.results.pop(key, None)
            del self._removing[key]
        self._tell(key, wakes=False)

    def back_up(self) -> None:
        self._backup = self.database.copy()

    def restore(self) -> None:
        """The whole database goes back."""
        self.database = self._backup.copy()
        self._removing.clear()
        for key in self.database.records:
            self._tell(key, wakes=False)

    def _arrive(self, key: InstallationKey, written: Written, name: str) -> None:
        if written in self.database.results.get(key, ()):
            self.database.outputs[written.id, name] = written.content[name]

    def _bytes(self, name: str, result_id: str) -> bytes:
        return b"" if name == "empty" else f"{name} of {result_id}".encode()

    def _tell(self, key: InstallationKey, *, wakes: bool = True) -> None:
        self._moved(key)
        if wakes:
            for listener in self.listeners:
                listener.put_nowait(key)


class Reads(Enum):
    """How reads of the source go."""

    WORK = "work"
    FAIL = "fail"
    FLAKY = "every other one fails"
    SLOW = "slow"
    FIND_NOTHING = "the database is empty"


@dataclass
class Evidence:
    """What the source answered to one process, and when."""

    lists: list[tuple[float, Mapping[InstallationKey, str]]] = field(default_factory=list)
    loads: dict[InstallationKey, list[tuple[float, Loaded | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )


@dataclass
class Server:
    """Where Porter's database is; `stop` holds back whoever is dead."""

    porter: Porter
    reads: Reads = Reads.WORK
    tells: bool = True
    """Whether it tells by itself what is new."""

    @property
    def view(self) -> Database:
        return Database() if self.reads is Reads.FIND_NOTHING else self.porter.database


class SimSource:
    """One process' connection to the server."""

    fingerprint = "sim"

    def __init__(self, server: Server, evidence: Evidence, *, alive: Callable[[], bool]) -> None:
        self._server = server
        self._evidence = evidence
        self._alive = alive
        self._seen: set[str] | None = None

    @property
    def changes(self) -> Self:
        return self

    async def check(self) -> tuple[Finding, ...]:
        return ()

    async def list(self) -> Sequence[InstallationRef]:
        records = await self._answer(lambda: dict(self._server.view.records))
        self._evidence.lists.append((_now(), {key: record.id for key, record in records.items()}))
        return [InstallationRef(key, record.id, stamp=repr(record)) for key, record in records.items()]

    async def load(self, keys: Collection[InstallationKey]) -> Mapping[InstallationKey, Loaded]:
        def found() -> dict[InstallationKey, Loaded]:
            view = self._server.view
            return {key: view.loaded(key) for key in keys if key in view.records}

        loaded = await self._answer(found)
        for key in keys:
            self._evidence.loads[key].append((_now(), loaded.get(key)))
        return loaded

    async def values(self, wanted: Collection[OutputRef]) -> Mapping[OutputRef, OutputState]:
        def found() -> dict[OutputRef, OutputState]:
            outputs = self._server.view.outputs
            places = {ref: (ref.result_id, ref.name) for ref in wanted}
            return {
                ref: Found(SecretValue(outputs[place])) if place in outputs else Missing()
                for ref, place in places.items()
            }

        return await self._answer(found)

    async def poll(self) -> frozenset[InstallationKey]:
        results = await self._answer(lambda: dict(self._server.view.results))
        there = {one.id: key for key, written in results.items() for one in written}
        new = frozenset(key for identity, key in there.items() if identity not in (self._seen or ()))
        first, self._seen = self._seen is None, (self._seen or set()) | there.keys()
        return frozenset() if first else new

    async def wakes(self) -> AsyncIterator[frozenset[InstallationKey]]:
        heard: asyncio.Queue[InstallationKey] = asyncio.Queue()
        self._server.porter.listeners.add(heard)
        try:
            while True:
                key = await heard.get()
                if self._server.tells:
                    yield frozenset({key})
        finally:
            self._server.porter.listeners.discard(heard)

    async def _answer(self, make: Callable[[], Answer]) -> Answer:
        await self._travel()
        answer = make()
        await self._travel()
        return answer

    async def _travel(self) -> None:
        if not self._alive():
            await asyncio.Event().wait()
        await asyncio.sleep(1.5 if self._server.reads is Reads.SLOW else 0)
        if self._server.reads is Reads.FAIL or (self._server.reads is Reads.FLAKY and random.random() < 0.4):
            raise SourceUnavailable("the source does not answer")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...


def keys_of(names: Iterable[str]) -> tuple[InstallationKey, ...]:
    """From `namespace/name`."""
    return tuple(InstallationKey(*name.split("/")) for name in names)


def _now() -> float:
    return asyncio.get_running_loop().time()
