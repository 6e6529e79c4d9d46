"""What Prometheus reads: names, labels and values after what a controller tells.

Excludes the address it is read at (test_telemetry_server.py) and what is made of it (test_alert_rules.py).
"""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families

from backends.contract import Layout
from backends.memory import CAPABILITIES, MemoryNaming, MemorySink
from syncer.core.changes import State
from syncer.core.model import GuardLimits, InstallationKey, Policy, Rule, Target
from syncer.core.ports import Outcome
from syncer.engine.passes import SinkSlot, one_pass
from syncer.engine.queue import Priority
from syncer.engine.reconciler import Mode
from syncer.telemetry import targets
from syncer.telemetry.metrics import PRIORITIES, Metrics
from tests.unit.sources.porter_world import World, source
from tests.unit.telemetry.telemetry_world import entry, reconciled

NOW = 1_790_000_000.0
TARGET = Target(
    sink="a",
    id="0",
    parts=("{namespace}", "{installation}"),
    layout=Layout.BUNDLE,
    naming=MemoryNaming(),
    capabilities=CAPABILITIES,
)
POLICY = Policy(
    instance="test",
    rules=(Rule(name="all", targets=(TARGET,)),),
    guard=GuardLimits(max_deletions=2, grace=0.0),
)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(sinks=["cluster", "vault"], version="1.2.3", clock=lambda: NOW)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Of one series; None where there is none."""
    text = metrics.page()[0].decode()
    found = [
        sample.value
        for family in families(text)
        for sample in family.samples
        if (sample.name, sample.labels) == (f"porter_outputs_syncer_{name}", labels)
    ]
    return found[0] if found else None


def states(metrics: Metrics, sink: str = "cluster") -> dict[str, float]:
    counts = {state.value: value(metrics, "targets", sink=sink, state=state.value) for state in State}
    return {state: count for state, count in counts.items() if count}


def test_everything_of_a_sink_is_there_from_the_start_at_zero(metrics):
    of_sink = [
        ("sink_up", {}),
        *(("reconciles_total", {"outcome": outcome.value}) for outcome in Outcome),
        ("reconcile_seconds_count", {}),
        ("change_lag_seconds_count", {}),
        *(("secrets_written_total", {"action": action}) for action in ("create", "update", "delete")),
        *(("targets", {"state": state.value}) for state in State),
        *(("queue_depth", {"priority": priority}) for priority in PRIORITIES),
        ("in_work", {}),
        ("sweep_seconds", {}),
        ("sweep_last_success_timestamp_seconds", {}),
        ("restarts_total", {}),
        ("held_deletions", {}),
        *(("events_total", {"result": result}) for result in ("recorded", "failed", "dropped")),
    ]
    for sink in ("cluster", "vault"):
        assert {value(metrics, name, sink=sink, **labels) for name, labels in of_sink} == {0.0}


def test_other_sinks_after_a_reload_begin_and_end_and_the_others_go_on(metrics):
    for sink in ("cluster", "vault"):
        metrics.reconciled(reconciled(sink=sink))
        metrics.entry(entry("keep", sink=sink))
        metrics.watch_queue(sink, lambda: ({}, 1))
    metrics.serves(["vault", "local"])
    text = metrics.page()[0].decode()
    assert {label for label in ("cluster", "vault", "local") if f'sink="{label}"' in text} == {
        "vault",
        "local",
    }
    assert value(metrics, "reconciles_total", sink="vault", outcome="synced") == 1.0
    assert value(metrics, "reconciles_total", sink="local", outcome="synced") == 0.0
    assert states(metrics, "vault") == {}
    assert value(metrics, "in_work", sink="vault") == 0.0


def test_lost_change_streams_of_the_newest_source_are_counted(metrics):
    assert value(metrics, "source_stream_restarts_total") == 0.0
    metrics.watch_streams(lambda: 3)
    assert value(metrics, "source_stream_restarts_total") == 3.0


def test_the_version_is_a_label(metrics):
    assert value(metrics, "build_info", version="1.2.3") == 1.0


def test_two_of_them_have_nothing_in_common(metrics):
    Metrics(sinks=[], version="2").leading(True)
    assert value(metrics, "leader") == 0.0
    assert value(metrics, "build_info", version="2") is None


def test_reconciliations_are_counted_by_what_came_of_them(metrics):
    metrics.reconciled(reconciled(seconds=2.0))
    metrics.reconciled(reconciled(Outcome.HELD))
    assert value(metrics, "reconciles_total", sink="cluster", outcome="synced") == 1.0
    assert value(metrics, "reconciles_total", sink="cluster", outcome="held") == 1.0
    assert value(metrics, "reconciles_total", sink="vault", outcome="synced") == 0.0
    assert value(metrics, "reconcile_seconds_sum", sink="cluster") == 2.25


def test_the_lag_is_that_of_changes_that_arrived(metrics):
    metrics.reconciled(reconciled(waited=2.125))
    metrics.reconciled(reconciled(waited=64.0, fresh=False))
    metrics.reconciled(reconciled(Outcome.WAITING, waited=128.0))
    assert value(metrics, "change_lag_seconds_count", sink="cluster") == 1.0
    assert value(metrics, "change_lag_seconds_sum", sink="cluster") == 2.125


def test_what_was_written_is_counted_and_what_failed_is_not(metrics):
    for action in ("create", "update", "update", "delete", "keep", "hold"):
        metrics.entry(entry(action))
    metrics.entry(entry("create", error="refused"))
    counts = [
        value(metrics, "secrets_written_total", sink="cluster", action=action)
        for action in ("create", "update", "delete")
    ]
    assert counts == [1.0, 2.0, 1.0]


def test_a_target_is_counted_once_in_the_state_it_is_in_now(metrics):
    metrics.entry(entry("hold"))
    assert states(metrics) == {"Held": 1.0}
    metrics.entry(entry("create"))
    metrics.entry(entry("keep"))
    assert states(metrics) == {"InSync": 1.0}
    metrics.entry(entry("update", state=State.DRIFTED))
    assert states(metrics) == {"InSync": 1.0}
    metrics.entry(entry("update", error="refused"))
    assert states(metrics) == {"Failed": 1.0}
    metrics.entry(entry("delete", error="refused"))
    assert states(metrics) == {"Failed": 1.0}
    metrics.entry(entry("delete"))
    assert states(metrics) == {}
    assert states(metrics, "vault") == {}


def test_targets_without_an_address_and_rivals_for_one_are_counted_apart(metrics):
    metrics.entry(entry("keep"))
    metrics.entry(entry("hold", rule="rival"))
    metrics.entry(entry("hold", key=InstallationKey("shop", "rival")))
    metrics.entry(entry("hold", None))
    metrics.entry(entry("hold", None, rule="rival"))
    assert states(metrics) == {"InSync": 1.0, "Held": 4.0}


def test_a_target_that_no_sweep_mentions_any_more_is_gone(metrics):
    metrics.swept("cluster", 1.0)
    metrics.entry(entry("hold", None))
    metrics.entry(entry("keep"))
    metrics.swept("cluster", 1.0)
    assert states(metrics) == {"InSync": 1.0, "Held": 1.0}
    metrics.swept("vault", 1.0)
    metrics.entry(entry("keep"))
    metrics.swept("cluster", 1.0)
    assert states(metrics) == {"InSync": 1.0}


def test_there_is_an_end_to_the_targets_that_are_remembered(metrics, monkeypatch):
    monkeypatch.setattr(targets, "MOST", 2)
    for path, action in (("a/a", "keep"), ("a/b", "keep"), ("a/a", "keep"), ("a/c", "hold")):
        metrics.entry(entry(action, path))
    assert states(metrics) == {"InSync": 1.0, "Held": 1.0}


def test_whoever_stands_by_counts_no_targets(metrics):
    metrics.leading(True)
    metrics.entry(entry("keep"))
    assert (value(metrics, "leader"), states(metrics)) == (1.0, {"InSync": 1.0})
    metrics.leading(False)
    assert (value(metrics, "leader"), states(metrics)) == (0.0, {})


def test_a_source_that_fails_keeps_the_time_of_its_last_success(metrics):
    times = [NOW]
    metrics = Metrics(sinks=[], version="1", clock=lambda: times[0])
    metrics.source(None)
    times[0] += 60
    metrics.source("cannot be reached")
    assert value(metrics, "source_up") == 0.0
    assert value(metrics, "source_last_success_timestamp_seconds") == NOW
    metrics.source(None)
    assert value(metrics, "source_up") == 1.0
    assert value(metrics, "source_last_success_timestamp_seconds") == NOW + 60


def test_sinks_sweeps_restarts_reloads_and_events(metrics):
    metrics.sink("cluster", None)
    metrics.sink("vault", "sealed")
    metrics.swept("cluster", 12.5)
    metrics.restarted("cluster", "Deployment shop/app")
    metrics.event("cluster", "dropped")
    metrics.failed("vault", "sealed")
    metrics.progress("installations", 1, 2)
    assert value(metrics, "sink_up", sink="cluster") == 1.0
    assert value(metrics, "sink_up", sink="vault") == 0.0
    assert value(metrics, "sweep_seconds", sink="cluster") == 12.5
    assert value(metrics, "sweep_last_success_timestamp_seconds", sink="cluster") == NOW
    assert value(metrics, "sweep_last_success_timestamp_seconds", sink="vault") == 0.0
    assert value(metrics, "restarts_total", sink="cluster") == 1.0
    assert value(metrics, "events_total", sink="cluster", result="dropped") == 1.0


def test_the_configuration_counts_as_accepted_until_one_is_rejected(metrics):
    seen = [value(metrics, "config_last_reload_success")]
    for accepted in (False, True):
        metrics.reloaded(accepted=accepted)
        seen.append(value(metrics, "config_last_reload_success"))
    assert seen == [1.0, 0.0, 1.0]
    assert value(metrics, "config_reloads_total", result="rejected") == 1.0
    assert value(metrics, "config_reloads_total", result="accepted") == 1.0


def test_queues_are_asked_when_they_are_read(metrics):
    waiting = {"fresh": 0}
    metrics.watch_queue("cluster", lambda: (waiting, 7))
    waiting["fresh"] = 3
    assert value(metrics, "queue_depth", sink="cluster", priority="fresh") == 3.0
    assert value(metrics, "queue_depth", sink="cluster", priority="sweep") == 0.0
    assert value(metrics, "in_work", sink="cluster") == 7.0


def test_the_priorities_are_those_of_the_queue():
    assert tuple(priority.name.lower() for priority in Priority) == PRIORITIES


def test_a_queue_that_cannot_be_asked_hides_nothing_else(metrics):
    def broken() -> tuple[dict[str, int], int]:
        raise RuntimeError("gone")

    metrics.watch_queue("cluster", broken)
    assert value(metrics, "in_work", sink="cluster") == 0.0
    assert value(metrics, "observer_errors_total") == 1.0


def test_both_formats_can_be_read_and_name_no_installation(metrics):
    metrics.entry(entry("create"))
    metrics.reconciled(reconciled(Outcome.HELD))
    plain, content_type = metrics.page("text/plain")
    assert content_type.startswith("text/plain; version=0.0.4")
    opened, open_type = metrics.page("application/openmetrics-text; version=1.0.0, text/plain;q=0.5")
    assert open_type.startswith("application/openmetrics-text; version=1.0.0")
    names = [
        {sample.name for family in parsed for sample in family.samples}
        for parsed in (families(plain.decode()), open_families(opened.decode()))
    ]
    assert names[0] == names[1]
    assert not any(name.endswith("_created") for name in names[0])
    for text in (plain, opened):
        assert b"orders-db" not in text
        assert b"not there" not in text


async def test_deletions_that_the_guard_holds_are_counted_until_they_are_approved():
    world, sink, metrics = World(), MemorySink(), Metrics(sinks=["a"], version="1")
    for number in range(4):
        key = InstallationKey("shop", f"db-{number}")
        world.installation(key)
        world.run({"host": b"x"}, key=key)

    async def run(approved: frozenset[str] = frozenset()) -> str:
        slot = SinkSlot(name="a", make=lambda: sink, same=MemoryNaming().same)
        mode = Mode(apply=True, approved=approved)
        report = await one_pass(source(world), POLICY, [slot], mode, metrics)
        return report.sinks[0].held_hash

    await run()
    assert (states(metrics, "a"), value(metrics, "held_deletions", sink="a")) == ({"InSync": 4.0}, 0.0)
    del world.documents["installations"][:3]
    held = await run()
    assert states(metrics, "a") == {"InSync": 1.0, "Held": 3.0}
    assert value(metrics, "held_deletions", sink="a") == 3.0
    await run(frozenset({held}))
    assert (states(metrics, "a"), value(metrics, "held_deletions", sink="a")) == ({"InSync": 1.0}, 0.0)
