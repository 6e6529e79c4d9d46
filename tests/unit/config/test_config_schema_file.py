"""The committed JSON Schema, the examples, the starter file and the reference agree with the models.

Left out: what `syncer once` does with the quickstart (tests/functional).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from backends.contract import SinkKind
from syncer.config.json_schema import BUILT_IN_KINDS, compose_schema, config_schema, starter_config
from syncer.config.loading import load_config

ROOT = Path(__file__).parents[3]
EXAMPLES = (
    "examples/quickstart/syncer.yaml",
    "examples/kubernetes.yaml",
    "examples/four-sinks.yaml",
    "syncer/config/starter.yaml",
)
ENVIRON = {
    "HOME": "/home/ann",
    "PORTER_MONGODB_URL": "mongodb://app:pw@db/porter",
    "VAULT_SECRET_ID": "x",
    "AZURE_CLIENT_SECRET": "x",
}


def settings_in(schema: object) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Every setting anywhere in a JSON Schema, with what is said of it."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {}).items()
        for inner in schema.values():
            yield from settings_in(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from settings_in(inner)


def test_the_committed_schema_is_the_models() -> None:
    """Write it anew with `syncer config schema > docs/syncer.schema.json`."""
    assert json.loads((ROOT / "docs/syncer.schema.json").read_text()) == config_schema()


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(config_schema())


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_load_and_fit_the_schema(example: str) -> None:
    assert load_config(ROOT / example, ENVIRON).policy.rules
    Draft202012Validator(config_schema()).validate(yaml.safe_load((ROOT / example).read_text()))


def test_the_starter_is_what_init_writes(tmp_path: Path) -> None:
    path = tmp_path / "syncer.yaml"
    path.write_text(starter_config())
    assert load_config(path, ENVIRON).sinks[0].name == "local"


@pytest.mark.parametrize(
    "text",
    ["instance: -x", "pollInterval: 5", "sinks: [{name: a, kind: file}]", "rules: [{name: a, targets: [{}]}]",
     "source: {kind: dump}", "source: {kind: mongodb, url: {env: A, file: b}, secrets: {kind: none}}"],
)  # fmt: skip
def test_the_schema_refuses_what_the_loader_refuses(text: str) -> None:
    good = yaml.safe_load((ROOT / "examples/quickstart/syncer.yaml").read_text())
    assert not Draft202012Validator(config_schema()).is_valid(good | yaml.safe_load(text))


def test_models_of_a_kind_keep_apart_from_other_kinds(shelf: SinkKind) -> None:
    schema = compose_schema([shelf])
    assert schema["$defs"]["shelf.Lock"]["required"] == ["keyFile"]
    good = yaml.safe_load((ROOT / "examples/quickstart/syncer.yaml").read_text())
    sink = {"name": "local", "kind": "shelf", "path": "x"}
    validator = Draft202012Validator(schema)
    assert validator.is_valid(good | {"sinks": [sink | {"lock": {"keyFile": "k"}}]})
    assert not validator.is_valid(good | {"sinks": [sink | {"lock": {}}]})


def test_the_quickstart_leaves_out_the_installation_that_is_held() -> None:
    (rule,) = load_config(ROOT / "examples/quickstart/syncer.yaml", {}).policy.rules
    assert rule.match.namespaces == ("shop", "prod", "staging")


def test_every_setting_is_in_the_reference() -> None:
    reference = (ROOT / "docs/configuration.md").read_text()
    named = set(re.findall(r"`([A-Za-z]+)`", reference))
    assert {name for name, _ in settings_in(config_schema())} <= named


def test_every_default_is_in_the_reference() -> None:
    """In the row of its setting, as a user writes it."""
    rows = [
        line for line in (ROOT / "docs/configuration.md").read_text().splitlines() if line.startswith("| `")
    ]
    for name, said in settings_in(config_schema()):
        default = said.get("default")
        if isinstance(default, str):
            assert any(row.startswith(f"| `{name}` |") and f"| `{default}` |" in row for row in rows), name


def test_every_setting_of_the_file_itself_is_described() -> None:
    schema = config_schema()
    kinds = {name for name in schema["$defs"] if name.split(".")[0] in BUILT_IN_KINDS}
    for definition in [schema, *(value for name, value in schema["$defs"].items() if name not in kinds)]:
        for name, said in definition.get("properties", {}).items():
            if name not in ("kubeconfig", "context", "requestTimeout"):
                assert said.get("description"), name
