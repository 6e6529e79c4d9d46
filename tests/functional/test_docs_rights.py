"""The table of rights in docs/security.md is what the chart grants, over all of its examples, and no more.

Excludes that each right is needed, which tests/chart shows, and in which namespaces it is granted.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.docs.pages import ROOT, rows_after, spans
from tests.servers import helm
from tests.servers.helm import Helm
from tests.servers.lacking import provided

CHART = ROOT / "charts" / "porter-outputs-syncer"
EXAMPLES = sorted((CHART / "ci").glob("*-values.yaml"))
Right = tuple[str, frozenset[str], bool]
"""A resource with its group, verbs, and whether it is one object by its name."""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(provided(helm.helm), tmp_path_factory.mktemp("helm"))


def rules(chart: Helm, values: object) -> list[dict[str, Any]]:
    cluster = ["--api-versions", "monitoring.coreos.com/v1", "--set", "config.instance=docs"]
    command = ["template", "prod", str(CHART), "--namespace", "porter", *cluster]
    made = yaml.safe_load_all(chart.run(*command, "--values", str(values)))
    roles = [one for one in made if one and one["kind"] in {"Role", "ClusterRole"}]
    return [rule for role in roles for rule in role.get("rules") or ()]


def granted(rule: dict[str, Any]) -> set[Right]:
    verbs, is_one = frozenset(rule["verbs"]), "resourceNames" in rule
    return {
        (f"{group}/{resource}".removeprefix("/"), verbs, is_one)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def documented() -> set[Right]:
    rows = rows_after(ROOT / "docs" / "security.md", "## What RBAC grants whom")
    return {
        (resource, frozenset(spans(verbs)), "this one" in place)
        for _, place, resources, verbs, _ in rows
        for resource in spans(resources)
    }


def test_the_table_is_what_the_chart_grants(chart: Helm) -> None:
    rendered = {right for values in EXAMPLES for rule in rules(chart, values) for right in granted(rule)}
    assert rendered == documented()
