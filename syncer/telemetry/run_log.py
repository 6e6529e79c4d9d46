"""The log of the controller: one line for each reconciliation, and one for each change of state.

What has not changed since it was said is said again at debug level only. Everything that is in a line
(names, addresses, reasons) is fit for users; values are never handed to an observer.
"""

from __future__ import annotations

from typing import Final

import structlog

from syncer.core.ports import Outcome, Reconciled
from syncer.telemetry.entries import told
from syncer.telemetry.recent import Recent

_REMEMBERED: Final = 20_000
"""Installations whose last trouble is known; of those beyond, it may be said again."""


class RunLog:
    """A `RunObserver` that writes log lines."""

    def __init__(self) -> None:
        self._log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("syncer")
        self._troubles = Recent(_REMEMBERED)
        self._states = Recent(1024)

    def progress(self, what: str, done: int, total: int) -> None:
        """Nobody watches a controller's progress."""

    def entry(self, entry: object) -> None:
        one = told(entry)
        if one.action == "keep":
            return  # NB: a sweep tells thousands of them, and even a line nobody wants costs something
        self._log.debug(
            "change",
            action=one.action,
            address=one.subject.address,
            installation=str(one.subject.key),
            run=one.subject.run_id,
            state=one.state.value,
            reason=one.error or one.reason,
        )

    def failed(self, sink: str, reason: str) -> None:
        tell = self._log.warning if self._states.is_news(("sweep", sink), reason) else self._log.debug
        tell("sink not finished", sink=sink, reason=reason)

    def reconciled(self, what: Reconciled) -> None:
        tell = self._log.info if self._matters(what) else self._log.debug
        tell(
            "reconciled",
            id=what.id,
            sink=what.sink,
            installation=str(what.key),
            outcome=what.outcome.value,
            written=what.written,
            seconds=round(what.seconds, 3),
            waited=round(what.waited, 3),
            reason=what.reason,
        )

    def _matters(self, what: Reconciled) -> bool:
        about = (what.sink, what.key)
        if what.outcome is Outcome.SYNCED:
            self._troubles.forget(about)
            return what.written > 0
        return self._troubles.is_news(about, f"{what.outcome.value} {what.reason}") or what.written > 0

    def source(self, failure: str | None) -> None:
        if not self._states.is_news("source", failure or ""):
            return
        if failure is None:
            self._log.info("source readable")
        else:
            self._log.warning("source not readable", reason=failure)

    def sink(self, name: str, failure: str | None) -> None:
        if not self._states.is_news(("sink", name), failure or ""):
            return
        if failure is None:
            self._log.info("sink works", sink=name)
        else:
            self._log.warning("sink left alone for a while", sink=name, reason=failure)

    def swept(self, sink: str, seconds: float) -> None:
        self._states.forget(("sweep", sink))
        self._log.debug("swept", sink=sink, seconds=round(seconds, 3))

    def leading(self, leading: bool) -> None:  # noqa: FBT001  # a fact, not an option
        if self._states.is_news("leading", str(leading)):
            self._log.info("leading" if leading else "standing by")

    def restarted(self, sink: str, workload: str) -> None:
        self._log.info("workload restarted", sink=sink, workload=workload)

    def serving(self, address: str) -> None:
        """The API listens there."""
        self._log.info("serving the API", address=address)

    def reloaded(self, refusal: str | None) -> None:
        """The configuration was read anew: it is in use, or (with the reason) refused."""
        if refusal is None:
            self._log.info("configuration reloaded")
        else:
            self._log.warning("configuration refused, the old one stays", reason=refusal)
