"""What the engine needs from the outside, beside sinks: a source, and someone to tell.

Signatures only. `sources` implements `Source` and `ValueResolver`, `telemetry` `Observer`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
