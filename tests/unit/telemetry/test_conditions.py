"""What is known of how sinks stand with installations, told by observers in every order.

Left out: how a resource shows it (tests/contract), who reconciles (tests/unit/engine).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest
from telemetry_world import KEY, reconciled

from backends.contract import Condition
from syncer.core.model import InstallationKey
from syncer.core.ports import Outcome
from syncer.telemetry.conditions import Conditions

OTHER = InstallationKey("", "other")
SYNCED = Condition(ok=True, reason="Synced", message="what is in the sink is what was put out last")


class Controller:
    """Holds what is still to be done, and remembers what it was asked to show again."""

    def __init__(self, name: str, pending: Iterable[InstallationKey] = ()) -> None:
        self.name = name
        self.pending = set(pending)
        self.shown: list[InstallationKey] = []

    def wants(self, key: InstallationKey) -> bool:
        return key in self.pending

    def wanted(self) -> Collection[InstallationKey]:
        return sorted(self.pending)

    def show_again(self, keys: Collection[InstallationKey]) -> None:
        self.shown += keys


@pytest.fixture
def shown() -> Controller:
    return Controller("resources")


@pytest.fixture
def cluster() -> Controller:
    return Controller("cluster")


@pytest.fixture
def conditions(shown: Controller, cluster: Controller) -> Conditions:
    made = Conditions("resources")
    made.watch([cluster, shown])
    return made


def known(conditions: Conditions, key: InstallationKey = KEY) -> Condition | None:
    return conditions.of(key.namespace, key.name)["cluster"]


def test_nothing_is_known_at_first_and_nothing_of_the_sink_that_shows_it(conditions: Conditions) -> None:
    assert conditions.of("shop", "orders-db") == {"cluster": None}


@pytest.mark.parametrize(
    ("outcome", "condition"),
    [
        (Outcome.SYNCED, SYNCED),
        (Outcome.HELD, Condition(ok=False, reason="Held", message="output 'x' is not there")),
        (Outcome.WAITING, Condition(ok=False, reason="Waiting", message="output 'x' is not there")),
        (Outcome.FAILED, Condition(ok=False, reason="Failed", message="output 'x' is not there")),
    ],
)
def test_what_became_of_an_installation_is_shown(
    conditions: Conditions, shown: Controller, outcome: Outcome, condition: Condition
) -> None:
    conditions.reconciled(reconciled(outcome))
    assert known(conditions) == condition
    assert known(conditions, OTHER) is None
    assert shown.shown == [KEY]


def test_what_was_known_before_is_not_shown_again(conditions: Conditions, shown: Controller) -> None:
    for _ in range(3):
        conditions.reconciled(reconciled(Outcome.HELD))
    assert shown.shown == [KEY]


def test_whatever_has_no_trouble_is_in_sync_after_everything_was_compared(conditions: Conditions) -> None:
    conditions.reconciled(reconciled(Outcome.HELD))
    conditions.swept("cluster", 1.0)
    assert known(conditions, OTHER) == SYNCED
    held = known(conditions)
    assert held is not None
    assert not held.ok
    conditions.reconciled(reconciled(Outcome.SYNCED))
    assert known(conditions) == SYNCED


def test_a_sink_that_is_down_is_trouble_for_those_it_still_owes_something(
    conditions: Conditions, shown: Controller, cluster: Controller
) -> None:
    conditions.swept("cluster", 1.0)
    cluster.pending = {KEY}
    conditions.sink("cluster", "sealed")
    assert known(conditions) == Condition(ok=False, reason="SinkUnavailable", message="sealed")
    assert known(conditions, OTHER) == SYNCED
    assert shown.shown == [KEY]
    conditions.sink("cluster", "sealed")
    assert shown.shown == [KEY]
    conditions.sink("cluster", None)
    assert known(conditions) == SYNCED
    assert shown.shown == [KEY, KEY]


def test_what_comes_while_the_sink_is_down_is_shown_as_trouble_at_once(
    conditions: Conditions, cluster: Controller
) -> None:
    conditions.sink("cluster", "sealed")
    assert known(conditions) is None
    cluster.pending = {KEY}
    assert known(conditions) == Condition(ok=False, reason="SinkUnavailable", message="sealed")


def test_what_the_sink_that_shows_it_does_is_nothing_to_show(
    conditions: Conditions, shown: Controller
) -> None:
    conditions.reconciled(reconciled(Outcome.FAILED, sink="resources"))
    conditions.sink("resources", "away")
    assert shown.shown == []


def test_who_stands_by_knows_nothing(conditions: Conditions) -> None:
    conditions.swept("cluster", 1.0)
    conditions.leading(True)
    assert known(conditions) == SYNCED
    conditions.leading(False)
    assert known(conditions) is None


def test_other_controllers_know_nothing_of_what_those_before_found(
    conditions: Conditions, shown: Controller
) -> None:
    conditions.reconciled(reconciled(Outcome.HELD))
    conditions.watch([Controller("vault"), shown])
    assert conditions.of("shop", "orders-db") == {"vault": None}
    conditions.reconciled(reconciled(Outcome.HELD))
    conditions.sink("cluster", "away")
    assert shown.shown == [KEY]
