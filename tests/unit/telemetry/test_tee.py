"""Several observers as one, of which some are broken."""

from __future__ import annotations

import pytest
import structlog

from syncer.telemetry.tee import Tee
from tests.unit.telemetry.telemetry_world import Deaf, entry, reconciled

CANARY = "canary-7f3a"
ENTRY, RECONCILED = entry("keep"), reconciled()
CALLS = {
    "progress": ("installations", 1, 2),
    "entry": (ENTRY,),
    "failed": ("cluster", "refused"),
    "reconciled": (RECONCILED,),
    "source": (None,),
    "sink": ("cluster", "sealed"),
    "swept": ("cluster", 1.5),
    "leading": (True,),
    "restarted": ("cluster", "Deployment shop/app"),
}


class Ear:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, tuple[object, ...]]] = []

    def __getattr__(self, name: str):
        return lambda *told: self.heard.append((name, told))


class Broken:
    def __getattr__(self, name: str):
        def fail(*told: object) -> None:
            raise ValueError(CANARY)

        return fail


def test_the_calls_are_all_there_are():
    assert {name for name in vars(Deaf) if not name.startswith("_")} == CALLS.keys()


@pytest.mark.parametrize("name", CALLS)
def test_everybody_is_told_even_where_one_fails(name):
    failures = []
    first, last = Ear(), Ear()
    getattr(Tee([first, Broken(), last], lambda: failures.append(name)), name)(*CALLS[name])
    assert first.heard == last.heard == [(name, CALLS[name])]
    assert failures == [name]


def test_of_a_failure_who_and_the_type_are_said_and_only_once():
    tee = Tee([Broken()], lambda: None)
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            tee.entry(ENTRY)
    [line] = lines
    assert (line["observer"], line["exc_type"], line["log_level"]) == ("Broken", "ValueError", "error")
    assert CANARY not in str(line)
