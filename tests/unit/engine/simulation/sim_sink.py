"""The reference sink behind a network and a server with moods, and somebody else who writes there, too.

Simulates servers that are down, throttle, refuse a login, lose requests or answers, are slow, or hang;
rights that are missing for one address; an address whose write ends in an exception nobody expects; a
watch with gaps. A request that was sent goes on at the server whatever becomes of its sender.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Self, TypeVar

from backends.contract import (
    Capabilities,
    DesiredSecret,
    Expectation,
    Finding,
    ObservedSecret,
    Owner,
    Seen,
    Version,
)
from backends.errors import AuthenticationFailed, Forbidden, OutcomeUnknown, SinkUnavailable, Throttled
from backends.memory import CAPABILITIES, Cell, MemorySink, MemoryStore
from backends.secret_value import SecretValue
from backends.sending import may_send

Answer = TypeVar("Answer")


class Mood(Enum):
    """How a server takes requests."""

    CALM = "calm"
    DOWN = "not reachable"
    THROTTLES = "asks to be left alone for a while"
    REFUSES_LOGIN = "refuses the login"
    LOSES_REQUESTS = "loses writes on their way"
    LOSES_ANSWERS = "loses the answers to writes"
    SLOW = "takes a second each way"
    HANGS = "never answers"


class Hand(Enum):
    """What others do to a secret."""

    CREATES = "creates one"
    CHANGES = "changes the bytes, and leaves the mark"
    STRIPS = "takes the mark off"
    DELETES = "deletes it"
    COPIES = "copies it, mark and all, from another address"
    CLAIMS = "marks it as another instance's"


@dataclass
class SinkServer:
    """One server. `told` hears of each change of ours before and after: address, cell before, cell now."""

    name: str
    told: Callable[[str, Cell | None, Cell | None], None]
    store: MemoryStore = field(default_factory=MemoryStore)
    mood: Mood = Mood.CALM
    forbidden: set[str] = field(default_factory=set)
    poisoned: set[str] = field(default_factory=set)
    broken_lists: int = 0
    """Lists that end in an exception nobody expects."""
    writes: int = 0
    foreign: dict[str, Cell] = field(default_factory=dict)
    """What others wrote, and nobody has changed since."""
    watchers: set[asyncio.Queue[Seen]] = field(default_factory=set)
    calmed: asyncio.Event = field(default_factory=asyncio.Event)
    _travelling: set[asyncio.Task[None]] = field(default_factory=set)

    def turn(self, mood: Mood) -> None:
        """What hangs is answered when the mood changes; a watch that was cut begins again."""
        was_cut = self.mood in {Mood.DOWN, Mood.HANGS}
        self.mood = mood
        self.calmed.set()
        self.calmed = asyncio.Event()
        if was_cut:
            self.gap()

    def gap(self) -> None:
        """Something may have been missed."""
        self._tell(Seen(address=None))

    async def reach(self) -> None:
        """The way of a request to the server."""
        match self.mood:
            case Mood.DOWN:
                raise SinkUnavailable("connection refused")
            case Mood.THROTTLES:
                raise Throttled("slow down", retry_after=4.0)
            case Mood.REFUSES_LOGIN:
                raise AuthenticationFailed("the token was refused")
            case Mood.HANGS:
                await self.calmed.wait()
                raise SinkUnavailable("no answer")
            case Mood.SLOW:
                await asyncio.sleep(1.0)
            case _:
                await asyncio.sleep(0)

    async def send(self, address: str, act: Callable[[], Coroutine[None, None, Answer]]) -> Answer:
        """A write that leaves now, and arrives whatever becomes of us."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        travel = asyncio.create_task(self._travel(address, act, answer), context=contextvars.Context())
        self._travelling.add(travel)
        travel.add_done_callback(self._travelling.discard)
        return await answer

    async def _travel(
        self, address: str, act: Callable[[], Coroutine[None, None, Answer]], answer: asyncio.Future[Answer]
    ) -> None:
        lost = self.mood in {Mood.LOSES_REQUESTS, Mood.LOSES_ANSWERS}
        failure: Exception | None = OutcomeUnknown("the connection broke") if lost else None
        result: Answer | None = None
        slow = self.mood is Mood.SLOW
        if self.mood is not Mood.LOSES_REQUESTS:
            await asyncio.sleep(1.0 if slow else 0)
            before = self.store.cells.get(address)
            try:
                result = await act()
            except Exception as error:  # the server's answer  # noqa: BLE001
                failure = failure or error
            self._changed(address, before)
            await asyncio.sleep(1.0 if slow else 0)
        if not answer.done():
            answer.set_result(result) if failure is None else answer.set_exception(failure)  # type: ignore[arg-type]

    def _changed(self, address: str, before: Cell | None) -> None:
        after = self.store.cells.get(address)
        if after is not before:
            self.writes += 1
            self.told(address, before, after)
            self._tell_of(address, before, after)

    # --- others

    def touch(self, hand: Hand, address: str) -> None:
        """What somebody else does, whoever owns what is there."""
        cells, before = self.store.cells, self.store.cells.get(address)
        match hand:
            case Hand.CREATES if before is None:
                self.store.write(address, fields={}, data={"theirs": SecretValue(b"!")})
            case Hand.CHANGES if before is not None:
                self._rewrite(address, before, data={**before.data, "theirs": SecretValue(b"!")})
            case Hand.STRIPS if before is not None:
                self._rewrite(address, before, fields={})
            case Hand.CLAIMS if before is not None:
                self._rewrite(address, before, fields={**before.fields, "instance": "another"})
            case Hand.COPIES if cells.keys() - {address}:
                other = cells[min(cells.keys() - {address})]
                self.store.write(address, fields=other.fields, data=other.data)
            case Hand.DELETES:
                cells.pop(address, None)
                self.foreign.pop(address, None)
            case _:
                return
        after = cells.get(address)
        if after is not None and ours(after, address):
            self.foreign.pop(address, None)
        elif after is not None:
            self.foreign[address] = after
        self._tell_of(address, before, after)

    def _rewrite(self, address: str, before: Cell, **changes: Mapping) -> None:
        cell = replace(before, **changes)
        self.store.write(address, fields=cell.fields, data=cell.data, attributes=cell.attributes)

    # --- the watch

    def _tell_of(self, address: str, before: Cell | None, after: Cell | None) -> None:
        if any(cell is not None and ours(cell, address) for cell in (before, after)):
            there = after is not None and ours(after, address)
            self._tell(Seen(address=address, version=Version(str(after.version)) if there else None))

    def _tell(self, seen: Seen) -> None:
        if self.mood not in {Mood.DOWN, Mood.HANGS}:
            for watcher in self.watchers:
                watcher.put_nowait(seen)


