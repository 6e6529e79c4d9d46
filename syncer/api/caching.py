"""Remembers answers for a short time, and asks equal questions that come at once only once.

Bounded in number and time. The clock is given, and must be a monotonic one. Failures are not remembered.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Lasting(Generic[Answer]):
    """An answer, and for how many seconds it holds; from when it was asked, not from when it came."""

    answer: Answer
    seconds: float


@dataclass(slots=True)
class _Flight(Generic[Answer]):
    """A question that was asked and not answered yet."""

    task: asyncio.Task[Answer]
    askers: int = 0


class AnswerCache(Generic[Answer]):
    """The least recently used answers are forgotten beyond `size`."""

    def __init__(self, *, size: int, clock: Callable[[], float]) -> None:
        self._size = size
        self._clock = clock
        self._known: OrderedDict[Hashable, tuple[Answer, float]] = OrderedDict()
        self._flights: dict[Hashable, _Flight[Answer]] = {}

    def __len__(self) -> int:
        return len(self._known)

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[Lasting[Answer]]]) -> Answer:
        """The answer that is known, or will be; raises what `ask` raises.

        An asker that is cancelled takes nothing from the others; with the last one the question ends.
        """
        known = self._known.get(key)
        if known is not None and self._clock() < known[1]:
            self._known.move_to_end(key)
            return known[0]
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = self._take_off(key, ask)
        flight.askers += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.askers -= 1
            if not flight.askers and not flight.task.done():
                self._land(key, flight.task)
                flight.task.cancel()

    def _take_off(self, key: Hashable, ask: Callable[[], Awaitable[Lasting[Answer]]]) -> _Flight[Answer]:
        task = asyncio.create_task(self._asked(key, ask))
        task.add_done_callback(lambda task: self._land(key, task))
        return _Flight(task)

    def _land(self, key: Hashable, task: asyncio.Task[Answer]) -> None:
        flight = self._flights.get(key)
        if flight is not None and flight.task is task:  # else somebody asks anew already
            del self._flights[key]
        if task.done() and not task.cancelled():
            task.exception()  # seen; every asker that still waits has it raised

    async def _asked(self, key: Hashable, ask: Callable[[], Awaitable[Lasting[Answer]]]) -> Answer:
        asked_at = self._clock()
        lasting = await ask()
        self._known.pop(key, None)
        if self._clock() < asked_at + lasting.seconds:
            self._known[key] = lasting.answer, asked_at + lasting.seconds
        if len(self._known) > self._size:
            self._known.popitem(last=False)
        return lasting.answer
