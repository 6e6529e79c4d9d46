"""How fast one sink is written to: at most so many secrets a second, without a burst after a pause."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from backends.clients.rate import Bucket, Limit

_WINDOW: Final = 1.0


class Turns:
    """Each call waits for its turn; in the order of the calls. `clock` gives seconds."""

    def __init__(self, per_second: int | None, clock: Callable[[], float]) -> None:
        """`per_second`: None for as fast as the sink takes it."""
        self._clock = clock
        limit = per_second and Limit(requests=per_second + 1, burst=1, window=_WINDOW)
        self._bucket = Bucket(limit) if limit else None

    async def __call__(self) -> None:
        if self._bucket is None:
            return
        now = self._clock()
        wait = self._bucket.delay(now)
        self._bucket.take(now)
        if wait > 0:
            await asyncio.sleep(wait)
