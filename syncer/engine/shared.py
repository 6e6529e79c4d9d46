"""What the controllers of all sinks have in common. Values and views only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from syncer.core.model import Policy
from syncer.core.ports import RunObserver, Source
from syncer.engine.known import Known


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """One term of one process: from when it may write until it may not any more."""

    source: Source
    policy: Policy
    known: Known
    observer: RunObserver
    allowed: Callable[[], bool]
    """Whether a write may leave now."""
    clock: Callable[[], float]
    """Monotonic seconds."""
    poll_interval: float
    deletion_check_interval: float
    resync_interval: float
