"""Sends changes to one sink: retries what may be retried, and looks again when the world moved.

Deciding is not its business: what a second look means is asked of the `decide` it is given.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_exponential_jitter,
)

from backends.contract import Absent, ObservedSecret, Owner, Sink
from backends.errors import (
    AuthenticationFailed,
    ForeignSecret,
    OutcomeUnknown,
    PreconditionFailed,
    Refused,
    SinkError,
    SinkUnavailable,
)
from syncer.core.changes import Change, Conflict, Create, Delete, Hold, Update
from syncer.engine.failures import SLOW, reason_of
from syncer.engine.report import Entry, entry_of

SINK_WIDE: Final = (SinkUnavailable, AuthenticationFailed, OutcomeUnknown)
"""What tells of the whole sink, not of one secret in it."""

_LOOKS = 4
"""How often a secret somebody else keeps changing is looked at before it is left for now."""
_ATTEMPTS = 4
LONGEST = 30.0
"""Seconds a single write may be retried for."""
_FIRST_PAUSE = 0.1
_BACKOFF = wait_exponential_jitter(multiplier=0.2, max=5.0)

Decide = Callable[[ObservedSecret | None], Change]
_Answer = TypeVar("_Answer")


class Applier:
    """Writes to one sink, `in_flight` at a time, until the sink turns out to be down."""

    def __init__(self, sink: Sink, owner: Owner, *, in_flight: int = 32, patience: float = LONGEST) -> None:
        """`patience`: seconds that a server may ask to be left alone for; after more the sink is down."""
        self._patience = patience
        self._sink = sink
        self._owner = owner
        self._slots = asyncio.Semaphore(in_flight)
        self.down: SinkError | None = None
        """Why nothing more is sent in this pass."""

    async def apply(self, change: Change, decide: Decide) -> Entry:
        """Do it, and say what came of it. `decide` tells the change for a newer observation."""
        async with self._slots:
            if self.down is not None:
                return entry_of(change, failure=self.down)
            try:
                return await self._applied(change, decide)
            except ForeignSecret as error:
                return entry_of(Conflict(subject=change.subject, reason=error.reason))
            except Refused as error:
                return entry_of(Hold(subject=change.subject, reason=error.reason))
            except SinkError as error:
                if isinstance(error, SINK_WIDE):
                    self.down = error
                return entry_of(change, failure=error)
            except Exception as error:  # noqa: BLE001  # a fault about one secret must not cancel the others
                return entry_of(change, failure=SinkError(reason_of(error), retry_after=SLOW))

    async def _applied(self, change: Change, decide: Decide) -> Entry:
        for look in range(1, _LOOKS + 1):
            try:
                await self._send(change)
            except PreconditionFailed:
                pass
            except OutcomeUnknown as error:
                # Reads may go on working where every write fails: not one after the other, and not for ever.
                if look == _LOOKS or (error.retry_after or 0.0) > self._patience:
                    raise
                await asyncio.sleep(_pause(look, error))
            else:
                return entry_of(change)
            change = decide(await self._look(change))
        return entry_of(change, failure=PreconditionFailed("it keeps changing while it is written"))

    async def _send(self, change: Change) -> None:
        match change:
            case Create(desired=desired):
                await self._retried(lambda: self._sink.put(desired, Absent()))
            case Update(desired=desired, expect=expect):
                await self._retried(lambda: self._sink.put(desired, expect))
            case Delete(observed=observed):
                await self._retried(lambda: self._sink.remove(observed))
            case _:
                pass

    async def _look(self, change: Change) -> ObservedSecret | None:
        path = change.subject.path or ""
        found = await self._retried(lambda: self._sink.observe(self._owner, [path]))
        return found.get(path)

    async def _retried(self, call: Callable[[], Awaitable[_Answer]]) -> _Answer:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(lambda error: _asked_to_wait(error) <= self._patience),
            stop=stop_after_attempt(_ATTEMPTS) | stop_after_delay(LONGEST),
            wait=_wait,
            reraise=True,
        ):
            with attempt:
                return await call()
        raise SinkError("no attempt was made")


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return max(_BACKOFF(state), 0.0 if error is None else _asked_to_wait(error))


def _pause(look: int, error: OutcomeUnknown) -> float:
    """Seconds before looking again whether a write whose answer is lost was done."""
    return max(_FIRST_PAUSE * 2.0 ** (look - 1), error.retry_after or 0.0)


def _asked_to_wait(error: BaseException) -> float:
    """Seconds the server wants to be left alone; for ever, after what no repetition mends."""
    return (error.retry_after or 0.0) if isinstance(error, SinkUnavailable) else math.inf
