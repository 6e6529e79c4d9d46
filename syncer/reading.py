"""What commands and API read of a source: installations, runs, and outputs as this project selects them.

One reader for both, so that they cannot tell different stories. Who may read what is the API's
business, how it looks theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, assert_never

from syncer.core.errors import NoSuchInstallation, NoSuchRun, NothingToRead, SourceRefused
from syncer.core.model import (
    Installation,
    InstallationKey,
    Loaded,
    OutputRef,
    OutputState,
    Quarantined,
    Rule,
    SelectedOutput,
)
from syncer.core.rows import (
    InstallationFilter,
    InstallationPage,
    InstallationRow,
    OutputRow,
    RunPage,
    SelectedOutputs,
)
from syncer.core.selection import Selected, Unborn, Withdrawn, Withheld, select
from syncer.sources.porter.listing import (
    list_installations,
    list_outputs,
    page_installations,
    page_runs,
    run_owner,
)
from syncer.sources.porter.source import PorterSource

_EVERYTHING: Final = Rule(name="", targets=())


class Reader:
    """Reads an open source. Every method raises `SourceError` where that cannot be read."""

    def __init__(self, source: PorterSource) -> None:
        self._source = source

    async def installations(
        self, wanted: InstallationFilter, *, size: int, beyond: InstallationKey | None
    ) -> InstallationPage:
        """By namespace and name, `size` at most, behind `beyond`."""
        return await page_installations(self._source.store, wanted, size=size, beyond=beyond)

    async def every_installation(self, wanted: InstallationFilter) -> Sequence[InstallationRow]:
        """Newest change first."""
        return await list_installations(self._source.store, wanted)

    async def runs(self, key: InstallationKey, *, size: int, beyond: str | None) -> RunPage:
        """Last started first, `size` at most, behind the run `beyond`.

        Raises `NoSuchInstallation`, or `NoSuchRun` where the run `beyond` is gone.
        """
        page = await page_runs(self._source.store, key, size=size, beyond=beyond)
        if not page.rows and not await self._source.exists(key):
            raise NoSuchInstallation(f"there is no installation {key}")
        return page

    async def owner(self, run_id: str) -> InstallationKey:
        """Whose run it is. Raises `SourceRefused` if there is no such run."""
        return await run_owner(self._source.store, run_id)

    async def selected(self, key: InstallationKey, run_id: str | None = None) -> SelectedOutputs:
        """The latest successful outputs, or those of one succeeded run. No value is read.

        Raises `NoSuchInstallation`, `NoSuchRun`, or `NothingToRead` where nothing can be said.
        """
        if run_id is not None:
            return SelectedOutputs(run_id=run_id, outputs=_of_run(await self._source.history(key), run_id))
        loaded = (await self._source.load([key])).get(key)
        if loaded is None:
            raise NoSuchInstallation(f"there is no installation {key}")
        match selection := select(loaded, _EVERYTHING):
            case Selected(outputs):
                return SelectedOutputs(run_id=outputs.run_id, outputs=outputs.outputs)
            case Unborn() | Withdrawn():
                return SelectedOutputs(run_id="", outputs={})
            case Withheld(reason):
                raise NothingToRead(f"installation {key}: {reason}")
            case _:
                assert_never(selection)

    async def values(self, wanted: Collection[OutputRef]) -> Mapping[OutputRef, OutputState]:
        """As `core.ports.Source.values`."""
        return await self._source.values(wanted)

    async def as_porter(self, key: InstallationKey, *, sensitive: bool) -> Sequence[OutputRow]:
        """The newest outputs, whatever became of their runs.

        Raises `NoSuchInstallation`, or `NothingToRead` where Porter fails.
        """
        if not await self._source.exists(key):
            raise NoSuchInstallation(f"there is no installation {key}")
        try:
            return await list_outputs(self._source.store, self._source.resolver, key, sensitive=sensitive)
        except SourceRefused as error:
            raise NothingToRead(error.reason) from None


def _of_run(loaded: Loaded | None, run_id: str) -> Mapping[str, SelectedOutput]:
    """What one run produced. NB: what the newest bundle does not declare counts as sensitive."""
    if loaded is None:
        raise NoSuchInstallation(f"run {run_id}: its installation is deleted")
    if isinstance(loaded, Quarantined):
        raise NothingToRead(f"run {run_id}: {loaded.reason}")
    results = [result for result in loaded.results if result.run_id == run_id]
    if not results:
        raise NoSuchRun(f"run {run_id} did not succeed, or belongs to an earlier life of its installation")
    return {
        name: _selected(loaded, OutputRef(loaded.key, run_id, result.id, name, digest))
        for result in reversed(results)
        for name, digest in result.outputs.items()
    }


def _selected(loaded: Installation, ref: OutputRef) -> SelectedOutput:
    declared = loaded.declared.get(ref.name)
    return SelectedOutput(
        ref=ref,
        sensitive=declared is None or declared.sensitive,
        type="" if declared is None else declared.type,
    )
