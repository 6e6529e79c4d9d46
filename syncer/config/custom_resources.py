"""InstallationOutputs resources: what `customResources` adds to the sinks and rules of a file.

The resources are written by a sink of their own, beside one of kind `kubernetes`, and asked for by a rule
of their own; everything after this treats them as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from backends.contract import SinkKind
from syncer.config.document import Data, Document, member
from syncer.config.kinds import CheckedSink, items
from syncer.config.serving import CustomResourceSettings
from syncer.core.model import Match, Rule, Target

NAME: Final = "custom-resources"
"""Of the sink and of the rule."""
KIND: Final = "installation-outputs"
_BESIDE: Final = "kubernetes"


def check_custom_resources(
    document: Document, sinks: Mapping[str, CheckedSink], find_kind: Callable[[str], SinkKind]
) -> CheckedSink | None:
    """The sink that writes them; None where they are not enabled, or cannot be written."""
    _refuse_kind(document)
    settings = next(member(document.data, "customResources"), None)
    if not isinstance(settings, dict) or settings.get("enabled") is not True:
        return None
    _refuse_names(document)
    beside = _beside(settings, sinks, document)
    if beside is None or beside.options is None:
        return None
    kind = find_kind(KIND)
    fields = {name: getattr(beside.options, name) for name in kind.options.model_fields}
    options = kind.options.model_construct(**fields)
    return CheckedSink(kind=kind, options=options, naming=kind.naming(options))


def beside(settings: CustomResourceSettings, sinks: Mapping[str, CheckedSink]) -> str:
    """Name of the sink whose Secrets the resources refer to."""
    return settings.sink or next(name for name, sink in sinks.items() if sink.kind.kind == _BESIDE)


def custom_resource_rule(match: Match, sink: CheckedSink, shown: str) -> Rule:
    """What asks for them. `shown`: name of the sink whose Secrets they refer to."""
    assert sink.naming is not None
    shape = sink.kind.target.model_validate({}).shape()
    target = Target(
        sink=NAME,
        id="0",
        parts=shape.parts,
        layout=shape.layout,
        naming=sink.naming,
        capabilities=sink.kind.capabilities,
        shows=shown,
    )
    return Rule(name=NAME, targets=(target,), match=match)


def _beside(
    settings: Mapping[str, Data], sinks: Mapping[str, CheckedSink], document: Document
) -> CheckedSink | None:
    name = settings.get("sink")
    fitting = [one for one, sink in sinks.items() if sink.kind.kind == _BESIDE]
    if isinstance(name, str):
        if name not in fitting:
            document.report(("customResources", "sink"), "is no sink of kind kubernetes")
            return None
        return sinks[name]
    if len(fitting) != 1:
        found = "there is none" if not fitting else f"there are {', '.join(fitting)}: name one as sink"
        document.report(("customResources",), f"needs a sink of kind kubernetes beside it; {found}")
        return None
    return sinks[fitting[0]]


def _refuse_kind(document: Document) -> None:
    for index, entry in items(document.data, "sinks"):
        if entry.get("kind") == KIND:
            document.report(("sinks", index, "kind"), "is switched on by customResources: {enabled: true}")


def _refuse_names(document: Document) -> None:
    for part in ("sinks", "rules"):
        for index, entry in items(document.data, part):
            if entry.get("name") == NAME:
                document.report((part, index, "name"), "is the name of what customResources adds")
