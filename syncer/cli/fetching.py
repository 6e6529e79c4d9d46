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
    Installation,
    InstallationKey,
    Missing,
    OutputRef,
    OutputState,
    Quarantined,
    Rule,
    SelectedOutput,
    Unresolved,
)
from syncer.core.selection import Selected, Unborn, Withdrawn, Withheld, select
from syncer.sources.porter.listing import OutputRow, list_outputs, list_run_outputs, run_owner
from syncer.sources.porter.source import PorterSource

_EVERYTHING = Rule(name="", targets=())


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
    """By name. Raises `CommandFailed` where nothing can be said."""
    async with open_source(config) as source:
        chosen = await _chosen(source, wanted)
        visible = {one.ref for one in chosen.values() if show_sensitive or not one.sensitive}
        states = await source.values(visible)
        return [_shown(one, states) for _, one in sorted(chosen.items())]


async def fetch_one(config: Config, wanted: Wanted, name: str) -> SecretValue:
    """One output's value. Raises `CommandFailed` where there is none."""
    async with open_source(config) as source:
        chosen = await _chosen(source, wanted)
        if name not in chosen:
            raise CommandFailed(f"{wanted}: there is no output {name!r}")
        ref = chosen[name].ref
        match (await source.values([ref]))[ref]:
            case Found(value):
                return value
            case state:
                raise CommandFailed(f"{wanted}: output {name!r} {_why(state)}")


async def fetch_as_porter(config: Config, wanted: Wanted) -> Sequence[OutputRow]:
    """What Porter would list. Raises `SourceRefused` where Porter fails."""
    async with open_source(config) as source:
        if wanted.run_id is None:
            key = InstallationKey(wanted.namespace, wanted.name or "")
            return await list_outputs(source.store, source.resolver, key)
        await _owner(source, wanted)
        return await list_run_outputs(source.store, source.resolver, wanted.run_id)


async def _chosen(source: PorterSource, wanted: Wanted) -> Mapping[str, SelectedOutput]:
    key = await _owner(source, wanted)
    if wanted.run_id is not None:
        return _of_run(await source.history(key), wanted.run_id)
    loaded = (await source.load([key])).get(key)
    if loaded is None:
        raise CommandFailed(f"there is no {wanted}")
    match selection := select(loaded, _EVERYTHING):
        case Selected(outputs):
            return outputs.outputs
        case Unborn() | Withdrawn():
            return {}
        case Withheld(reason):
            raise CommandFailed(f"{wanted}: {reason}")
        case _:
            assert_never(selection)


async def _owner(source: PorterSource, wanted: Wanted) -> InstallationKey:
    """The installation that is meant; a run has to be one of its own."""
    if wanted.run_id is None:
        return InstallationKey(wanted.namespace, wanted.name or "")
    owner = await run_owner(source.store, wanted.run_id)
    if wanted.name is not None and owner != InstallationKey(wanted.namespace, wanted.name):
        raise CommandFailed(f"run {wanted.run_id} is none of {wanted.namespace}/{wanted.name}")
    return owner


def _of_run(loaded: Installation | Quarantined | None, run_id: str) -> Mapping[str, SelectedOutput]:
    """What one run produced. NB: what the newest bundle does not declare counts as sensitive."""
    if loaded is None:
        raise CommandFailed(f"run {run_id}: its installation is deleted")
    if isinstance(loaded, Quarantined):
        raise CommandFailed(f"run {run_id}: {loaded.reason}")
    results = [result for result in loaded.results if result.run_id == run_id]
    if not results:
        raise CommandFailed(
            f"run {run_id} did not succeed, or belongs to an earlier life of its installation"
        )
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
