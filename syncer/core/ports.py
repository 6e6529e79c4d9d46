"""What the engine needs from the outside, beside sinks: a source, and someone to tell.

Signatures only. `sources` implements `Source` and `ValueResolver`, `telemetry` `Observer`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Protocol, Self

from backends.contract import Finding
from backends.secret_value import SecretValue
from syncer.core.model import InstallationKey, InstallationRef, Loaded, OutputRef, OutputState


class Source(Protocol):
    """Where installations and their outputs are read.

    Every method raises `SourceError` when its answer would not be complete; it never answers
    with less than there is.
    """

    @property
    def fingerprint(self) -> str:
        """Which source this is; goes into every mark."""
        ...

    async def check(self) -> tuple[Finding, ...]:
        """Reachable, migrated, and no more rights than reading."""
        ...

    async def list(self) -> Sequence[InstallationRef]:
        """Every installation there is."""
        ...

    async def load(self, keys: Collection[InstallationKey]) -> Mapping[InstallationKey, Loaded]:
        """Complete snapshots of these; one that does not exist is missing from the answer.

        The number of queries grows with batches, not with installations.
        """
        ...

    async def values(self, wanted: Collection[OutputRef]) -> Mapping[OutputRef, OutputState]:
        """The bytes of these outputs, sensitive ones out of Porter's secret store.

        Every one asked for is in the answer.
        """
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Changes(Protocol):
    """Hints at what is new in the source; the truth is in what `Source` answers afterwards."""

    async def poll(self) -> frozenset[InstallationKey]:
        """Installations with results that no poll before has seen; the first one answers none.

        Its cost grows with what is new, not with history. Raises `SourceError`, and then the next
        poll answers what this one would have.
        """
        ...

    def wakes(self) -> AsyncIterator[frozenset[InstallationKey]]:
        """Installations something was just written for, as soon as the source tells; empty: anything.

        Ends at once where the source cannot tell at all. Failures are retried inside.
        """
        ...


class ValueResolver(Protocol):
    """Porter's secret store, read-only."""

    async def check(self) -> tuple[Finding, ...]: ...

    async def resolve(self, keys: Collection[str]) -> Mapping[str, SecretValue | str]:
        """For each key its bytes, or why there are none ("not in the store", ...).

        Raises `SourceUnavailable` when the store cannot be asked. Whether a key may be
        asked for at all is the caller's check.
        """
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Observer(Protocol):
    """Who is told what a pass does. Gets no value, and must not fail."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Long work went on: `done` of `total`."""
        ...

    def entry(self, entry: object) -> None:
        """One change was planned, or done (an `engine.report.Entry`)."""
        ...

    def failed(self, sink: str, reason: str) -> None:
        """A sink could not be finished."""
        ...


class Outcome(Enum):
    """What became of one installation at one sink: the label of the metric and of the log line."""

    SYNCED = "synced"
    WAITING = "waiting"
    """Its outputs are still on their way."""
    HELD = "held"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """One installation was brought up to date at one sink, as far as that was possible."""

    id: str
    """Of this reconciliation; names it in logs."""
    sink: str
    key: InstallationKey
    outcome: Outcome
    written: int
    """Secrets created, updated or deleted."""
    seconds: float
    """How long it took, waiting in the queue left out."""
    waited: float
    """Seconds from the wish to the end: how late the change arrived."""
    fresh: bool
    """Whether the source had said that it changed; otherwise it was a retry, drift or a sweep."""
    reason: str
    """Why it is not in sync; "" where it is."""


class RunObserver(Observer, Protocol):
    """Who is told what the controller does."""

    def reconciled(self, what: Reconciled) -> None: ...

    def source(self, failure: str | None) -> None:
        """The source was read, or (with a reason) could not be."""
        ...

    def sink(self, name: str, failure: str | None) -> None:
        """A sink works, or (with a reason) is left alone for a while."""
        ...

    def swept(self, sink: str, seconds: float) -> None:
        """Everything at a sink was compared."""
        ...

    def leading(self, leading: bool) -> None:  # noqa: FBT001  # a fact, not an option
        """We write, or stand by."""
        ...

    def restarted(self, sink: str, workload: str) -> None:
        """A consumer was restarted because what it reads has changed."""
        ...
