"""Election by a lease: one record at a server, that the leader renews and anybody else waits for to run out.

The rules of client-go's leader election. A lease has run out when it did not change for its whole
duration by the clock of whoever waits; the leader stops earlier, at its deadline. No two clocks are ever
compared, only their rates have to be alike. Where the lease is kept is a port's affair (`LeaseLock`).
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Protocol, Self

from backends.clients.lease_record import LeaseRecord, micro_time
from backends.errors import SinkError

JITTER: Final = 1.2
"""The most that a pause between two attempts is longer than it has to be."""
_ATTEMPTS: Final = 2
"""Attempts to renew that fit into the time to the deadline, however slow the server is."""
_FAREWELL: Final = 3.0
"""Seconds to give a lease up in."""


class LeaseLock(Protocol):
    """Where the record is. Raises `LeaseTaken` where it is not what was read last, and `SinkError`."""

    async def read(self) -> LeaseRecord | None: ...

    async def create(self, record: LeaseRecord) -> None: ...

    async def update(self, record: LeaseRecord) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTimes:
    """In seconds. Raises `ValueError` for times that could make two processes lead at once."""

    lease_duration: float = 15.0
    """How long a lease holds that is not renewed: after that another process takes over."""
    renew_deadline: float = 10.0
    """How long its holder writes without having renewed it."""
    retry_period: float = 2.0
    """Between two attempts to renew it, or to get it."""

    def __post_init__(self) -> None:
        if not 0 < self.retry_period * JITTER < self.renew_deadline < self.lease_duration < math.inf:
            raise ValueError(
                f"a lease needs {JITTER} * retryPeriod < renewDeadline < leaseDuration: "
                f"{self.retry_period:g} s, {self.renew_deadline:g} s and {self.lease_duration:g} s are not"
            )


def _since_boot() -> float:
    """Seconds, those included in which the machine slept: a lease runs out meanwhile."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _utc() -> datetime:
    return datetime.now(UTC)


class LeaseElection:
    """Leads while it renews a lease in time. `identity` has to be another one in every process."""

    def __init__(
        self,
        lock: LeaseLock,
        identity: str,
        *,
        times: LeaseTimes | None = None,
        clock: Callable[[], float] = _since_boot,
        now: Callable[[], datetime] = _utc,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._lock = lock
        self._identity = identity
        self._times = times or LeaseTimes()
        self._clock = clock
        self._now = now
        self._chance = chance
        self._seen: LeaseRecord | None = None
        self._seen_at = -math.inf
        self._until = -math.inf
        self._wrote = False
        self._renewal: asyncio.Task[None] | None = None
        self.reason = ""
        """Why the last attempt to get or renew the lease did not succeed; "" where it did."""

    @property
    def holder(self) -> str:
        known = self._seen.holder if self._seen is not None else ""
        return known if known != self._identity or self.holds() else ""

    def holds(self) -> bool:
        return self._clock() < self._until

    async def acquire(self) -> None:
        await self._stop()
        while not await self._attempt(self._patience):  # noqa: ASYNC110  # a server tells nobody
            await asyncio.sleep(self._pause())
        self._renewal = asyncio.create_task(self._renew())

    async def lost(self) -> None:
        if self._renewal is not None:
            await asyncio.wait([self._renewal])

    async def release(self) -> None:
        await self._stop()
        if self._wrote:
            self._wrote = False
            with suppress(SinkError, TimeoutError):
                async with asyncio.timeout(_FAREWELL):
                    await self._give_up()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.release()

    @property
    def _patience(self) -> float:
        return self._times.renew_deadline / _ATTEMPTS

    def _pause(self) -> float:
        return self._times.retry_period * (1 + (JITTER - 1) * self._chance())

    async def _renew(self) -> None:
        """Ends when leadership is lost. Every wait in it ends by the deadline."""
        while (left := self._until - self._clock()) > 0:
            await asyncio.sleep(min(self._pause(), left))
            await self._attempt(min(self._patience, self._until - self._clock()))

    async def _attempt(self, seconds: float) -> bool:
        """Get or renew the lease; what kept us from it is in `reason`."""
        try:
            async with asyncio.timeout(seconds):
                self.reason = await self._try()
        except TimeoutError:
            self.reason = "the lease: there was no answer in time"
        except SinkError as error:
            self.reason = error.reason
        return not self.reason

    async def _try(self) -> str:
        """Answers why we may not have it."""
        found = await self._lock.read()
        if found != self._seen:
            # NB: after the answer: what we wait for must not have begun later than we think.
            self._seen, self._seen_at = found, self._clock()
        if found is not None and found.holder not in ("", self._identity):
            self._until = -math.inf
            if self._clock() < self._seen_at + (found.seconds or self._times.lease_duration):
                return f"{found.holder} leads"
        await self._take(found)
        return ""

    async def _take(self, found: LeaseRecord | None) -> None:
        began = self._clock()
        record = self._record(found)
        self._wrote = True
        await (self._lock.create(record) if found is None else self._lock.update(record))
        self._seen, self._seen_at = record, began
        self._until = began + self._times.renew_deadline

    def _record(self, found: LeaseRecord | None) -> LeaseRecord:
        now = micro_time(self._now())
        ours = found is not None and found.holder == self._identity
        before = found.transitions if found is not None else -1
        return LeaseRecord(
            holder=self._identity,
            seconds=math.ceil(self._times.lease_duration),
            acquired=found.acquired if found is not None and ours and found.acquired else now,
            renewed=now,
            transitions=before if ours else before + 1,
        )

    async def _stop(self) -> None:
        self._until = -math.inf
        if self._renewal is not None:
            renewal, self._renewal = self._renewal, None
            renewal.cancel()
            await asyncio.wait([renewal])

    async def _give_up(self) -> None:
        found = await self._lock.read()
        if found is not None and found.holder == self._identity:
            now = micro_time(self._now())
            await self._lock.update(replace(found, holder="", seconds=1, acquired=now, renewed=now))
