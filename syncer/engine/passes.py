"""One pass: one look at the source, then every sink on its own.

A dead sink delays and holds no other; a dead source ends the pass before anything is concluded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from backends.contract import Owner, Sink
from syncer.core.model import Policy
from syncer.core.ports import Observer, Source
from syncer.engine.applier import Applier
from syncer.engine.collector import Collector, SecondLook
from syncer.engine.failures import reason_of
from syncer.engine.garbage import seldom_collected
from syncer.engine.reconciler import Mode, Place, Reconciler
from syncer.engine.report import Report, SinkReport
from syncer.engine.world import World, look


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkSlot:
    """A configured sink before it is opened."""

    name: str
    make: Callable[[], Sink]
    same: Callable[[str], str]
    """`Naming.same` of the sink."""
    writes_per_second: int | None = None
    """Secrets written in a second at most; None: as many as the sink takes."""


async def one_pass(
    source: Source, policy: Policy, sinks: Sequence[SinkSlot], mode: Mode, observer: Observer
) -> Report:
    """Look once, then bring all sinks at once to what was seen. Raises `SourceError`."""
    second = SecondLook(policy.guard.grace, time.monotonic)
    with seldom_collected():
        world = await look(
            source, policy, lambda done, total: observer.progress("installations", done, total)
        )
        shared = _Pass(source=source, world=world, mode=mode, observer=observer, second=second)
        reports = await asyncio.gather(*(shared.over(slot) for slot in sinks))
    return Report(instance=policy.instance, source=source.fingerprint, sinks=tuple(reports))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """What all sinks of one pass share."""

    source: Source
    world: World
    mode: Mode
    observer: Observer
    second: SecondLook

    async def over(self, slot: SinkSlot) -> SinkReport:
        """The whole pass at one sink; its failure is part of the report."""
        async with AsyncExitStack() as stack:
            try:
                sink = await stack.enter_async_context(slot.make())
                report = await self._reconcile(slot, sink)
            except Exception as error:  # noqa: BLE001  # a fault in one sink's code must not stop the others
                report = SinkReport(sink=slot.name, entries=(), failure=reason_of(error))
        if report.failure is not None:
            self.observer.failed(slot.name, report.failure)
        return report

    async def _reconcile(self, slot: SinkSlot, sink: Sink) -> SinkReport:
        owner = Owner(instance=self.world.policy.instance, source=self.source.fingerprint)
        place = Place(name=slot.name, sink=sink, owner=owner, same=slot.same, applier=Applier(sink, owner))
        reconciler = Reconciler(place, self.source, self.world, self.mode, self.observer)
        failure, held = await reconciler.converge(), ""
        if failure is None and self.mode.only is None:
            failure, held = await Collector(reconciler, self.world, self.second).collect()
        return reconciler.report(failure, held)
