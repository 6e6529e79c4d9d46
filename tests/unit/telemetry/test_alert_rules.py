"""Dashboard, alerts and documentation name exactly the metrics and labels that there are.

Excludes what the expressions evaluate to: that would take a Prometheus.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families as families

from syncer.core.ports import Outcome
from syncer.telemetry.api import ApiTelemetry
from syncer.telemetry.metrics import Metrics
from tests.unit.telemetry.promql import TARGET_LABELS, names_of
from tests.unit.telemetry.telemetry_world import entry, reconciled

ROOT = Path(__file__).parents[3]
ALERTS = {
    "NoLeader", "SourceUnreachable", "SinkDown", "ChangesLate", "ReconcilesFailing", "SweepOverdue",
    "TargetsHeld", "Conflicts", "DeletionsHeld", "ConfigRejected",
}  # fmt: skip


def rules() -> list[dict[str, Any]]:
    loaded = yaml.safe_load((ROOT / "dashboards" / "alerts.yaml").read_text())
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    return json.loads((ROOT / "dashboards" / "grafana.json").read_text())


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def variable_queries() -> Iterator[str]:
    """The series and labels that the dashboard's variables are filled from, as expressions."""
    for variable in dashboard()["templating"]["list"]:
        found = re.fullmatch(r"label_values\((.*), (\w+)\)", variable.get("definition", ""))
        if found is not None:
            yield f"sum by ({found[2]}) ({found[1]})"


def expressions() -> list[str]:
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [*(rule["expr"] for rule in rules()), *shown, *variable_queries()]


@pytest.fixture(scope="module")
def page() -> str:
    """What there is once everything has happened."""
    metrics = Metrics(sinks=["cluster"], version="1")
    metrics.entry(entry("create"))
    metrics.reconciled(reconciled(Outcome.FAILED))
    metrics.source(None)
    metrics.sink("cluster", None)
    metrics.swept("cluster", 1.0)
    metrics.leading(True)
    metrics.restarted("cluster", "Deployment shop/app")
    metrics.reloaded(accepted=False)
    metrics.event("cluster", "recorded")
    metrics.observer_failed()
    metrics.watch_queue("cluster", lambda: ({"fresh": 1}, 1))
    ApiTelemetry(metrics).request("/package.Service/Method", "OK", 0.1)
    return metrics.page()[0].decode()


@pytest.fixture(scope="module")
def series(page) -> dict[str, dict[str, set[str]]]:
    """Name of each series to its labels and their values."""
    found: dict[str, dict[str, set[str]]] = {}
    for family in families(page):
        for sample in family.samples:
            labels = found.setdefault(sample.name, defaultdict(set))
            for label, value in sample.labels.items():
                labels[label].add(value)
    return found


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_and_label_that_is_asked_for_is_there(expression, series):
    names = names_of(expression)
    assert names.metrics
    assert names.metrics <= series.keys()
    for metric, label, text in names.matched:
        if label not in TARGET_LABELS:
            wanted = set() if text.startswith("$") else set(text.split("|"))
            assert wanted <= series[metric].get(label, set()), (metric, label)
            assert label in series[metric]
    known = set().union(*(series[metric] for metric in names.metrics)) | TARGET_LABELS
    assert names.grouped <= known


def test_a_label_that_an_alert_or_a_legend_shows_is_left_in_the_answer():
    texts = [(rule["expr"], " ".join(rule["annotations"].values())) for rule in rules()]
    texts += [(target["expr"], target["legendFormat"]) for panel in panels() for target in panel["targets"]]
    for expression, text in texts:
        shown = set(re.findall(r"\$labels\.(\w+)", text)) | set(re.findall(r"\{\{(\w+)\}\}", text))
        grouping = re.search(r"\b(?:sum|min|max|count)(?: by \(([^)]*)\))?\s*\(", expression)
        if grouping is not None:
            left = {label.strip() for label in (grouping[1] or "").split(",")}
            assert shown <= left, expression
        else:
            assert shown <= {"sink", "instance", "job"}, expression


def test_the_alerts_are_complete_and_each_says_what_to_do():
    assert {rule["alert"] for rule in rules()} == ALERTS
    page = (ROOT / "docs" / "operations.md").read_text()
    anchors = {heading.lower() for heading in re.findall(r"^#+ (\w+)$", page, re.MULTILINE)}
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert re.fullmatch(r"\d+m", rule["for"])
        notes = rule["annotations"]
        assert notes.keys() == {"summary", "description", "runbook"}
        assert notes["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert notes["runbook"].partition("#")[2] in anchors


def test_the_dashboard_has_what_grafana_needs():
    board = dashboard()
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers))
    variables = {variable["name"] for variable in board["templating"]["list"]}
    for panel in panels():
        assert panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= variables | {"__rate_interval"}
    for variable in variables:
        assert f"${variable}" in json.dumps(board) or f"${{{variable}}}" in json.dumps(board)


def test_no_two_panels_cover_each_other():
    cells: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        mine = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not mine & cells, panel["title"]
        assert all(x < 24 for x, _ in mine), panel["title"]
        cells |= mine


def test_the_documentation_lists_exactly_what_is_exported(page):
    exported = {}
    for family in families(page):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        exported[name] = (family.type, labels)
    documented = {}
    for line in (ROOT / "docs" / "metrics.md").read_text().splitlines():
        row = re.fullmatch(r"\| `(\w+)` \| (\w+) \| (.*?) ?\| (.+) \|", line)
        if row is not None and row[2] in {"gauge", "counter", "histogram"}:
            documented[row[1]] = (row[2], set(re.findall(r"`(\w+)`", row[3])))
    assert documented == exported


@pytest.mark.parametrize(
    ("expression", "metrics", "grouped"),
    [
        ('sum by (job, x) (rate(a_total{b="c|d",e=~"f"}[5m])) > 0', {"a_total"}, {"job", "x"}),
        ("time() - a_seconds > 1800 and on (job) (b == 1)", {"a_seconds", "b"}, {"job"}),
        ("absent(a) or ratee(b)", {"a", "b", "ratee"}, set()),
    ],
)
def test_names_are_found_in_expressions(expression, metrics, grouped):
    names = names_of(expression)
    assert (names.metrics, names.grouped) == (metrics, grouped)
