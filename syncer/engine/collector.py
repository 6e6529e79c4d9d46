"""Takes away what is ours and no longer wanted: guarded, on evidence, exactly that.

An absence counts when two complete lists `guard.grace` apart agree on it and the document itself
is not found directly before the delete. Every other cause is looked at again in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from backends.contract import ObservedSecret
from syncer.core.changes import Change, Delete, DeleteCause, Hold
from syncer.core.disposal import dispose, still_due
from syncer.core.errors import SourceError
from syncer.core.guard import judge
from syncer.engine.batches import chunks
from syncer.engine.reconciler import Reconciler
from syncer.engine.report import entry_of
from syncer.engine.world import World, look_again


class SecondLook:
    """The second complete list of installations, `grace` seconds after the first; shared by all sinks."""

    def __init__(self, grace: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due = clock() + grace

    async def wait(self) -> None:
        """Until enough time has passed since the first look."""
        await asyncio.sleep(max(0.0, self._due - self._clock()))


class Collector:
    """Deletes at one sink, after its `Reconciler` has seen the whole inventory."""

    def __init__(
        self, pass_: Reconciler, world: World, second: SecondLook, *, recent: Collection[str] = ()
    ) -> None:
        self._pass = pass_
        self._world = world
        self._second = second
        self._recent = recent
        self.held: tuple[Delete, ...] = ()
        """What was judged to be too much."""

    async def collect(self) -> tuple[str | None, str]:
        """Judge the leftovers, then delete what may be. Answers (failure or None, held hash)."""
        deletions: list[Delete] = []
        for observed in self._pass.leftovers:
            change = self._disposed(observed, self._world)
            if isinstance(change, Delete):
                deletions.append(change)
            elif change is not None:
                self._pass.tell(entry_of(change))
        limits, approved = self._world.policy.guard, self._pass.mode.approved
        verdict = judge(deletions, self._pass.marked, limits, approved, self._recent)
        self.held = verdict.held
        for held in verdict.held:
            reason = f"deletion held: {verdict.reason}; release with: syncer gc --approve {verdict.hash}"
            self._pass.tell(entry_of(Hold(subject=held.subject, reason=reason)))
        try:
            await self._delete(verdict.allowed)
        except SourceError as error:
            return f"source: {error.reason}", verdict.hash
        down = self._pass.place.applier.down
        return None if down is None else down.reason, verdict.hash

    def _disposed(self, observed: ObservedSecret, world: World) -> Change | None:
        place = self._pass.place
        if observed.mark is None or world.wants(place.name, place.same(observed.address), place.same):
            return None
        standing = world.standing(observed.mark, place.name)
        change = dispose(
            observed, observed.mark, standing, place.name, place.owner, prune=self._pass.mode.prune
        )
        if isinstance(change, Delete) and change.cause is DeleteCause.GONE and world.doubt:
            return replace(change, doubt=world.doubt)
        return change

    async def _delete(self, deletions: Sequence[Delete]) -> None:
        if not self._pass.mode.apply:
            for deletion in deletions:
                self._pass.tell(entry_of(deletion))
            return
        if any(deletion.cause is DeleteCause.GONE for deletion in deletions):
            await self._second.wait()
        for batch in chunks(deletions):
            keys = {deletion.subject.key for deletion in batch}
            world = await look_again(self._pass.source, self._world.policy, keys)
            async with asyncio.TaskGroup() as group:
                for deletion in batch:
                    group.create_task(self._delete_one(deletion, world))

    async def _delete_one(self, deletion: Delete, world: World) -> None:
        now = self._disposed(deletion.observed, world)
        if not still_due(deletion, now):
            reason = "no longer to be deleted: the source changed meanwhile"
            self._pass.tell(entry_of(Hold(subject=deletion.subject, reason=reason)))
            return
        kept = Hold(subject=deletion.subject, reason="it changed while it was to be deleted")
        self._pass.tell(
            await self._pass.place.applier.apply(deletion, lambda found: kept if found else deletion)
        )
