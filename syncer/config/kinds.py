"""Validates what belongs to kinds of sinks: their options, and their part of each target.

Works on the document rather than on the validated file, so that mistakes here are reported
together with mistakes elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from backends.contract import Naming, Place, SaysPlaces, SinkKind, TargetOptions
from syncer.config.document import Data, Document
from syncer.config.errors import FieldPath
from syncer.config.schema import SinkEntry, TargetEntry
from syncer.config.validation import setting_names, unknown_setting, validate

FindKind = Callable[[str], SinkKind]
"""Raises `LookupError`, with a reason fit for users, for a kind that is not installed."""

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedSink:
    """A sink of a known kind; without options and naming where its settings are wrong."""

    kind: SinkKind
    options: BaseModel | None
    naming: Naming | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedTarget:
    """A target of a checked sink, with what its kind says of it."""

    sink: CheckedSink
    options: TargetOptions
    rule: str
    entry: Mapping[str, Data]
    """The target as it stands in the file."""


def items(data: Data, name: str) -> list[tuple[int, dict[str, Data]]]:
    """The mappings in the list `name`, with their positions; what is no mapping the schema reports."""
    listed = data.get(name) if isinstance(data, dict) else None
    entries = listed if isinstance(listed, list) else []
    return [(index, entry) for index, entry in enumerate(entries) if isinstance(entry, dict)]


def check_sinks(document: Document, find_kind: FindKind) -> dict[str, CheckedSink]:
    """Every sink of a known kind, by name."""
    sinks: dict[str, CheckedSink] = {}
    for index, entry in items(document.data, "sinks"):
        name, kind = entry.get("name"), entry.get("kind")
        if not isinstance(name, str):
            continue
        if name in sinks:
            document.report(("sinks", index, "name"), "another sink has this name")
        elif isinstance(kind, str) and kind:
            found = _check_sink(kind, entry, index, document, find_kind)
            if found is not None:
                sinks[name] = found
    _refuse_shared_places(sinks, document)
    return sinks


def _check_sink(
    kind: str,
    entry: dict[str, Data],
    index: int,
    document: Document,
    find_kind: FindKind,
) -> CheckedSink | None:
    try:
        found = find_kind(kind)
    except (LookupError, TypeError) as error:
        document.report(("sinks", index, "kind"), str(error.args[0]))
        return None
    options = _own_settings(found.options, SinkEntry, entry, ("sinks", index), document)
    naming = None if options is None else found.naming(options)
    return CheckedSink(kind=found, options=options, naming=naming)


def check_targets(document: Document, sinks: Mapping[str, CheckedSink]) -> dict[FieldPath, CheckedTarget]:
    """Every target whose own settings are right, by its place in the file."""
    declared = [entry.get("name") for _, entry in items(document.data, "sinks")]
    targets: dict[FieldPath, CheckedTarget] = {}
    for number, rule in items(document.data, "rules"):
        for index, entry in items(rule, "targets"):
            path = ("rules", number, "targets", index)
            name = entry.get("sink")
            if not isinstance(name, str):
                continue
            if name not in declared:
                document.report((*path, "sink"), "no sink has this name")
            elif name in sinks:
                kind = sinks[name].kind
                options = _own_settings(kind.target, TargetEntry, entry, path, document)
                if options is not None:
                    targets[path] = CheckedTarget(
                        sink=sinks[name], options=options, rule=str(rule.get("name")), entry=entry
                    )
    return targets


def _own_settings(
    model: type[_Model],
    common: type[BaseModel],
    entry: dict[str, Data],
    path: FieldPath,
    document: Document,
) -> _Model | None:
    """The settings of an entry that are its kind's, checked and with absolute paths."""
    shared, own = setting_names(common), setting_names(model)
    unknown = entry.keys() - shared - own
    for name in unknown:
        document.report((*path, name), unknown_setting(name, shared | own))
    mine: Data = {name: value for name, value in entry.items() if name in own - shared}
    found = validate(model, mine, path, document)
    return None if found is None or unknown else anchored(found, path, document)


def anchored(model: _Model, path: FieldPath, document: Document) -> _Model:
    """The model with every path in it absolute: relative ones start at the file's folder."""
    changed: dict[str, object] = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        where = (*path, field.alias or name)
        if isinstance(value, Path):
            try:
                changed[name] = document.surroundings.locate(value)
            except ValueError as error:
                document.report(where, str(error))
        elif isinstance(value, BaseModel):
            changed[name] = anchored(value, where, document)
    return model.model_copy(update=changed)


def _refuse_shared_places(sinks: Mapping[str, CheckedSink], document: Document) -> None:
    """Two sinks for one place would each take the other's deletions and updates for drift."""
    taken: list[tuple[Place, str]] = []
    for index, entry in items(document.data, "sinks"):
        sink = sinks.get(str(entry.get("name")))
        if sink is None or sink.options is None:
            continue
        mine = [(sink.kind.kind, *place) for place in _places(sink.options)]
        earlier = next((name for place, name in taken if any(_overlap(place, one) for one in mine)), None)
        if earlier not in (None, entry["name"]):
            document.report(("sinks", index), f"is the same place as the sink {earlier!r}")
        taken += [(place, str(entry["name"])) for place in mine]


def _overlap(one: Place, other: Place) -> bool:
    """Whether they are the same, or one lies within the other."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _places(options: BaseModel) -> Iterable[Place]:
    """Where a sink writes: what its options say themselves, else their texts and paths."""
    if isinstance(options, SaysPlaces):
        return options.places()
    values = ((name, getattr(options, name)) for name in sorted(type(options).model_fields))
    texts = ((name, value) for name, value in values if isinstance(value, str | Path))
    return [tuple((name, value.resolve() if isinstance(value, Path) else value) for name, value in texts)]
