"""The one path for one sink: observe → plan → resolve → apply, page by page.

`plan` stops before anything is sent, `once` goes all the way; there is no other code that says
what would happen. What nothing wants any more is handed to `collector`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from backends.contract import ObservedSecret, Owner, Sink
from backends.errors import SinkError
from syncer.core.changes import Change, Conflict, Hold, Keep, subject_of
from syncer.core.errors import SourceError
from syncer.core.mapping import Mapped, Unmappable, Wanted
from syncer.core.model import InstallationKey, OutputRef, OutputState
from syncer.core.planning import Comparison, compare, decide, rivals_held, settle
from syncer.core.ports import Observer, Source
from syncer.core.ulid import ulid_seconds
from syncer.engine.applier import Applier
from syncer.engine.batches import BATCH, chunks, overlapped
from syncer.engine.report import Entry, SinkReport, entry_of
from syncer.engine.world import Sight


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """What a pass may do."""

    apply: bool
    """False: plan only, nothing is sent."""
    approved: frozenset[str] = frozenset()
    """Hashes of held sets of deletions that are released."""
    prune: bool = False
    """Also delete what is orphaned."""
    only: frozenset[str] | None = None
    """Addresses (`sink:path`) to look at; None: everything."""
    adopt: bool = False
    """Take over foreign secrets at `only`."""
    deletions_only: bool = False
    """Leave alone, and unmentioned, everything that is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One sink, opened, and who writes to it."""

    name: str
    sink: Sink
    owner: Owner
    same: Callable[[str], str]
    """`Naming.same` of the sink."""
    applier: Applier


@dataclass(slots=True)
class Reconciler:
    """One pass over one sink."""

    place: Place
    source: Source
    sight: Sight
    mode: Mode
    observer: Observer
    now: Callable[[], float] = time.time
    """Seconds since 1970, to be compared with the time in a result's id."""
    entries: list[Entry] = field(default_factory=list)
    leftovers: list[ObservedSecret] = field(default_factory=list)
    """Ours, and wanted by nothing now; without their values."""
    marked: set[str] = field(default_factory=set)
    """Ids of all installations this sink has secrets of."""

    async def converge(self) -> str | None:
        """Bring every wanted secret to what it should be. Answers why it could not be finished."""
        try:
            claims = self._claims()
            async for page in pages(self.place.sink.inventory(self.place.owner)):
                self._note(page)
                await self._settle_all([(claims.pop(self.place.same(one.address), ()), one) for one in page])
            if not self.mode.deletions_only:
                await overlapped(chunks(list(claims.values())), self._settle_unseen)
        except SinkError as error:
            return error.reason
        except SourceError as error:
            return f"source: {error.reason}"
        down = self.place.applier.down
        return None if down is None else down.reason

    async def visit(self, addresses: Collection[str]) -> None:
        """Bring what is wanted or ours at these addresses to what it should be.

        Raises `SinkError` and `SourceError`; what failed for one secret only is in the entries.
        """
        claims = self._claims()
        found = await self.place.sink.observe(self.place.owner, addresses)
        self._note([one for one in found.values() if one.ours])
        await self._settle_all(
            [(claims.get(self.place.same(path), ()), found.get(path)) for path in addresses]
        )
        if self.place.applier.down is not None:
            raise self.place.applier.down

    async def survey(self) -> frozenset[InstallationKey]:
        """Compare everything by what a list shows, and act on nothing. Raises `SinkError`.

        Answers whose secrets have to be looked at; what nothing wants is in `leftovers`.
        """
        claims = self._claims()
        unclear = self._unclear()
        async for page in pages(self.place.sink.inventory(self.place.owner)):
            for one in page:
                wanted = self._clear(claims.pop(self.place.same(one.address), ()), one)
                unclear |= set() if wanted is None else {wanted.outputs.key}
            unclear |= self._unclear()
        return frozenset(unclear | {claim.outputs.key for rivals in claims.values() for claim in rivals})

    def _unclear(self) -> set[InstallationKey]:
        """Of whom more was told than that all is well; what was told is forgotten, since it is much."""
        found = {one.subject.key for one in self.entries if one.action != "keep"}
        self.entries.clear()
        return found

    def report(self, failure: str | None, held_hash: str = "") -> SinkReport:
        return SinkReport(
            sink=self.place.name, entries=tuple(self.entries), failure=failure, held_hash=held_hash
        )

    def tell(self, entry: Entry) -> None:
        """Record what was planned or done."""
        self.entries.append(entry)
        self.observer.entry(entry)

    def _claims(self) -> dict[str, tuple[Mapped, ...]]:
        claims: dict[str, tuple[Mapped, ...]] = {}
        for mapped in self.sight.claims.get(self.place.name, ()):
            if mapped.address is None:
                if self._whole and isinstance(mapped, Unmappable):
                    self.tell(entry_of(Hold(subject=subject_of(mapped), reason=mapped.reason)))
            elif self.mode.only is None or str(mapped.address) in self.mode.only:
                same = self.place.same(mapped.address.path)
                claims[same] = (*claims.get(same, ()), mapped)
        return claims

    @property
    def _whole(self) -> bool:
        return self.mode.only is None and not self.mode.deletions_only

    def _note(self, page: Sequence[ObservedSecret]) -> None:
        self.marked |= {one.mark.installation_id for one in page if one.mark}

    async def _settle_unseen(self, rest: Sequence[tuple[Mapped, ...]]) -> None:
        """What the inventory did not have: absent, or somebody else's, or without its index label."""
        paths = [claims[0].address.path for claims in rest if claims[0].address]
        found = await self.place.sink.observe(self.place.owner, paths)
        await self._settle_all([(claims, found.get(path)) for claims, path in zip(rest, paths, strict=True)])

    async def _settle_all(self, pairs: Iterable[tuple[tuple[Mapped, ...], ObservedSecret | None]]) -> None:
        """One batch: what is clear at once, then one read of values for the rest, then the writes."""
        pending: list[tuple[Wanted, ObservedSecret | None]] = []
        for claims, observed in pairs:
            wanted = self._clear(claims, observed)
            if wanted is not None:
                pending.append((wanted, observed))
        if not pending:
            return
        pending = await self._with_values(pending)
        # NB: apart, so that nobody who needs no secret waits for those who do.
        secret = [pair for pair in pending if any(output.sensitive for output in pair[0].used)]
        plain = [pair for pair in pending if not any(output.sensitive for output in pair[0].used)]
        for some in filter(None, (plain, secret)):
            await self._bring_all(some)

    async def _bring_all(self, pending: Sequence[tuple[Wanted, ObservedSecret | None]]) -> None:
        # NB: in order, so that a batch of the source's is all outputs of a few results, not a few of all.
        used = dict.fromkeys(output.ref for wanted, _ in pending for output in wanted.used)
        states = await self.source.values(used)
        async with asyncio.TaskGroup() as group:
            for wanted, observed in pending:
                group.create_task(self._bring(wanted, observed, states))

    async def _with_values(
        self, pending: Sequence[tuple[Wanted, ObservedSecret | None]]
    ) -> list[tuple[Wanted, ObservedSecret | None]]:
        """Look at our own that were listed without their bytes: equal ones are not written again."""
        unread = {one.address for _, one in pending if one is not None and one.ours and one.data is None}
        if not unread:
            return list(pending)
        found = await self.place.sink.observe(self.place.owner, unread)
        return [
            (wanted, found.get(one.address) if one is not None and one.address in unread else one)
            for wanted, one in pending
        ]

    def _clear(self, claims: tuple[Mapped, ...], observed: ObservedSecret | None) -> Wanted | None:
        """Tell what needs no values; answer what does."""
        if not claims:
            if observed is not None and self.mode.only is None:
                self.leftovers.append(replace(observed, data=None))
            return None
        if self.mode.deletions_only:
            return None
        claim: Mapped | None = claims[0]
        if len(claims) > 1:
            claim, held = rivals_held(claims, observed)
            for one in held:
                self.tell(entry_of(one))
        if claim is None:
            return None
        change = self._without_values(claim, observed)
        if change is None and isinstance(claim, Wanted):
            return claim
        if change is not None:
            self.tell(entry_of(change))
        return None

    def _without_values(self, claim: Mapped, observed: ObservedSecret | None) -> Change | None:
        change = settle(claim, observed, self.place.owner.source, adopted=self.mode.adopt)
        if change is None and isinstance(claim, Wanted):
            same = compare(claim, observed, self.place.owner) is Comparison.SAME
            return Keep(subject=subject_of(claim), reason="in sync") if same else None
        return change

    async def _bring(
        self,
        wanted: Wanted,
        observed: ObservedSecret | None,
        states: Mapping[OutputRef, OutputState],
    ) -> None:
        def decided(found: ObservedSecret | None) -> Change:
            settled = settle(wanted, found, self.place.owner.source, adopted=self.mode.adopt)
            return settled or decide(
                wanted,
                found,
                states,
                self.place.owner,
                fresh_id=secrets.token_hex(8),
                settling=self._settling(wanted),
            )

        change = decided(observed)
        if not self.mode.apply or isinstance(change, Keep | Hold | Conflict):
            self.tell(entry_of(change))
            return
        self.tell(await self.place.applier.apply(change, decided))

    def _settling(self, wanted: Wanted) -> bool:
        age = self.now() - ulid_seconds(wanted.outputs.result_id)
        return age < self.sight.policy.settle_time


async def pages(inventory: AsyncIterator[ObservedSecret]) -> AsyncIterator[list[ObservedSecret]]:
    """What an inventory lists, some at a time."""
    page: list[ObservedSecret] = []
    async for observed in inventory:
        page.append(observed)
        if len(page) == BATCH:
            yield page
            page = []
    if page:
        yield page