def ours(cell: Cell, address: str) -> bool:
    """Whether it carries this instance's mark, written for where it is."""
    return (cell.fields.get("instance"), cell.fields.get("address")) == ("test", address)


class SimSink:
    """One process' connection to a server. `sent` hears of each write that leaves."""

    def __init__(
        self, server: SinkServer, *, alive: Callable[[], bool], sent: Callable[[ObservedSecret | None], None]
    ) -> None:
        self._server = server
        self._memory = MemorySink(server.store)
        self._alive = alive
        self._sent = sent

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    async def check(self) -> tuple[Finding, ...]:
        return ()

    async def observe(self, owner: Owner, addresses: Collection[str]) -> Mapping[str, ObservedSecret]:
        await self._reach()
        self._permitted("get", addresses)
        found = await self._memory.observe(owner, addresses)
        await self._reach()
        return found

    async def inventory(self, owner: Owner) -> AsyncIterator[ObservedSecret]:
        await self._reach()
        self._permitted("list", self._server.forbidden)
        if self._server.broken_lists:
            self._server.broken_lists -= 1
            raise ZeroDivisionError("list")
        async for observed in self._memory.inventory(owner):
            yield observed
            await self._reach()

    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        await self._reach()
        self._permitted("put", [desired.address])
        self._unpoisoned(desired.address)
        may_send()
        self._sent(None)
        return await self._server.send(desired.address, lambda: self._memory.put(desired, expect))

    async def remove(self, observed: ObservedSecret) -> None:
        await self._reach()
        self._permitted("delete", [observed.address])
        self._unpoisoned(observed.address)
        may_send()
        self._sent(observed)
        await self._server.send(observed.address, lambda: self._memory.remove(observed))

    async def _reach(self) -> None:
        if not self._alive():
            await asyncio.Event().wait()
        await self._server.reach()

    def _permitted(self, verb: str, addresses: Collection[str]) -> None:
        if self._server.forbidden.intersection(addresses):
            raise Forbidden(f"{verb} is not permitted")

    def _unpoisoned(self, address: str) -> None:
        if address in self._server.poisoned:
            raise ZeroDivisionError(address)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...


class WatchingSink(SimSink):
    """A connection that also tells of changes."""

    async def watch(self, owner: Owner) -> AsyncIterator[Seen]:
        heard: asyncio.Queue[Seen] = asyncio.Queue()
        heard.put_nowait(Seen(address=None))
        self._server.watchers.add(heard)
        try:
            while True:
                yield await heard.get()
        finally:
            self._server.watchers.discard(heard)
