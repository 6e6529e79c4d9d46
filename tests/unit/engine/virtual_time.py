"""An event loop whose time is virtual: where it would wait for a timer, time moves on to it.

Its `time` is the clock to hand to the code under test. Threads of `to_thread` are waited for, and time
stands still for them. Real connections are refused: nobody could tell which comes first.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Coroutine
from typing import Final, TypeVar

_PATIENCE: Final = 20.0
"""Real seconds a thread may take."""

_Answer = TypeVar("_Answer")


class Deadlock(RuntimeError):
    """Everybody waits for somebody."""


class _Skipping(selectors.DefaultSelector):
    """Waits for threads only; `now` moves on instead of waiting for a timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.threads = 0

    def register(self, fileobj, events, data=None):
        # The first is the loop's own: how threads wake it.
        if self.get_map():
            raise RuntimeError("virtual time and real connections do not go together")
        return super().register(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        idle = timeout is None or timeout > 0
        ready = super().select(_PATIENCE if idle and self.threads else 0)
        if idle and not ready:
            if timeout is None or self.threads:
                raise Deadlock("nothing is ready, and no timer or thread will change that")
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at 0."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now

    @property
    def _clock_resolution(self) -> float:
        """NB: asyncio lets timers go off that much early. Two workers that find that it is not yet time, and
        set another timer each, would keep a clock where it is that moves only when nobody is ready.
        """
        return math.ulp(self.time())

    @_clock_resolution.setter
    def _clock_resolution(self, _: float) -> None:
        """What asyncio takes for it is the real clock's."""

    def run_in_executor(self, executor, func, *args):
        future = super().run_in_executor(executor, func, *args)
        self._thread(1)
        future.add_done_callback(lambda _: self._thread(-1))
        return future

    async def shutdown_default_executor(self) -> None:
        self._thread(1)
        await super().shutdown_default_executor()
        self._thread(-1)

    def _thread(self, change: int) -> None:
        self._skipping.threads += change


def run_virtual(coroutine: Coroutine[object, object, _Answer]) -> _Answer:
    """Its result; raises `Deadlock` where it would wait for ever."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)
