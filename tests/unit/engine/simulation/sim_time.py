"""Virtual time in which no timer goes off before its time, not even by a rounding error.

asyncio lets timers go off a nanosecond early. Two workers that find that it is not yet time, and set
another timer each, then keep a clock that only moves when nobody is ready where it is, for ever.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from typing import TypeVar

from tests.unit.engine.virtual_time import VirtualLoop

_Answer = TypeVar("_Answer")


class ExactLoop(VirtualLoop):
    @property
    def _clock_resolution(self) -> float:
        return math.ulp(self.time())

    @_clock_resolution.setter
    def _clock_resolution(self, _: float) -> None:
        """What asyncio takes for it is the real clock's."""


def run_exactly(coroutine: Coroutine[object, object, _Answer]) -> _Answer:
    with asyncio.Runner(loop_factory=ExactLoop) as runner:
        return runner.run(coroutine)
