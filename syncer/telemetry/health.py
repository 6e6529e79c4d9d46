"""Whether the process is alive, and whether it is ready; each with one line that says why.

Only remembers what it is told. Alive: nothing that has to run for ever has ended. Ready: it stands by, or
the source was read completely, so that the first sweep of every sink that can be reached is under way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from syncer.core.ports import Reconciled


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An answer to one of the two questions."""

    good: bool
    why: str
    """One line, fit for users."""


class Health:
    """A `RunObserver`; the runner tells the rest: `configured`, `died`.

    `sinks` are the configured ones; `holder` says who leads, "" where that is not known.
    """

    def __init__(self, *, sinks: Collection[str], holder: Callable[[], str] = lambda: "") -> None:
        self._sinks = tuple(sinks)
        self._holder = holder
        self._configured = False
        self._died: str | None = None
        self._leading: bool | None = None
        self._begin_term()

    def _begin_term(self) -> None:
        """Nothing is carried over from when somebody else wrote."""
        self._source_read = False
        self._source_failure: str | None = None
        self._sink_failures: dict[str, str] = {}
        self._unswept = dict.fromkeys(self._sinks)

    def alive(self) -> Verdict:
        """NB: whoever gets an answer knows already that the event loop turns."""
        return Verdict(good=self._died is None, why=self._died or "alive")

    def ready(self) -> Verdict:
        if self._died is not None:
            return self.alive()
        if not self._configured:
            return Verdict(good=False, why="the configuration is not loaded yet")
        if self._leading is None:
            return Verdict(good=False, why="it is not known yet who leads")
        if not self._leading:
            return Verdict(good=True, why=f"standby: leader is {self._holder() or 'not known'}")
        if not self._source_read:
            return Verdict(good=False, why=f"source: {self._source_failure or 'not read completely yet'}")
        return Verdict(good=True, why="; ".join(["leading", *self._unfinished()]))

    def _unfinished(self) -> list[str]:
        down = [f"sink {name}: {why}" for name, why in self._sink_failures.items()]
        going = [name for name in self._unswept if name not in self._sink_failures]
        return down + ([f"first sweep under way: {', '.join(going)}"] if going else [])

    # --- what the runner tells

    def configured(self) -> None:
        """The configuration is loaded."""
        self._configured = True

    def died(self, reason: str) -> None:
        """Something that has to run for ever has ended; nothing mends that but a restart."""
        self._died = reason

    # --- what observers are told

    def progress(self, what: str, done: int, total: int) -> None: ...

    def entry(self, entry: object) -> None: ...

    def failed(self, sink: str, reason: str) -> None: ...

    def reconciled(self, what: Reconciled) -> None: ...

    def restarted(self, sink: str, workload: str) -> None: ...

    def leading(self, leading: bool) -> None:  # noqa: FBT001  # a fact, not an option
        self._leading = leading
        self._begin_term()

    def source(self, failure: str | None) -> None:
        self._source_failure = failure

    def sink(self, name: str, failure: str | None) -> None:
        """NB: no sink is asked for anything before the source was read completely."""
        self._source_read = True
        self._sink_failures.pop(name, None)
        if failure is not None:
            self._sink_failures[name] = failure

    def swept(self, sink: str, seconds: float) -> None:  # noqa: ARG002  # observers are told
        self._unswept.pop(sink, None)
