"""The controller's log: what is said, at which level, and what is not said twice.

Excludes how a line looks (tests/unit/cli/test_telemetry_logs.py).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from syncer.core.model import InstallationKey
from syncer.core.ports import Outcome
from syncer.telemetry import run_log
from syncer.telemetry.recent import Recent
from syncer.telemetry.run_log import RunLog
from tests.unit.telemetry.telemetry_world import KEY, entry, reconciled

Lines = list[dict[str, object]]
OTHER = InstallationKey("shop", "other")


@pytest.fixture
def said() -> Iterator[Lines]:
    with structlog.testing.capture_logs() as lines:
        yield lines


def levels(said: Lines) -> list[object]:
    return [line["log_level"] for line in said]


def test_a_reconciliation_is_one_line_that_has_it_all(said):
    RunLog().reconciled(reconciled(written=2, seconds=0.12345, waited=1.98765))
    assert said == [
        {
            "event": "reconciled",
            "log_level": "info",
            "id": "1f2e",
            "sink": "cluster",
            "installation": "shop/orders-db",
            "outcome": "synced",
            "written": 2,
            "seconds": 0.123,
            "waited": 1.988,
            "reason": "",
        }
    ]


def test_what_is_in_sync_without_a_write_is_said_at_debug_only(said):
    RunLog().reconciled(reconciled())
    assert levels(said) == ["debug"]


@pytest.mark.parametrize("outcome", [Outcome.HELD, Outcome.WAITING, Outcome.FAILED])
def test_the_same_trouble_is_said_at_info_once(said, outcome):
    log = RunLog()
    for _ in range(3):
        log.reconciled(reconciled(outcome))
    assert levels(said) == ["info", "debug", "debug"]


def test_another_reason_outcome_sink_or_installation_is_another_trouble(said):
    log = RunLog()
    for changes in ({}, {"reason": "too large"}, {"sink": "vault"}, {"key": OTHER}):
        log.reconciled(reconciled(Outcome.HELD, **changes))
    log.reconciled(reconciled(Outcome.FAILED, key=OTHER))
    assert levels(said) == ["info"] * 5


def test_a_trouble_that_comes_back_is_said_again(said):
    log = RunLog()
    for outcome in (Outcome.HELD, Outcome.SYNCED, Outcome.HELD):
        log.reconciled(reconciled(outcome))
    assert levels(said) == ["info", "debug", "info"]


def test_a_write_is_said_even_where_the_trouble_is_known(said):
    log = RunLog()
    for written in (0, 1):
        log.reconciled(reconciled(Outcome.HELD, written=written))
    assert levels(said) == ["info", "info"]


def test_what_was_said_of_many_installations_takes_bounded_memory(said, monkeypatch):
    monkeypatch.setattr(run_log, "_REMEMBERED", 2)
    log = RunLog()
    for name in ("a", "b", "c", "c", "a"):
        log.reconciled(reconciled(Outcome.HELD, key=InstallationKey("shop", name)))
    assert levels(said) == ["info", "info", "info", "debug", "info"]


def test_a_source_that_goes_and_comes_is_one_line_each(said):
    log = RunLog()
    for failure in (None, None, "cannot be reached", "cannot be reached", "refused", None):
        log.source(failure)
    assert [(line["event"], line["log_level"], line.get("reason")) for line in said] == [
        ("source readable", "info", None),
        ("source not readable", "warning", "cannot be reached"),
        ("source not readable", "warning", "refused"),
        ("source readable", "info", None),
    ]


def test_each_sink_that_goes_and_comes_is_one_line_each(said):
    log = RunLog()
    for name, failure in (("a", "sealed"), ("b", None), ("a", "sealed"), ("b", None), ("a", None)):
        log.sink(name, failure)
    assert [(line["event"], line["log_level"], line["sink"]) for line in said] == [
        ("sink left alone for a while", "warning", "a"),
        ("sink works", "info", "b"),
        ("sink works", "info", "a"),
    ]


def test_a_sink_that_cannot_be_finished_is_said_once_until_it_could_be(said):
    log = RunLog()
    log.failed("a", "a list was refused")
    log.failed("a", "a list was refused")
    log.swept("a", 1.0)
    log.failed("a", "a list was refused")
    assert levels(said) == ["warning", "debug", "debug", "warning"]


def test_leadership_is_said_when_it_changes(said):
    log = RunLog()
    for leading in (False, False, True, True, False):
        log.leading(leading)
    assert [line["event"] for line in said] == ["standing by", "leading", "standing by"]


def test_a_configuration_is_said_to_be_in_use_or_refused(said):
    log = RunLog()
    log.reloaded("syncer.yaml:3: rules: should not be empty")
    log.reloaded(None)
    assert [(line["event"], line["log_level"], line.get("reason")) for line in said] == [
        (
            "configuration refused, the old one stays",
            "warning",
            "syncer.yaml:3: rules: should not be empty",
        ),
        ("configuration reloaded", "info", None),
    ]


def test_a_restart_is_said(said):
    RunLog().restarted("cluster", "Deployment shop/app")
    assert said == [
        {
            "event": "workload restarted",
            "log_level": "info",
            "sink": "cluster",
            "workload": "Deployment shop/app",
        }
    ]


def test_a_change_is_said_at_debug_and_what_is_kept_not_at_all(said):
    log = RunLog()
    log.progress("installations", 1, 2)
    log.entry(entry("keep"))
    log.entry(entry("update", error="the sink refused"))
    [line] = said
    assert line["log_level"] == "debug"
    assert line["address"] == "cluster:shop/orders-db"
    assert line["installation"] == str(KEY)
    assert line["reason"] == "the sink refused"


def test_what_goes_on_is_news_again_after_a_while():
    now = [0.0]
    recent = Recent(9, again=60.0, clock=lambda: now[0])
    heard = []
    for now[0] in (0.0, 59.0, 61.0, 100.0, 122.0):
        heard.append(recent.is_news("a", "held"))
    assert heard == [True, False, True, False, True]
