"""When a process counts as alive and as ready, and the line that says why."""

from __future__ import annotations

import pytest

from syncer.telemetry.health import Health


@pytest.fixture
def holder() -> list[str]:
    return [""]


@pytest.fixture
def health(holder) -> Health:
    return Health(sinks=["cluster", "vault"], holder=lambda: holder[0])


def ready(health: Health) -> tuple[bool, str]:
    verdict = health.ready()
    return verdict.good, verdict.why


def test_it_is_not_ready_before_it_has_a_configuration_and_knows_who_leads(health):
    assert ready(health) == (False, "the configuration is not loaded yet")
    health.configured()
    assert ready(health) == (False, "it is not known yet who leads")


def test_a_standby_is_ready_and_says_who_leads_now(health, holder):
    health.configured()
    health.leading(False)
    assert ready(health) == (True, "standby: leader is not known")
    holder[0] = "pod-1"
    assert ready(health) == (True, "standby: leader is pod-1")


@pytest.mark.fault(1)
def test_a_leader_is_not_ready_before_the_source_was_read_completely(health):
    health.configured()
    health.leading(True)
    assert ready(health) == (False, "source: not read completely yet")
    health.source("the database cannot be reached")
    assert ready(health) == (False, "source: the database cannot be reached")
    health.source(None)
    assert ready(health) == (False, "source: not read completely yet")
    health.sink("cluster", None)
    assert ready(health) == (True, "leading; first sweep under way: cluster, vault")


@pytest.mark.fault(25)
def test_a_leader_is_ready_even_where_no_sink_can_be_reached(health):
    health.configured()
    health.leading(True)
    health.sink("cluster", "sealed")
    health.sink("vault", "sealed")
    assert ready(health) == (True, "leading; sink cluster: sealed; sink vault: sealed")


def test_a_leader_says_which_sweeps_and_sinks_are_missing(health):
    health.configured()
    health.leading(True)
    health.sink("cluster", None)
    health.sink("vault", "sealed")
    assert ready(health) == (True, "leading; sink vault: sealed; first sweep under way: cluster")
    health.swept("cluster", 1.0)
    assert ready(health) == (True, "leading; sink vault: sealed")
    health.sink("vault", None)
    health.swept("vault", 1.0)
    assert ready(health) == (True, "leading")


def test_a_source_that_is_lost_later_does_not_change_that(health):
    health.configured()
    health.leading(True)
    health.sink("cluster", None)
    health.source("the database cannot be reached")
    assert ready(health)[0]


def test_whoever_leads_again_has_to_read_everything_again(health):
    health.configured()
    health.leading(True)
    health.sink("vault", "sealed")
    health.swept("cluster", 1.0)
    health.leading(False)
    health.leading(True)
    assert ready(health) == (False, "source: not read completely yet")
    health.sink("cluster", None)
    assert ready(health) == (True, "leading; first sweep under way: cluster, vault")


def test_a_process_that_lost_a_part_is_neither_alive_nor_ready(health):
    health.configured()
    health.leading(True)
    health.sink("cluster", None)
    assert health.alive().good
    health.died("the controller of sink vault has ended")
    for verdict in (health.alive(), health.ready()):
        assert (verdict.good, verdict.why) == (False, "the controller of sink vault has ended")
