"""The simulation itself is tested: each fault planted in the product breaks what it should break.

One function is replaced at a time, and a schedule in which that shows is run. The same schedules break
nothing where nothing was planted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pytest
from sim_schedule import Step, violations
from sim_sink import Hand, Mood
from sim_source import Reads

from backends.contract import ObservedSecret
from backends.secret_value import SecretValue
from syncer.core import planning
from syncer.core.changes import Delete
from syncer.core.guard import Verdict
from syncer.core.model import Found, InstallationKey, Missing, OutputRef, OutputState
from syncer.core.planning import Comparison
from syncer.engine import collector, reconciler
from syncer.engine.breaker import Breaker
from syncer.engine.claims import Claims
from syncer.engine.detection import Detection
from syncer.engine.known import Known
from syncer.engine.leftovers import Leftovers
from syncer.engine.terms import Terms
from syncer.engine.world import World


@dataclass(frozen=True)
class Planted:
    """What is replaced by what, and the steps after which an invariant is broken."""

    where: object
    name: str
    by: object
    breaks: str
    steps: Sequence[Step]


def everything_goes(deletions: Sequence[Delete], *_: object) -> Verdict:
    return Verdict(allowed=tuple(deletions), held=(), hash="", reason="")


def missing_is_empty(*arguments: object, **options: object) -> object:
    wanted, observed, states, *others = arguments
    assert isinstance(states, Mapping)
    filled: Mapping[OutputRef, OutputState] = {
        ref: Found(SecretValue(b"")) if isinstance(state, Missing) else state for ref, state in states.items()
    }
    return planning.decide(wanted, observed, filled, *others, **options)  # type: ignore[arg-type]


def foreign_is_taken(*arguments: object, **options: object) -> object:
    observed = arguments[1]
    if isinstance(observed, ObservedSecret) and not observed.ours:
        return None
    return planning.settle(*arguments, **options)  # type: ignore[arg-type]


async def looks_once(detection: Detection) -> None:
    await detection._until_it_works(detection._look)


def nobody(_claims: Claims, _keys: Collection[InstallationKey]) -> frozenset[InstallationKey]:
    return frozenset()


BEGINNING: Sequence[Step] = [
    *(("run", number, "install", ("host", "password"), (), 0.0) for number in range(4)),
    ("wait", 30.0),
]
THREE_GO: Sequence[Step] = [("remove", 0), ("remove", 1), ("remove", 2), ("wait", 40.0)]
SLOWLY: Sequence[Step] = [("uninstall", 0), ("wait", 9.0), ("uninstall", 1), ("wait", 9.0), ("uninstall", 2)]
ONE_GOES: Sequence[Step] = [("remove", 0), ("wait", 40.0)]
TWO_ARE_LEFT: Sequence[Step] = [
    *(("remove", 0), ("remove", 1), ("wait", 100.0)),
    *(("read", Reads.FIND_NOTHING), ("wait", 60.0)),
]
LOST_ELECTION: Sequence[Step] = [
    *(("mood", "all", Mood.SLOW), ("run", 0, "upgrade", ("host",), (), 0.0), ("wait", 2.5)),
    *(("lead", None), ("wait", 10.0)),
]
ONE_BY_ONE: Sequence[Step] = [("run", 0, "upgrade", ("host", "password"), (), 20.0), ("wait", 60.0)]
GOES_BACK: Sequence[Step] = [
    *(("back_up",), ("run", 0, "upgrade", ("host",), (), 0.0), ("wait", 10.0)),
    *(("restore",), ("wait", 70.0)),
]
STRIPPED: Sequence[Step] = [("hand", ("all", "shop/a"), Hand.STRIPS), ("wait", 70.0)]
CHANGED: Sequence[Step] = [("hand", ("all", "shop/a"), Hand.CHANGES), ("wait", 70.0)]
DOWN: Sequence[Step] = [
    *(("mood", "all", Mood.DOWN), ("run", 0, "upgrade", ("host",), (), 0.0), ("wait", 20.0)),
    ("relief",),
]
TWINS: Sequence[Step] = [
    *(("hand", ("all", "twins"), Hand.CREATES), ("deaf",)),
    *(("run", 4, "install", ("host",), (), 0.0), ("run", 5, "install", ("host",), (), 0.0), ("wait", 70.0)),
    *(("hand", ("all", "twins"), Hand.DELETES), ("wait", 70.0)),
]

PLANTED: Mapping[str, Planted] = {
    "the guard lets everything go": Planted(collector, "judge", everything_goes, "I4", THREE_GO),
    "who lost secrets lately is forgotten": Planted(
        Leftovers, "_forget_old", lambda _leftovers: frozenset(), "I4", SLOWLY
    ),
    "the grace is not waited for": Planted(
        Leftovers, "_too_soon", lambda _leftovers, _observed: False, "I1", ONE_GOES
    ),
    "what is missing always was": Planted(
        Known, "missing_since", lambda known, key: None if key in known._refs else -1e9, "I1", ONE_GOES
    ),
    "an empty source is believed": Planted(World, "doubt", property(lambda _: None), "I1", TWO_ARE_LEFT),
    "the permit is not asked for": Planted(Terms, "_may_write", lambda _: True, "I15", LOST_ELECTION),
    "a missing output is an empty one": Planted(reconciler, "decide", missing_is_empty, "I6", ONE_BY_ONE),
    "a mark does not stop what goes back": Planted(
        planning, "_own_mark_forbids", lambda *_, **__: None, "I5", GOES_BACK
    ),
    "what is foreign is taken over": Planted(reconciler, "settle", foreign_is_taken, "I13", STRIPPED),
    "there is one sweep only": Planted(Detection, "_sweep_forever", looks_once, "I14", CHANGED),
    "a sink that was down stays alone": Planted(Breaker, "succeeded", lambda *_, **__: None, "I14", DOWN),
    "nothing ever is as it should be": Planted(
        planning,
        "compare",
        lambda *_: Comparison.DIFFERENT,
        "I23",
        [("hand", ("all", "shop/a"), Hand.CHANGES)],
    ),
    "rivals are not looked at": Planted(Claims, "rivals", nobody, "I7", TWINS),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_breaks_the_invariant_it_is_about(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = PLANTED[name]
    schedule = [*BEGINNING, *planted.steps]
    assert violations(schedule) == []
    monkeypatch.setattr(planted.where, planted.name, planted.by)
    if planted.name == "compare":
        monkeypatch.setattr(reconciler, planted.name, planted.by)
    found = violations(schedule)
    assert any(f": {planted.breaks}" in one for one in found), found
