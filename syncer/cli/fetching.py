"""Fetches the outputs that `installations outputs` prints: ours as selected, or Porter's way.

A sensitive value that is not to be shown is not asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from backends.secret_value import SecretValue
from syncer.app import open_source
from syncer.cli.errors import CommandFailed
from syncer.cli.listing import ShownOutput
from syncer.config.model import Config
from syncer.core.model import (
    Found,
    InstallationKey,
    Missing,
    OutputRef,
    OutputState,
    SelectedOutput,
    Unresolved,
)
from syncer.core.rows import OutputRow
from syncer.reading import Reader
from syncer.sources.porter.listing import list_outputs, list_run_outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Whose outputs; at least one of name and run is given."""

    namespace: str
    name: str | None
    run_id: str | None
    """None: the latest."""

    def __str__(self) -> str:
        return f"run {self.run_id}" if self.run_id else f"installation {self.namespace}/{self.name}"


async def fetch_selected(config: Config, wanted: Wanted, *, show_sensitive: bool) -> Sequence[ShownOutput]:
    """By name. Raises `CommandFailed` or `NothingToRead` where nothing can be said."""
    async with open_source(config) as source:
        reader = Reader(source)
        chosen = await _chosen(reader, wanted)
        visible = {one.ref for one in chosen.values() if show_sensitive or not one.sensitive}
        states = await reader.values(visible)
        return [_shown(one, states) for _, one in sorted(chosen.items())]


async def fetch_one(config: Config, wanted: Wanted, name: str) -> SecretValue:
    """One output's value. Raises `CommandFailed` or `NothingToRead` where there is none."""
    async with open_source(config) as source:
        reader = Reader(source)
        chosen = await _chosen(reader, wanted)
        if name not in chosen:
            raise CommandFailed(f"{wanted}: there is no output {name!r}")
        ref = chosen[name].ref
        match (await reader.values([ref]))[ref]:
            case Found(value):
                return value
            case state:
                raise CommandFailed(f"{wanted}: output {name!r} {_why(state)}")


async def fetch_as_porter(config: Config, wanted: Wanted) -> Sequence[OutputRow]:
    """What Porter would list. Raises `SourceRefused` where Porter fails."""
    async with open_source(config) as source:
        key = await _owner(Reader(source), wanted)
        if wanted.run_id is None:
            return await list_outputs(source.store, source.resolver, key)
        return await list_run_outputs(source.store, source.resolver, wanted.run_id)


async def _chosen(reader: Reader, wanted: Wanted) -> Mapping[str, SelectedOutput]:
    return (await reader.selected(await _owner(reader, wanted), wanted.run_id)).outputs


async def _owner(reader: Reader, wanted: Wanted) -> InstallationKey:
    """The installation that is meant; a run has to be one of its own."""
    if wanted.run_id is None:
        return InstallationKey(wanted.namespace, wanted.name or "")
    owner = await reader.owner(wanted.run_id)
    if wanted.name is not None and owner != InstallationKey(wanted.namespace, wanted.name):
        raise CommandFailed(f"run {wanted.run_id} is none of {wanted.namespace}/{wanted.name}")
    return owner


def _shown(output: SelectedOutput, states: Mapping[OutputRef, OutputState]) -> ShownOutput:
    state = states.get(output.ref)
    return ShownOutput(
        name=output.ref.name,
        type=output.type,
        sensitive=output.sensitive,
        value=state.value if isinstance(state, Found) else None,
        reason="" if state is None or isinstance(state, Found) else _why(state),
    )


def _why(state: Missing | Unresolved) -> str:
    match state:
        case Missing():
            return "has no value yet"
        case Unresolved(reason):
            return reason
        case _:
            assert_never(state)
