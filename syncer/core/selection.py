"""Which outputs of an installation are published under a rule. Pure.

The rule of the house: per output, the value of the highest succeeded result that has it, if
the newest succeeded modifying run still declares it, and never across an uninstall. Only this
life's succeeded results get here (`Installation.results`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from syncer.core.model import (
    Declaration,
    Installation,
    InstallationKey,
    InstallationState,
    Loaded,
    Match,
    OutputFilter,
    OutputRef,
    OutputSet,
    Quarantined,
    Result,
    Rule,
    SelectedOutput,
    Sensitivity,
)


@dataclass(frozen=True, slots=True)
class Selected:
    """The outputs a rule publishes; may be empty."""

    outputs: OutputSet
    lacking: bool
    """Whether something the bundle declares is not among them: then an empty set proves nothing."""


@dataclass(frozen=True, slots=True)
class Unborn:
    """No modifying run has succeeded in this life: nothing to publish, nothing to take away."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Uninstalled, the record kept."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Nothing may be concluded, in either direction. `reason` says why."""

    reason: str


Selection = Selected | Unborn | Withdrawn | Withheld


def matches(match: Match, key: InstallationKey, labels: Mapping[str, str]) -> bool:
    """Whether a rule is for this installation."""
    return (
        _any_glob(match.namespaces, key.namespace)
        and _any_glob(match.installations, key.name)
        and all(labels.get(name) == value for name, value in match.labels.items())
    )


def select(loaded: Loaded, rule: Rule) -> Selection:
    """What `rule` publishes of this installation."""
    if isinstance(loaded, Quarantined):
        return Withheld(loaded.reason)
    if loaded.state is InstallationState.UNINSTALLED:
        return Withdrawn()
    newest = next((result for result in loaded.results if result.modifies), None)
    if newest is None:
        return Unborn()
    if newest.action == "uninstall":
        return Withheld("the newest successful run is an uninstall, but the installation is not marked so")
    results = _since_uninstall(loaded.results)
    taken = _latest(results if rule.carry_over else results[:1], loaded)
    kept = {name: output for name, output in taken.items() if _wanted(rule.outputs, name, output.sensitive)}
    outputs = OutputSet(
        key=loaded.key,
        id=loaded.id,
        run_id=results[0].run_id,
        result_id=results[0].id,
        action=results[0].action,
        outputs=kept,
    )
    return Selected(outputs, lacking=len(kept) < len(loaded.declared))


def _since_uninstall(results: tuple[Result, ...]) -> tuple[Result, ...]:
    floor = next((result.id for result in results if result.action == "uninstall"), "")
    return tuple(result for result in results if result.id >= floor)


def _latest(results: tuple[Result, ...], installation: Installation) -> dict[str, SelectedOutput]:
    taken: dict[str, SelectedOutput] = {}
    for result in results:
        for name, digest in result.outputs.items():
            if name not in taken and name in installation.declared:
                ref = OutputRef(installation.key, result.run_id, result.id, name, digest)
                taken[name] = _selected(ref, installation.declared[name])
    return taken


def _selected(ref: OutputRef, declaration: Declaration) -> SelectedOutput:
    return SelectedOutput(ref=ref, sensitive=declaration.sensitive, type=declaration.type)


def _wanted(chosen: OutputFilter, name: str, sensitive: bool) -> bool:  # noqa: FBT001  # a fact, not a switch
    if chosen.sensitivity is not Sensitivity.ANY and sensitive is not (
        chosen.sensitivity is Sensitivity.SENSITIVE
    ):
        return False
    return _any_glob(chosen.include, name) and not _any_glob(chosen.exclude, name)


def _any_glob(patterns: tuple[str, ...], text: str) -> bool:
    return "*" in patterns or any(fnmatchcase(text, pattern) for pattern in patterns)
