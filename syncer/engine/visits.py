"""Brings installations up to date at one sink, and decides for each when it is due again.

A failure that concerns the whole sink is raised; one that concerns some installations of a batch is
narrowed down to them, so that a poisoned one delays nobody else. Left out: the queue's order, and what
becomes of secrets that nothing wants any more.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from backends.contract import ObservedSecret
from backends.errors import Retry, SinkError
from syncer.core.changes import State
from syncer.core.errors import SourceError
from syncer.core.model import InstallationKey
from syncer.core.ports import Outcome, Reconciled
from syncer.engine.applier import SINK_WIDE
from syncer.engine.backoff import Backoff
from syncer.engine.claims import Claims
from syncer.engine.failures import SLOW, reason_of
from syncer.engine.holdings import Holdings
from syncer.engine.queue import Priority, Wish, WorkQueue
from syncer.engine.reconciler import Mode, Place, Reconciler
from syncer.engine.report import Entry, applied
from syncer.engine.shared import Shared
from syncer.engine.world import World, look_at

_FIRST_PAUSE: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What became of one installation, and how long it has to wait at least where it failed."""

    outcome: Outcome
    reason: str = ""
    written: int = 0
    at_least: float = 0.0


class Visits:
    """`queue` is asked for what is due again."""

    def __init__(
        self, shared: Shared, claims: Claims, holdings: Holdings, queue: WorkQueue[InstallationKey]
    ) -> None:
        self._shared = shared
        self._claims = claims
        self._holdings = holdings
        self._queue = queue
        self._backoff = Backoff(_FIRST_PAUSE, shared.resync_interval)

    async def visit(self, place: Place, wishes: Mapping[InstallationKey, Wish]) -> Sequence[ObservedSecret]:
        """Bring all of these up to date. Answers what is ours and nothing wants.

        Raises those `SinkError`s that concern the whole sink; nothing is decided for any of them then.
        """
        started = self._shared.clock()
        try:
            reconciler = await self._reconcile(place, frozenset(wishes))
        except SINK_WIDE:
            raise
        except SourceError as error:
            self._shared.observer.source(error.reason)
            self._conclude_all(place, wishes, _Verdict(Outcome.FAILED, f"source: {error.reason}"), started)
        except Exception as error:  # noqa: BLE001  # whatever one installation does to us, the others go on
            if len(wishes) > 1:
                return [found for half in _halves(wishes) for found in await self.visit(place, half)]
            self._conclude_all(place, wishes, _failure(error), started)
        else:
            by_key = _by_key(reconciler.entries)
            for key, wish in wishes.items():
                self._conclude(place, key, wish, _verdict(by_key.get(key, ())), started)
            return reconciler.leftovers
        return ()

    def put_off(self, key: InstallationKey, wish: Wish) -> None:
        """It was the one that was tried, and the whole sink failed: perhaps because of it."""
        self._queue.add(key, wish.priority, delay=self._backoff.failed(key))

    async def _reconcile(self, place: Place, keys: frozenset[InstallationKey]) -> Reconciler:
        world = await self._look(place, keys)
        addresses = {place.same(path): path for path in self._holdings.of(keys)}
        for claim in world.claims.get(place.name, ()):
            if claim.address is not None and claim.outputs.key in keys:
                addresses[place.same(claim.address.path)] = claim.address.path
        reconciler = Reconciler(place, self._shared.source, world, Mode(apply=True), self._shared.observer)
        await reconciler.visit([*addresses.values()])
        return reconciler

    async def _look(self, place: Place, keys: frozenset[InstallationKey]) -> World:
        """At these, and at whoever wants an address that one of them wants."""
        world = await self._look_at(place, keys)
        rivals = self._claims.rivals(keys)
        return await self._look_at(place, keys | rivals) if rivals else world

    async def _look_at(self, place: Place, keys: frozenset[InstallationKey]) -> World:
        look = self._claims.begin()
        world = await look_at(self._shared.source, self._shared.policy, {}, keys)
        waiting = self._claims.learn(look, keys, world.claims.get(place.name, ()))
        for key in waiting:
            self._queue.add(key, Priority.RETRY)
        return world

    # --- what follows

    def _conclude_all(
        self, place: Place, wishes: Mapping[InstallationKey, Wish], verdict: _Verdict, started: float
    ) -> None:
        for key, wish in wishes.items():
            self._conclude(place, key, wish, verdict, started)

    def _conclude(
        self, place: Place, key: InstallationKey, wish: Wish, verdict: _Verdict, started: float
    ) -> None:
        """The one switch: what became of it decides when it is due again."""
        match verdict.outcome:
            case Outcome.SYNCED:
                self._backoff.forget(key)
            case Outcome.WAITING:
                self._backoff.forget(key)
                self._queue.add(key, Priority.RETRY, delay=self._shared.poll_interval)
            case Outcome.HELD | Outcome.FAILED:
                delay = self._backoff.failed(key, at_least=verdict.at_least)
                self._queue.add(key, Priority.RETRY, delay=delay)
            case _:
                assert_never(verdict.outcome)
        now = self._shared.clock()
        self._shared.observer.reconciled(
            Reconciled(
                id=secrets.token_hex(4),
                sink=place.name,
                key=key,
                outcome=verdict.outcome,
                written=verdict.written,
                seconds=now - started,
                waited=now - wish.since,
                fresh=wish.priority is Priority.FRESH,
                reason=verdict.reason,
            )
        )


def _failure(error: Exception) -> _Verdict:
    at_least = _at_least(error.retry, error.retry_after) if isinstance(error, SinkError) else SLOW
    return _Verdict(Outcome.FAILED, reason_of(error), at_least=at_least)


def _verdict(entries: Sequence[Entry]) -> _Verdict:
    written = len(applied(entries))
    failed = [one for one in entries if one.error]
    if failed:
        at_least = max(_at_least(one.retry, one.retry_after) for one in failed)
        return _Verdict(Outcome.FAILED, failed[0].error or "", written, at_least)
    held = [one for one in entries if one.action in ("hold", "conflict")]
    if any(one.state is State.SETTLING for one in held):
        return _Verdict(Outcome.WAITING, held[0].reason, written)
    if held:
        return _Verdict(Outcome.HELD, held[0].reason, written)
    return _Verdict(Outcome.SYNCED, written=written)


def _at_least(retry: Retry, retry_after: float | None) -> float:
    return max(SLOW if retry is Retry.SLOWLY else 0.0, retry_after or 0.0)


def _by_key(entries: Sequence[Entry]) -> Mapping[InstallationKey, list[Entry]]:
    grouped: dict[InstallationKey, list[Entry]] = {}
    for entry in entries:
        grouped.setdefault(entry.subject.key, []).append(entry)
    return grouped


def _halves(wishes: Mapping[InstallationKey, Wish]) -> tuple[dict[InstallationKey, Wish], ...]:
    items = [*wishes.items()]
    middle = len(items) // 2
    return dict(items[:middle]), dict(items[middle:])
