"""How the sinks stand, as the conditions of a resource: `Synced/SINK` for each, and `Ready`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from backends.contract import Condition

Json = dict[str, Any]
Known = Mapping[str, Condition | None]
"""What is known now, by the names of sinks."""

_READY: Final = "Ready"
_SYNCED: Final = "Synced/"
_MAX_MESSAGE: Final = 1024
"""Characters."""
_STATED: Final = ("type", "status", "reason")
"""What a condition says; a message only explains it."""


def conditions(
    sinks: Iterable[str], known: Known, standing: Sequence[Json], *, now: str, generation: int
) -> list[Json]:
    """Those of just these sinks. What is not known stays as it stands, or is `Unknown`.

    `now` is a time as the API server writes it; where a status does not change, its time does not.
    """
    before = {one["type"]: one for one in standing}
    synced = [_synced(sink, known.get(sink), before) for sink in dict.fromkeys(sinks)]
    return [
        one | {"lastTransitionTime": _since(one, before, now), "observedGeneration": generation}
        for one in (_ready(synced), *synced)
    ]


def are_current(known: Known, standing: Sequence[Json]) -> bool:
    """Whether the conditions that stand there say what is known, and `Ready` what follows from them."""
    sinks = [one["type"].removeprefix(_SYNCED) for one in standing if one["type"] != _READY]
    return _stated(standing) == _stated(conditions(sinks, known, standing, now="", generation=0))


def _synced(sink: str, known: Condition | None, before: Mapping[str, Json]) -> Json:
    kind = f"{_SYNCED}{sink}"
    if known is not None:
        return _condition(kind, "True" if known.ok else "False", known.reason, known.message)
    if kind in before:
        return {name: before[kind][name] for name in (*_STATED, "message")}
    return _condition(kind, "Unknown", "NotKnown", "nothing is known of it yet")


def _ready(synced: Iterable[Json]) -> Json:
    failed = [one["type"].removeprefix(_SYNCED) for one in synced if one["status"] == "False"]
    if failed:
        return _condition(_READY, "False", "SinkNotSynced", f"not in sync: {', '.join(sorted(failed))}")
    return _condition(_READY, "True", "OutputsShown", "the latest successful outputs are shown")


def _condition(kind: str, status: str, reason: str, message: str) -> Json:
    return {"type": kind, "status": status, "reason": reason, "message": message[:_MAX_MESSAGE]}


def _since(condition: Json, before: Mapping[str, Json], now: str) -> str:
    there = before.get(condition["type"])
    unchanged = there is not None and there["status"] == condition["status"]
    return str(there["lastTransitionTime"]) if there is not None and unchanged else now


def _stated(found: Iterable[Json]) -> dict[str, tuple[str, ...]]:
    return {one["type"]: tuple(one[name] for name in _STATED) for one in found}
