"""What was asked of one vault, without values: a log, counts, and the busiest moment of an operation."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tests.servers.keyvault.model import WRITES, Operation


@dataclass(frozen=True, slots=True)
class Request:
    """One request that has been dealt with; a request still held is not in the log yet."""

    at: float
    """When it arrived, by the vault's clock."""
    method: str
    operation: Operation
    name: str | None
    client_id: str | None
    """Who asked; None when that was not known: no token, or one that is not good (401)."""
    status: int | None
    """None when the connection was dropped instead of an answer."""
    applied: bool
    """Whether the vault dealt with it; a fault may have answered in its place."""


class Journal:
    """Thread-safe."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._arrived: dict[Operation, list[float]] = {}
        self._writes = 0

    def arrived(self, operation: Operation) -> float:
        """Notes that somebody known asked for this; returns the time."""
        now = self._clock()
        with self._lock:
            self._arrived.setdefault(operation, []).append(now)
        return now

    def done(self, request: Request) -> None:
        """Notes how a request ended."""
        with self._lock:
            self._requests.append(request)

    def wrote(self, operation: Operation) -> None:
        """Notes that an operation succeeded, whatever becomes of its answer."""
        with self._lock:
            self._writes += operation in WRITES

    @property
    def writes(self) -> int:
        """How often something was set, updated, deleted, recovered or purged."""
        with self._lock:
            return self._writes

    def requests(self) -> tuple[Request, ...]:
        """Everything so far, in the order in which it was dealt with, 401 included."""
        with self._lock:
            return tuple(self._requests)

    def counts(self) -> Counter[str]:
        """How often each operation was asked for by somebody known, refusals included."""
        with self._lock:
            return Counter({str(each): len(times) for each, times in self._arrived.items()})

    def busiest(self, operation: str, seconds: float) -> int:
        """The largest number of such requests that arrived within any stretch of that length."""
        with self._lock:
            times = sorted(self._arrived.get(Operation(operation), ()))
        most = first = 0
        for last, at in enumerate(times):
            while times[first] <= at - seconds:
                first += 1
            most = max(most, last - first + 1)
        return most

    def clear(self) -> None:
        """Begins anew."""
        with self._lock:
            self._requests.clear()
            self._arrived.clear()
            self._writes = 0
