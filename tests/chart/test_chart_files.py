"""The chart's files agree with what they are made from, and with each other; and what is packed is right."""

from __future__ import annotations

import importlib.util
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_world import CHART, EXAMPLES, values_of

from syncer import __version__

ROOT = CHART.parents[1]


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate", CHART / "tools" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_files_are_current() -> None:
    """Write them anew with `python charts/porter-outputs-syncer/tools/generate.py`."""
    written = generator().generated()
    assert [path.name for path, content in written.items() if path.read_text() != content] == []
    assert {path.name for path in written} == {
        "values.schema.json",
        "README.md",
        "alerts.yaml",
        "grafana.json",
    }


def leaves(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Every value that the chart's own schema does not open further."""
    for name, value in values.items():
        inner = schema["properties"][name]
        if "properties" in inner:
            yield from leaves(value, inner, f"{path}{name}.")
        else:
            yield f"{path}{name}"


def settings(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, inner in schema["properties"].items():
        if "properties" in inner:
            yield from settings(inner, f"{path}{name}.")
        else:
            yield f"{path}{name}"


def test_every_value_has_a_default_a_schema_and_a_row() -> None:
    schema = yaml.safe_load((CHART / "tools" / "values.schema.yaml").read_text())
    source = (CHART / "values.yaml").read_text()
    given = set(leaves(yaml.safe_load(source), schema))
    assert given == set(settings(schema)) - {"global"}
    assert {value.path for value in generator().documented(source)} == given


def test_the_readme_names_every_example() -> None:
    readme = (CHART / "README.md").read_text()
    assert [name for name in EXAMPLES if f"ci/{name}-values.yaml" not in readme] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_lint_has_nothing_to_say(helm, name) -> None:
    said = helm.run("lint", "--strict", CHART, "--kube-version", "1.37.2", "--values", _fit(name))
    assert "0 chart(s) failed" in said
    assert "[WARNING]" not in said


def _fit(name: str) -> Path:
    """NB: lint knows no Prometheus' operator, and one example insists on it."""
    return values_of("kubernetes" if name == "monitoring" else name)


def test_the_chart_is_of_the_version_of_the_product(helm) -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__
    images = yaml.safe_load(chart["annotations"]["artifacthub.io/images"])
    assert images == [{"name": "porter-outputs-syncer", "image": f"porter-outputs-syncer:{__version__}"}]
    (definition,) = yaml.safe_load(chart["annotations"]["artifacthub.io/crds"])
    crd = yaml.safe_load((CHART / "files" / "installationoutputs.yaml").read_text())
    assert (definition["name"], definition["kind"]) == (crd["metadata"]["name"], crd["spec"]["names"]["kind"])
    assert definition["version"] == crd["spec"]["versions"][0]["name"]


def test_what_is_packed_is_for_whoever_installs(helm, tmp_path) -> None:
    helm.run("package", CHART, "--destination", tmp_path)
    (archive,) = tmp_path.glob("*.tgz")
    with tarfile.open(archive) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    tops = {name.partition("/")[0] for name in names}
    assert tops == {
        ".helmignore", "Chart.yaml", "README.md", "files", "templates", "values.schema.json", "values.yaml",
    }  # fmt: skip
    assert {name for name in names if name.startswith("files/")} == {
        "files/aggregate-roles.yaml", "files/alerts.yaml", "files/grafana.json", "files/installationoutputs.yaml",
    }  # fmt: skip


def test_every_rule_of_a_role_is_explained() -> None:
    """In the README, with the verbs as the template has them."""
    readme = (CHART / "README.md").read_text()
    template = (CHART / "templates" / "_rights.tpl").read_text()
    verbs = [found.replace(", ", "`, `") for found in re.findall(r"verbs: \[([a-z, ]+)\]", template)]
    assert len(verbs) == 6
    assert [one for one in verbs if f"`{one}`" not in readme] == []
