"""What is ours at one sink and nothing wants any more: gathered, and taken away as one set, guarded.

Deletions are judged together, however they were noticed: an installation that vanished, one that was
uninstalled, outputs that were dropped. `collector` decides and deletes; a set that is held stays here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from backends.contract import ObservedSecret
from syncer.core.errors import SourceUnavailable
from syncer.core.model import InstallationKey
from syncer.engine.applier import SINK_WIDE
from syncer.engine.claims import Claims
from syncer.engine.collector import Collector, SecondLook
from syncer.engine.failures import SLOW, reason_of
from syncer.engine.holdings import Holdings
from syncer.engine.reconciler import Mode, Place, Reconciler
from syncer.engine.report import Entry
from syncer.engine.shared import Shared
from syncer.engine.world import look_at

_GATHER: Final = 0.2
"""Seconds in which leftovers become one set."""


class Leftovers:
    """Of one sink. `add` and `look_for_gone` only note; `collect` acts."""

    def __init__(self, shared: Shared, claims: Claims, holdings: Holdings) -> None:
        self._shared = shared
        self._claims = claims
        self._holdings = holdings
        self._addresses: set[str] = set()
        self._judged: frozenset[str] = frozenset()
        self._recent: deque[tuple[float, str]] = deque()
        self._due: float | None = None
        self._changed = asyncio.Event()

    def add(self, addresses: Iterable[str]) -> None:
        """Nothing wanted these when they were looked at."""
        new = set(addresses)
        if new:
            self._addresses |= new
            self._wish(_GATHER)

    def look_for_gone(self) -> None:
        """There is another complete list of installations. What was judged already waits for a sweep."""
        if self._gone() - self._judged:
            self._wish(_GATHER)

    async def due(self) -> None:
        """Wait until there is something to collect."""
        while True:
            self._changed.clear()
            wait = None if self._due is None else self._due - self._shared.clock()
            if wait is not None and wait <= 0:
                self._due = None
                return
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def collect(self, place: Place) -> None:
        """Take away what may go. Raises `SinkError` and `SourceError`; then all of it is due again."""
        noted, gone = frozenset(self._addresses), self._gone()
        addresses = {path for path in noted if not self._claims.wants(path)} | gone
        shared = self._shared
        seen = await self._look(place, sorted(addresses))
        ours = [replace(one, data=None) for one in seen.values() if one.ours]
        early = {one.address: one.mark.installation_id for one in ours if one.mark and self._too_soon(one)}
        found = [one for one in ours if one.address not in early]
        keys = {InstallationKey(one.mark.namespace, one.mark.installation) for one in found if one.mark}
        world = await look_at(shared.source, shared.policy, shared.known.ids, keys)
        reconciler = Reconciler(place, shared.source, world, Mode(apply=True), shared.observer)
        reconciler.leftovers.extend(found)
        reconciler.marked |= self._holdings.ids()
        # NB: those that are only just missing count for the guard, too: more may be going than has gone.
        recent = self._forget_old() | {*early.values()}
        collector = Collector(reconciler, world, self._second(), recent=recent)
        try:
            failure, _ = await collector.collect()
        finally:
            self._note(reconciler.entries)
        if failure is not None:
            raise place.applier.down or SourceUnavailable(failure.removeprefix("source: "))
        self._addresses = self._addresses - noted | {one.observed.address for one in collector.held}
        self._judged = gone

    async def _look(self, place: Place, addresses: Sequence[str]) -> Mapping[str, ObservedSecret]:
        """What can be looked at of these: one that is refused keeps no other one, and is due again."""
        try:
            return await place.sink.observe(place.owner, addresses)
        except SINK_WIDE:
            raise
        except Exception as error:  # noqa: BLE001  # whatever one secret does to us, the others go on
            if len(addresses) > 1:
                half = len(addresses) // 2
                found = [await self._look(place, part) for part in (addresses[:half], addresses[half:])]
                return {**found[0], **found[1]}
            self._shared.observer.failed(place.name, reason_of(error))
            self._wish(SLOW)
            return {}

    def again(self, delay: float) -> None:
        """What could not be collected is due again in so many seconds."""
        self._wish(delay)

    def _gone(self) -> frozenset[str]:
        """What installations left that are missing by now."""
        known = self._shared.known
        return self._holdings.of(
            key for key in self._holdings.installations if known.missing_since(key) is not None
        )

    def _too_soon(self, observed: ObservedSecret) -> bool:
        """Whether its installation is missing, and not for long enough; then it becomes due later."""
        assert observed.mark is not None
        key = InstallationKey(observed.mark.namespace, observed.mark.installation)
        since = self._shared.known.missing_since(key)
        wait = 0.0 if since is None else since + self._shared.policy.guard.grace - self._shared.clock()
        if wait > 0:
            self._wish(wait)
        return wait > 0

    def _second(self) -> SecondLook:
        """NB: the first look was the list that an installation was missing from first, `grace` ago."""
        return SecondLook(0.0, self._shared.clock)

    def _note(self, entries: Iterable[Entry]) -> None:
        now = self._shared.clock()
        for entry in entries:
            # NB: one that failed may have gone all the same.
            if entry.action == "delete" and not entry.undone:
                self._recent.append((now, entry.subject.id))

    def _forget_old(self) -> frozenset[str]:
        """Who lost secrets lately: a slow loss counts as a fast one."""
        horizon = self._shared.clock() - self._shared.resync_interval
        while self._recent and self._recent[0][0] < horizon:
            self._recent.popleft()
        return frozenset(identity for _, identity in self._recent)

    def _wish(self, delay: float) -> None:
        due = self._shared.clock() + delay
        if self._due is None or due < self._due:
            self._due = due
            self._changed.set()
