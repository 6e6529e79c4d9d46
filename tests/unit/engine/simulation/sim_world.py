"""Processes of the whole controller, a source and sinks that turn against them, and what must hold.

`sim_schedule.Steps` says what happens next, `audit` notes whatever breaks an invariant of safety.md, and
`converged` looks at the end. Time is virtual. The invariants, and where each is looked at:

I1, I2, I4   `Audit.removing`: evidence and guard of each delete, when it is sent
I5, I6, I9   `Audit.wrote`: each write is one set that was to be published, of this life, and no step back
I7           `Audit.wrote`: an address that two want is given to neither
I13          `Audit.wrote` and `World.converged`: what is not ours stays as it is
I14, I24     `World.converged`: all is as `plan` wants it, a while after the last fault
I15          `Audit.sending`: only who leads sends
I23          `World.quiet`: no write while nothing happens
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Self
from unittest import mock

from sim_audit import (
    KEYS,
    LIMITS,
    LIST,
    POLL,
    RESYNC,
    SETTLE,
    Audit,
    Process,
    Seat,
)
from sim_sink import Mood, SimSink, SinkServer, WatchingSink, ours
from sim_source import Evidence, Porter, Published, Reads, Server, SimSource

from backends.contract import Layout
from backends.memory import CAPABILITIES, MemoryNaming, MemorySink
from syncer.core.model import InstallationKey, Match, Policy, Rule, Target
from syncer.core.ports import Reconciled
from syncer.engine import visits
from syncer.engine.passes import SinkSlot, one_pass
from syncer.engine.reconciler import Mode, Reconciler
from syncer.engine.report import Report
from syncer.engine.terms import Terms, Work
from tests.unit.sources.porter_world import NOW


def policy(*sinks: str) -> Policy:
    """`shop` goes everywhere, in the sink `each` output by output; the `twins` share an address of `all`."""
    rules = [_rule(sink, "shop", "{namespace}", "{installation}") for sink in sinks if sink != "each"]
    if "each" in sinks:
        rules.append(_rule("each", "shop", "{namespace}", "{installation}", "{output}"))
    if "all" in sinks:
        rules.append(_rule("all", "twins", "twins"))
    return Policy(instance="test", rules=tuple(rules), guard=LIMITS, settle_time=SETTLE)


def _rule(sink: str, namespace: str, *parts: str) -> Rule:
    target = Target(
        sink=sink,
        id="0",
        parts=parts,
        layout=Layout.PER_OUTPUT if "{output}" in parts else Layout.BUNDLE,
        naming=MemoryNaming(),
        capabilities=CAPABILITIES,
    )
    return Rule(name=f"{namespace}-to-{sink}", targets=(target,), match=Match(namespaces=(namespace,)))


class SimElection:
    """One candidate."""

    def __init__(self, seat: Seat, me: object) -> None:
        self._seat = seat
        self._me = me

    @property
    def holder(self) -> str:
        return ""

    async def acquire(self) -> None:
        while not self.holds():
            await self._seat.changed.wait()

    async def lost(self) -> None:
        while self.holds():
            await self._seat.changed.wait()
        await asyncio.sleep(0.5)

    def holds(self) -> bool:
        return self._seat.holder is self._me

    async def release(self) -> None:
        if self.holds():
            self._seat.give(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...


class Ears:
    """Notes what reached its goal, and when."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.reconciliations: list[tuple[float, Reconciled]] = []
        self.troubles: list[str] = []
        self.left_alone: list[str] = []
        """Why a sink was left alone as a whole, each time."""

    def progress(self, what: str, done: int, total: int) -> None: ...

    def entry(self, entry: object) -> None: ...

    def failed(self, sink: str, reason: str) -> None: ...

    def reconciled(self, what: Reconciled) -> None:
        self.reconciliations.append((self._clock(), what))

    def source(self, failure: str | None) -> None:
        if failure and "unexpected" in failure:
            self.troubles.append(failure)

    def sink(self, name: str, failure: str | None) -> None:
        if failure is not None:
            self.left_alone.append(failure)

    def swept(self, sink: str, seconds: float) -> None: ...

    def leading(self, leading: bool) -> None: ...

    def restarted(self, sink: str, workload: str) -> None: ...


