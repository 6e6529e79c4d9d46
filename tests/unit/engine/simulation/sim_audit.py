"""What must hold whenever something is sent or changed in the simulated world, and whether it did.

The numbers of the world are here, because what is late or too much depends on them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from sim_sink import SinkServer, ours
from sim_source import Database, Evidence, Published, keys_of

from backends.contract import ObservedSecret
from backends.memory import Cell
from syncer.core.model import GuardLimits, Installation, InstallationKey

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

ROUNDING = 1e-6
TWINS = KEYS[-2:]
CONTEST = 40.0
"""Seconds after which everybody knows that an address is wanted twice: a write is retried, on a slow way."""


@dataclass
class Seat:
    """Who leads. A change is noticed a moment later by who has lost."""

    holder: object = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def give(self, holder: object) -> None:
        self.holder = holder
        self.changed.set()
        self.changed = asyncio.Event()


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
            proven = since is not None and ids and at - since >= GRACE - ROUNDING and at >= now - RECENT
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
