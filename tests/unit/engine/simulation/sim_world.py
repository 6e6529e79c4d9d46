"""Two processes of the whole controller, a source and sinks that turn against them, and what must hold.

`World` is told what happens next (`do`), `audit` notes whatever breaks an invariant of safety.md, and
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
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Self
from unittest import mock

from sim_sink import Mood, SimSink, SinkServer, WatchingSink, ours
from sim_source import Database, Evidence, Porter, Published, Reads, Server, SimSource, keys_of

from backends.contract import Layout, ObservedSecret
from backends.memory import CAPABILITIES, Cell, MemoryNaming, MemorySink
from syncer.core.model import GuardLimits, Installation, InstallationKey, Match, Policy, Rule, Target
from syncer.core.ports import Reconciled
from syncer.engine import visits
from syncer.engine.passes import SinkSlot, one_pass
from syncer.engine.reconciler import Mode, Reconciler
from syncer.engine.report import Report
from syncer.engine.terms import Terms, Work
from tests.unit.sources.porter_world import NOW

POLL = 2.0
LIST = 15.0
RESYNC = 60.0
GRACE = 10.0
SETTLE = 30.0
LIMITS = GuardLimits(max_deletions=2, max_deletion_percent=20, grace=GRACE)
CALM = 2 * 1.1 * RESYNC + RESYNC + 60.0 + 2 * LIST
"""Seconds after the last fault in which everything converges: two sweeps, what the guard remembers, and
the longest pause of a sink."""
RECENT = 75.0
"""Seconds for which an answer of the source counts: a delete is retried, on a slow way."""

KEYS = keys_of(["shop/a", "shop/b", "shop/c", "shop/d", "twins/one", "twins/two"])

TWINS = KEYS[-2:]
CONTEST = 40.0
"""Seconds after which everybody knows that an address is wanted twice: a write is retried, on a slow way."""


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


@dataclass
class Seat:
    """Who leads. A change is noticed a moment later by who has lost."""

    holder: object = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def give(self, holder: object) -> None:
        self.holder = holder
        self.changed.set()
        self.changed = asyncio.Event()


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

    def progress(self, what: str, done: int, total: int) -> None: ...

    def entry(self, entry: object) -> None: ...

    def failed(self, sink: str, reason: str) -> None: ...

    def reconciled(self, what: Reconciled) -> None:
        self.reconciliations.append((self._clock(), what))

    def source(self, failure: str | None) -> None:
        if failure and "unexpected" in failure:
            self.troubles.append(failure)

    def sink(self, name: str, failure: str | None) -> None: ...

    def swept(self, sink: str, seconds: float) -> None: ...

    def leading(self, leading: bool) -> None: ...

    def restarted(self, sink: str, workload: str) -> None: ...


@dataclass(eq=False)
class Process:
    """One run of the controller. Killed, it sends and hears nothing more, whatever it goes on doing."""

    audit: Audit
    evidence: Evidence = field(default_factory=Evidence)
    alive: bool = True
    task: asyncio.Task[None] | None = None
    deleted: dict[str, deque[tuple[float, str]]] = field(default_factory=dict)
    """By sink: which life lost secrets when, in this term."""

    def sends(self, sink: SinkServer, observed: ObservedSecret | None) -> None:
        self.audit.sending(self)
        if observed is not None:
            self.audit.removing(self, sink, observed)


@dataclass
class Audit:
    """Notes every violation, because the engine survives whatever is raised in it."""

    clock: Callable[[], float]
    seat: Seat
    violations: list[str] = field(default_factory=list)
    sets: dict[InstallationKey, set[Published]] = field(default_factory=dict)
    """All that was ever to be published."""
    writes: list[tuple[float, str, str]] = field(default_factory=list)
    """When, at which sink, and where."""
    contested: float | None = None
    """Since when both of the twins want their address."""

    def moved(self, database: Database, key: InstallationKey) -> None:
        published = database.published(key)
        if published is not None:
            self.sets.setdefault(key, set()).add(published)
        if not all(database.published(twin) for twin in TWINS):
            self.contested = None
        elif self.contested is None:
            self.contested = self.clock()

    def complain(self, what: str) -> None:
        self.violations.append(f"{self.clock():.1f}: {what}")

    # --- when something is sent

    def sending(self, process: Process) -> None:
        if self.seat.holder is not process:
            self.complain("I15: a write leaves a process that does not lead")

    def removing(self, process: Process, sink: SinkServer, observed: ObservedSecret) -> None:
        mark = observed.mark
        if mark is None or not observed.ours:
            self.complain(f"I13: {sink.name}:{observed.address} is deleted, and not ours")
            return
        key = InstallationKey(mark.namespace, mark.installation)
        if not (self._gone(process, key) or self._given_up(process, key, mark.output)):
            self.complain(f"I1/I2: {sink.name}:{observed.address} is deleted without evidence")
        self._guarded(process, sink, mark.installation_id)

    def _gone(self, process: Process, key: InstallationKey) -> bool:
        """Two complete lists without it, `grace` apart, none with it between, and it was looked for after."""
        now, since = self.clock(), None
        looks = [at for at, found in process.evidence.loads[key] if found is None]
        for at, ids in process.evidence.lists:
            since = None if key in ids else at if since is None else since
            proven = since is not None and ids and at - since >= GRACE and at >= now - RECENT
            if proven and any(look >= at for look in looks):
                return True
        return False

    def _given_up(self, process: Process, key: InstallationKey, output: str) -> bool:
        """A recent read shows that it is uninstalled, or does not declare this any more."""
        for at, found in process.evidence.loads[key]:
            if at >= self.clock() - RECENT and isinstance(found, Installation):
                dropped = not found.declared or (output and output not in found.declared)
                if found.state.value == "uninstalled" or (found.results and dropped):
                    return True
        return False

    def _guarded(self, process: Process, sink: SinkServer, identity: str) -> None:
        now = self.clock()
        lost = process.deleted.setdefault(sink.name, deque())
        lost.append((now, identity))
        while lost[0][0] < now - RESYNC:
            lost.popleft()
        gone = {one for _, one in lost}
        marked = gone | {
            cell.fields["installation-id"] for at, cell in sink.store.cells.items() if ours(cell, at)
        }
        # NB: less one, and rounded up, because others may have changed the marks since they were counted.
        most = max(LIMITS.max_deletions, LIMITS.max_deletion_percent * (len(marked) + 2) // 100)
        if len(gone) > most:
            self.complain(f"I4: {len(gone)} installations lose their secrets at {sink.name}")

    # --- when something was changed

    def wrote(self, sink: str, address: str, before: Cell | None, after: Cell | None) -> None:
        self.writes.append((self.clock(), sink, address))
        if before is not None and not ours(before, address):
            self.complain(f"I13: {sink}:{address} was somebody else's")
        since = self.clock() if self.contested is None else self.contested
        if before is None and address == "twins" and self.clock() >= since + CONTEST:
            self.complain(f"I7: {sink}:{address} is taken, and two want it")
        if after is not None:
            self._is_a_set(sink, address, after)
            self._is_no_step_back(sink, address, before, after)

    def _is_a_set(self, sink: str, address: str, cell: Cell) -> None:
        fields = cell.fields
        key = InstallationKey(fields["namespace"], fields["installation"])
        data = {name: value.reveal() for name, value in cell.data.items()}
        for one in self.sets.get(key, ()):
            content = dict(one.content)
            wanted = {"value": content.get(fields["output"])} if fields["output"] else content
            if (one.id, one.result_id) == (fields["installation-id"], fields["result-id"]) and data == wanted:
                return
        self.complain(f"I6/I9: {sink}:{address} is no set of life {fields['installation-id']}: {data}")

    def _is_no_step_back(self, sink: str, address: str, before: Cell | None, after: Cell) -> None:
        if before is None or before.fields.get("installation-id") != after.fields["installation-id"]:
            return
        if before.fields["result-id"] > after.fields["result-id"]:
            self.complain(f"I5: {sink}:{address} goes back")


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
