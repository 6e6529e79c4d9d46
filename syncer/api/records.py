"""What the services need from the inside: someone who reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from syncer.core.model import InstallationKey, OutputRef, OutputState
from syncer.core.rows import (
    InstallationFilter,
    InstallationPage,
    InstallationRow,
    OutputRow,
    RunPage,
    SelectedOutputs,
)


class Records(Protocol):
    """Porter's records. Every method raises `SourceError` where they cannot be read."""

    async def installations(
        self, wanted: InstallationFilter, *, size: int, beyond: InstallationKey | None
    ) -> InstallationPage:
        """By namespace and name, `size` at most, behind `beyond`."""
        ...

    async def every_installation(self, wanted: InstallationFilter) -> Sequence[InstallationRow]:
        """Newest change first."""
        ...

    async def runs(self, key: InstallationKey, *, size: int, beyond: str | None) -> RunPage:
        """Last started first, `size` at most, behind the run `beyond`.

        Raises `NoSuchInstallation`, or `NoSuchRun` where the run `beyond` is gone.
        """
        ...

    async def selected(self, key: InstallationKey, run_id: str | None = None) -> SelectedOutputs:
        """The latest successful outputs, or those of one succeeded run. No value is read.

        Raises `NoSuchInstallation`, `NoSuchRun`, or `NothingToRead` where nothing can be said.
        """
        ...

    async def values(self, wanted: Collection[OutputRef]) -> Mapping[OutputRef, OutputState]:
        """The bytes of these outputs; every one asked for is in the answer."""
        ...

    async def as_porter(self, key: InstallationKey, *, sensitive: bool) -> Sequence[OutputRow]:
        """The newest outputs, whatever became of their runs.

        Raises `NoSuchInstallation`, or `NothingToRead` where Porter fails.
        """
        ...
