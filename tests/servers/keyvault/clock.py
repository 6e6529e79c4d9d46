"""The time a stand-in server goes by: the machine's, or one that stands still; a test may move either on."""

from __future__ import annotations

import threading
import time


class Clock:
    """Callable for the time in seconds since 1970; nothing here waits."""

    def __init__(self, frozen_at: float | None = None) -> None:
        """Runs with the machine's clock, or stands at `frozen_at` until it is moved on."""
        self._frozen_at = frozen_at
        self._ahead = 0.0
        self._lock = threading.Lock()

    def __call__(self) -> float:
        with self._lock:
            return (time.time() if self._frozen_at is None else self._frozen_at) + self._ahead

    def advance(self, seconds: float) -> None:
        """Moves the time on; may be called from any thread."""
        with self._lock:
            self._ahead += seconds
