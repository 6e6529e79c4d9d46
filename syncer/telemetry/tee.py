"""Several observers as one: each is told everything, and none can disturb the others or whoever tells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import structlog

from syncer.core.ports import Reconciled, RunObserver
from syncer.telemetry.recent import Recent

_REMEMBERED: Final = 64


class Tee:
    """A `RunObserver` that passes on; `count` is called for every failure of one of `observers`."""

    def __init__(self, observers: Sequence[RunObserver], count: Callable[[], None]) -> None:
        self._observers = tuple(observers)
        self._count = count
        self._log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("syncer")
        self._faults = Recent(_REMEMBERED)

    def progress(self, what: str, done: int, total: int) -> None:
        self._each(lambda one: one.progress(what, done, total))

    def entry(self, entry: object) -> None:
        self._each(lambda one: one.entry(entry))

    def failed(self, sink: str, reason: str) -> None:
        self._each(lambda one: one.failed(sink, reason))

    def reconciled(self, what: Reconciled) -> None:
        self._each(lambda one: one.reconciled(what))

    def source(self, failure: str | None) -> None:
        self._each(lambda one: one.source(failure))

    def sink(self, name: str, failure: str | None) -> None:
        self._each(lambda one: one.sink(name, failure))

    def swept(self, sink: str, seconds: float) -> None:
        self._each(lambda one: one.swept(sink, seconds))

    def leading(self, leading: bool) -> None:  # noqa: FBT001  # a fact, not an option
        self._each(lambda one: one.leading(leading))

    def restarted(self, sink: str, workload: str) -> None:
        self._each(lambda one: one.restarted(sink, workload))

    def _each(self, tell: Callable[[RunObserver], None]) -> None:
        for observer in self._observers:
            try:
                tell(observer)
            except Exception as error:  # noqa: BLE001  # whatever it is, the controller goes on
                self._note(type(observer).__name__, type(error).__name__)

    def _note(self, observer: str, error: str) -> None:
        """NB: only the type: what an error says of itself could quote anything."""
        self._count()
        if self._faults.is_news(observer, error):
            self._log.error("an observer failed", observer=observer, exc_type=error)
