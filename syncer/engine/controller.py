"""Keeps one sink in sync: its queue, its workers, its breaker, its sweeps, whatever the other sinks do.

What is done for an installation is `visits`' business, what nothing wants any more is `leftovers`', and
how installations come into the queue is `detection`'s and `drift`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from functools import partial
from itertools import islice
from typing import Final

from backends.contract import Mark, Owner, Restarts, RestartWish, Sink, Watches
from backends.errors import SinkError, SinkUnavailable
from backends.sending import only_while
from syncer.core.errors import SourceError
from syncer.core.model import InstallationKey
from syncer.engine.applier import SINK_WIDE, Applier
from syncer.engine.batches import BATCH
from syncer.engine.breaker import Breaker
from syncer.engine.claims import Claims
from syncer.engine.drift import Drift
from syncer.engine.failures import SLOW, reason_of
from syncer.engine.holdings import Holdings
from syncer.engine.leftovers import Leftovers
from syncer.engine.passes import SinkSlot
from syncer.engine.queue import Priority, Wish, WorkQueue
from syncer.engine.reconciler import Mode, Place, Reconciler
from syncer.engine.report import KeepsOnly
from syncer.engine.restarts import Restarter
from syncer.engine.shared import Shared
from syncer.engine.tracked import TrackedSink
from syncer.engine.turns import Turns
from syncer.engine.visits import Visits
from syncer.engine.world import Sight

_WORKERS: Final = (Priority.FRESH, Priority.SWEEP, Priority.SWEEP)
"""The worst that each worker takes: one is there for changes alone, however large the batches of a sweep."""
DRAIN: Final = 5.0
"""Seconds that work which was begun may go on for when the controller is to end."""


class Controller:
    """Of one sink. `changed`, `listed` and `sweep` only note what is to be done; `run` does it.

    `sweep_wanted` is called when something at the sink may have been missed.
    """

    def __init__(self, slot: SinkSlot, shared: Shared, *, sweep_wanted: Callable[[], None]) -> None:
        self.name = slot.name
        self.queue = WorkQueue[InstallationKey](shared.clock)
        self._slot = slot
        self._shared = shared
        self._sweep_wanted = sweep_wanted
        self._owner = Owner(instance=shared.policy.instance, source=shared.source.fingerprint)
        self._breaker = Breaker(shared.clock)
        self._claims = Claims(slot.same)
        self._holdings = Holdings(self._marked)
        self._visits = Visits(shared, self._claims, self._holdings, self.queue)
        self._leftovers = Leftovers(shared, self._claims, self._holdings)
        self._readers = {
            (rule.name, target.id): target.restart
            for rule in shared.policy.rules
            for target in rule.targets
            if target.sink == slot.name
        }
        self._restarter = Restarter(self._restarted, self._refused, shared.clock)
        self._sight: Sight | None = None
        self._swept = asyncio.Event()
        self._begun: set[asyncio.Task[None]] = set()

    # --- what the others say

    def changed(self, keys: Iterable[InstallationKey], priority: Priority) -> None:
        """Something may be to be done for these."""
        for key in keys:
            self.queue.add(key, priority)

    def wants(self, key: InstallationKey) -> bool:
        """Whether a change or another attempt of this one is still to be done."""
        return self.queue.wants(key, worst=Priority.RETRY)

    def wanted(self) -> Collection[InstallationKey]:
        """All of those."""
        return self.queue.wanted(worst=Priority.RETRY)

    def show_again(self, keys: Collection[InstallationKey]) -> None:
        """What this sink shows of how the others stand may have changed."""
        self.changed(keys, Priority.RETRY)

    def listed(self) -> None:
        """There is another complete list of installations: what left it may have to go."""
        self._leftovers.look_for_gone()

    def begin_look(self) -> int:
        """A look at the whole source begins; `sweep` gets its number."""
        return self._claims.begin()

    def sweep(self, sight: Sight, look: int) -> None:
        """Compare everything with what the source had at this look."""
        keys = self._claims.known().union(sight.keys)
        waiting = self._claims.learn(look, keys, sight.claims.get(self.name, ()))
        self.changed(waiting, Priority.SWEEP)
        self._sight = sight
        self._swept.set()

    # --- what it does

    async def run(self) -> None:
        """Until it is cancelled; then what was begun goes on for at most `DRAIN` seconds."""
        await self._swept.wait()
        while True:
            await self._try(self._open)

    async def _open(self, _trial: bool) -> None:  # noqa: FBT001  # as `_try` calls it
        sink = self._slot.make()
        turn = Turns(self._slot.writes_per_second, self._shared.clock)
        async with TrackedSink(sink, self._holdings, allowed=self._shared.allowed, turn=turn) as tracked:
            self._worked(trial=True)
            try:
                await self._serve(sink, tracked)
            finally:
                await self._drain()

    async def _serve(self, sink: Sink, tracked: TrackedSink) -> None:
        async with asyncio.TaskGroup() as group:
            for worst in _WORKERS:
                group.create_task(self._work_forever(tracked, worst))
            group.create_task(self._sweep_forever(tracked))
            group.create_task(self._collect_forever(tracked))
            if isinstance(sink, Restarts):
                with only_while(self._shared.allowed):
                    group.create_task(self._restarter.run(sink))
            if isinstance(sink, Watches):
                group.create_task(self._drift().run(sink, self._owner))

    async def _drain(self) -> None:
        """NB: also when cancelled: what was sent is better finished than abandoned."""
        if self._begun:
            _, pending = await asyncio.wait(self._begun, timeout=DRAIN)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    def _place(self, sink: TrackedSink) -> Place:
        """NB: a new one each time: an applier gives a sink up for good.

        It has no patience of its own: who is asked to wait tells the breaker, and then nobody sends anything.
        """
        applier = Applier(sink, self._owner, patience=0.0)
        return Place(name=self.name, sink=sink, owner=self._owner, same=self._slot.same, applier=applier)

    # --- installations

    async def _work_forever(self, sink: TrackedSink, worst: Priority) -> None:
        while True:
            wishes = await self.queue.take(BATCH, worst=worst)
            try:
                await self._try(partial(self._visit, sink, wishes), to_the_end=True)
            finally:
                for key in wishes:
                    self.queue.done(key)

    async def _visit(self, sink: TrackedSink, wishes: Mapping[InstallationKey, Wish], trial: bool) -> None:  # noqa: FBT001  # as `_try` calls it
        """All of them, or in a trial the first; what is not done is due again at once."""
        chosen = dict(islice(wishes.items(), 1 if trial else None))
        self._again({key: wish for key, wish in wishes.items() if key not in chosen})
        try:
            left = await self._visits.visit(self._place(sink), chosen)
        except SINK_WIDE:
            if trial:
                for key, wish in chosen.items():
                    self._visits.put_off(key, wish)
            else:
                self._again(chosen)
            raise
        self._leftovers.add(one.address for one in left)

    def _again(self, wishes: Mapping[InstallationKey, Wish]) -> None:
        for key, wish in wishes.items():
            self.queue.add(key, wish.priority, since=wish.since)

    # --- sweeps

    async def _sweep_forever(self, sink: TrackedSink) -> None:
        while True:
            await self._swept.wait()
            await self._try(partial(self._survey, sink))

    async def _survey(self, sink: TrackedSink, _trial: bool) -> None:  # noqa: FBT001  # as `_try` calls it
        """NB: only here is the sight held, which is large: whoever waits for the next sweep has none."""
        sight = self._taken_sight()
        started = self._shared.clock()
        reconciler = Reconciler(
            self._place(sink), self._shared.source, sight, Mode(apply=False), KeepsOnly(self._shared.observer)
        )
        try:
            unclear = await reconciler.survey()
        except (*SINK_WIDE, asyncio.CancelledError):
            # NB: unless there is a newer one by now, it is this look that has to be compared again.
            self._sight = self._sight or sight
            self._swept.set()
            raise
        except Exception as error:  # noqa: BLE001  # one secret may spoil the list of all
            # One namespace may refuse its list: everybody is looked at alone then.
            self._shared.observer.failed(self.name, reason_of(error))
            unclear = self._claims.known() | self._holdings.installations
        else:
            self._leftovers.add(one.address for one in reconciler.leftovers)
            self._shared.observer.swept(self.name, self._shared.clock() - started)
        self.changed(sorted(unclear), Priority.SWEEP)

    def _taken_sight(self) -> Sight:
        sight, self._sight = self._sight, None
        self._swept.clear()
        assert sight is not None
        return sight

    # --- what nothing wants

    async def _collect_forever(self, sink: TrackedSink) -> None:
        while True:
            await self._leftovers.due()
            await self._try(partial(self._collect, sink), to_the_end=True)

    async def _collect(self, sink: TrackedSink, _trial: bool) -> None:  # noqa: FBT001  # as `_try` calls it
        try:
            await self._leftovers.collect(self._place(sink))
        except SourceError as error:
            self._shared.observer.source(error.reason)
            self._leftovers.again(SLOW)
        except SinkError:
            self._leftovers.again(SLOW)
            raise

    # --- what the sink says

    def _marked(self, mark: Mark) -> None:
        readers = self._readers.get((mark.rule, mark.target), ())
        if readers:
            wish = RestartWish(address=mark.address, content_id=mark.content_id, workloads=readers)
            self._restarter.wish(wish)

    def _restarted(self, workload: str) -> None:
        self._shared.observer.restarted(self.name, workload)

    def _refused(self, reason: str) -> None:
        self._shared.observer.failed(self.name, reason)

    def _drift(self) -> Drift:
        return Drift(
            self._holdings,
            changed=lambda keys: self.changed(keys, Priority.RETRY),
            sweep_wanted=self._sweep_wanted,
            refused=self._refused,
        )

    # --- the breaker

    async def _try(self, work: Callable[[bool], Awaitable[None]], *, to_the_end: bool = False) -> None:
        """Do it when the breaker lets it; what was begun `to_the_end` is left to `_drain` when cancelled."""
        trial = await self._breaker.admitted()
        attempt = self._attempt(work, trial=trial)
        await (self._finished(attempt) if to_the_end else attempt)

    async def _attempt(self, work: Callable[[bool], Awaitable[None]], *, trial: bool) -> None:
        """Tell the breaker what came of it."""
        try:
            await work(trial)
        except SINK_WIDE as error:
            self._failed(error, trial=trial)
        except SinkError as error:
            self._failed(SinkUnavailable(error.reason, retry_after=SLOW), trial=trial)
        except asyncio.CancelledError:
            self._breaker.abandoned(trial=trial)
            raise
        except Exception as error:  # noqa: BLE001  # a fault in one sink's code must not end the others' work
            self._failed(SinkUnavailable(reason_of(error)), trial=trial)
        else:
            self._worked(trial=trial)

    def _failed(self, error: SinkError, *, trial: bool) -> None:
        self._breaker.failed(error, trial=trial)
        self._shared.observer.sink(self.name, error.reason)

    def _worked(self, *, trial: bool) -> None:
        self._breaker.succeeded(trial=trial)
        if self._breaker.reason is None:
            self._shared.observer.sink(self.name, None)

    async def _finished(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        await asyncio.shield(task)