class World:
    """Everything there is. Use as a context inside a running virtual loop."""

    def __init__(self, *sinks: str, processes: int = 1) -> None:
        clock = asyncio.get_running_loop().time
        self.clock = clock
        self.seat = Seat()
        self.audit = Audit(clock, self.seat)
        self.porter = Porter(clock, lambda key: self.audit.moved(self.porter.database, key))
        self.server = Server(self.porter)
        self.policy = policy(*sinks)
        self.sinks = {name: SinkServer(name, partial(self.audit.wrote, name)) for name in sinks}
        self.ears = Ears(clock)
        self.processes = [self._start() for _ in range(processes)]
        self.seat.give(self.processes[0])
        self._dead: list[Process] = []

    # --- processes

    def _start(self) -> Process:
        process = Process(self.audit)
        work = Work(
            open_source=lambda: self._open(process),
            policy=self.policy,
            sinks=[self._slot(server, process) for server in self.sinks.values()],
            poll_interval=POLL,
            deletion_check_interval=LIST,
            resync_interval=RESYNC,
        )
        election = SimElection(self.seat, process)
        terms = Terms(work, election, self.ears, clock=self.clock, jitter=lambda: 0.5)
        process.task = asyncio.create_task(terms.run())
        return process

    @asynccontextmanager
    async def _open(self, process: Process) -> AsyncIterator[SimSource]:
        process.deleted.clear()
        process.evidence = Evidence()
        yield SimSource(self.server, process.evidence, alive=lambda: process.alive)

    def _slot(self, server: SinkServer, process: Process) -> SinkSlot:
        kind = WatchingSink if server.name == "each" else SimSink
        return SinkSlot(
            name=server.name,
            make=lambda: kind(
                server, alive=lambda: process.alive, sent=lambda one: process.sends(server, one)
            ),
            same=MemoryNaming().same,
        )

    def kill(self, number: int) -> None:
        """As SIGKILL does; another one starts at once, knowing nothing."""
        dead = self.processes[number]
        dead.alive = False
        if dead.task is not None:
            dead.task.cancel()
        self._dead.append(dead)
        self.processes[number] = self._start()
        if self.seat.holder is dead:
            self.seat.give(self.processes[number])

    def lead(self, number: int | None) -> None:
        self.seat.give(None if number is None else self.processes[number % len(self.processes)])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [one.task for one in (*self.processes, *self._dead) if one.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- the end

    def calm_down(self) -> None:
        """No more faults."""
        self.server.reads, self.server.tells = Reads.WORK, True
        for server in self.sinks.values():
            server.forbidden.clear()
            server.poisoned.clear()
            server.turn(Mood.CALM)
        if self.seat.holder not in self.processes:
            self.lead(0)

    async def plan(self) -> Report:
        """What `syncer plan` would say now."""
        slots = [
            SinkSlot(name=name, make=partial(MemorySink, server.store), same=MemoryNaming().same)
            for name, server in self.sinks.items()
        ]
        source = SimSource(self.server, Evidence(), alive=lambda: True)
        return await one_pass(source, self.policy, slots, Mode(apply=False), self.ears)

    async def converged(self) -> None:
        """Complains of everything that is not as it should be."""
        for entry in (await self.plan()).entries:
            if entry.action not in {"keep", "hold", "conflict"}:
                self.audit.complain(f"I14: {entry.action} {entry.subject.address} is left: {entry.reason}")
        for name, server in self.sinks.items():
            self._is_right(name, server)
            for address, cell in server.foreign.items():
                if server.store.cells.get(address) is not cell:
                    self.audit.complain(f"I13: {name}:{address} was somebody else's")
        self.audit.violations += self.ears.troubles

    def _is_right(self, name: str, server: SinkServer) -> None:
        """Where nothing is in the way, what is published is what is there."""
        database = self.porter.database
        for key in KEYS:
            published = database.published(key)
            if published is None or database.lacks(key) or key.namespace == "twins":
                continue
            for address, data in _secrets(name, key, published).items():
                cell = server.store.cells.get(address)
                if cell is not None and (
                    not ours(cell, address) or cell.fields["result-id"] > published.result_id
                ):
                    continue
                there = cell and {one: value.reveal() for one, value in cell.data.items()}
                if there != data:
                    self.audit.complain(f"I14: {name}:{address} is {there}, and is to be {data}")

    async def quiet(self, seconds: float) -> None:
        """While nothing happens nothing is written."""
        before = {name: server.writes for name, server in self.sinks.items()}
        await asyncio.sleep(seconds)
        after = {name: server.writes for name, server in self.sinks.items()}
        if before != after:
            self.audit.complain(f"I23: written without a cause: {before} became {after}")


def _secrets(sink: str, key: InstallationKey, published: Published) -> Mapping[str, Mapping[str, bytes]]:
    content = dict(published.content)
    if sink == "each":
        return {f"{key.namespace}/{key.name}/{name}": {"value": value} for name, value in content.items()}
    return {f"{key.namespace}/{key.name}": content} if content else {}


def addresses(sink: str) -> Sequence[str]:
    """Where something may be written, or is put by others."""
    if sink == "each":
        return [f"shop/{name}/{output}" for name in "ab" for output in ("host", "password")]
    return ["shop/a", "shop/b", "shop/c", "twins"]


@contextmanager
def wall_clock(clock: Callable[[], float]) -> Iterator[None]:
    """The time that results are made at is virtual, too."""
    with mock.patch.object(visits, "Reconciler", partial(Reconciler, now=lambda: NOW + clock())):
        yield
