"""Writes what of the chart follows from something else; run it by its path, from anywhere.

values.schema.json (of values.schema.yaml, values.yaml and the configuration's own schema), the table of
values in README.md, and copies of the dashboard and the alerts: a chart can read its own files only.
A test compares.
"""  # noqa: INP001  # a script, not part of a package

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

CHART: Final = Path(__file__).parents[1]
ROOT: Final = CHART.parents[1]
COPIES: Final = ("alerts.yaml", "grafana.json")
TABLE: Final = re.compile(r"(?<=<!-- values -->\n).*?(?=<!-- end -->)", re.DOTALL)

_FILLED_IN: Final = {"instance"}
"""What the chart knows where `config` leaves it out."""
_DNS_LABEL: Final = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_SOME_DIGIT: Final = "^(?=[0-9])"
_SHORT_DURATION: Final = r"^[0-9]+(\.[0-9]+)?(ms|s|m)$"
_REFERENCES: Final = ("EnvReference", "FileReference")

Json = dict[str, Any]


class Value(NamedTuple):
    """One documented value of values.yaml."""

    path: str
    text: str
    default: object


# --- values.yaml ---------------------------------------------------------------------------


def documented(source: str) -> Iterator[Value]:
    """Every key with a comment that begins with `# --`, in the file's order."""
    defaults = yaml.safe_load(source)
    path: list[str] = []
    comment: list[str] = []
    for line in source.splitlines():
        if (found := re.match(r" *# (--)?(.*)", line)) is not None:
            comment = [found[2].strip()] if found[1] else [*comment, found[2].strip()] * bool(comment)
        elif (found := re.match(r"( *)([A-Za-z]+):", line)) is not None:
            path = [*path[: len(found[1]) // 2], found[2]]
            if comment:
                yield Value(".".join(path), " ".join(comment), _at(defaults, path))
            comment = []


def _at(values: Any, path: list[str]) -> object:
    for name in path:
        values = values[name]
    return values


def table(values: list[Value]) -> str:
    """The table of README.md."""
    rows = [f"| `{one.path}` | {_cell(_shown(one.default))} | {_cell(one.text)} |" for one in values]
    return "\n".join(["| value | default | meaning |", "|---|---|---|", *rows]) + "\n"


def _shown(default: object) -> str:
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# --- values.schema.json --------------------------------------------------------------------


def schema(values: list[Value]) -> Json:
    """The whole of values.schema.json."""
    own = yaml.safe_load((CHART / "tools/values.schema.yaml").read_text(encoding="utf-8"))
    _describe(own, values)
    config = json.loads((ROOT / "docs/syncer.schema.json").read_text(encoding="utf-8"))
    definitions = {name: _clear(one) for name, one in config.pop("$defs").items()}
    _fit_to_a_chart(config, definitions)
    del config["$schema"]
    return {**own, "$defs": {**own["$defs"], "Config": _clear(config), **definitions}}


def _describe(own: Json, values: list[Value]) -> None:
    for value in values:
        node = own
        for name in value.path.split("."):
            node = node["properties"][name]
        node["description"] = value.text


def _fit_to_a_chart(config: Json, definitions: Json) -> None:
    config["required"] = [name for name in config["required"] if name not in _FILLED_IN]
    config["additionalProperties"] = False
    lease = definitions["LeaseElection"]
    lease["required"] = [name for name in lease["required"] if name != "namespace"]
    kinds = {kind["properties"]["kind"]["const"]: kind for kind in definitions["SinkEntry"].pop("anyOf")}
    for kind, alternative in kinds.items():
        definitions[f"SinkEntry.{kind}"] = alternative
    definitions["SinkEntry"] |= _by("kind", {kind: f"#/$defs/SinkEntry.{kind}" for kind in kinds})
    # NB: each becomes a Role, and "" or "*" would be a larger one.
    names = definitions["SinkEntry.kubernetes"]["properties"]["namespaces"]["anyOf"][0]
    names |= {"items": {"type": "string", "pattern": _DNS_LABEL}, "minItems": 1}


def _clear(node: Any) -> Any:
    """The same for Helm, whose messages name what is wrong only where there are no alternatives."""
    if isinstance(node, list):
        return [_clear(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {name: _clear(one) for name, one in node.items()}
    if "discriminator" in found:
        choice = found.pop("discriminator")
        del found["oneOf"]
        found |= _by(choice["propertyName"], choice["mapping"])
    if found.get("pattern", "").startswith(_SOME_DIGIT):
        # Go has no lookahead; this one says that a pattern of optional parts is not to match nothing.
        found |= {"pattern": "^" + found["pattern"].removeprefix(_SOME_DIGIT), "minLength": 1}
    if "properties" in found:
        found["properties"] = {name: _setting(name, one) for name, one in found["properties"].items()}
    return found


def _by(name: str, mapping: Mapping[str, str]) -> Json:
    """What one setting decides between."""
    choices = [
        {"if": {"properties": {name: {"const": value}}}, "then": {"$ref": reference}}
        for value, reference in mapping.items()
    ]
    return {
        "type": "object",
        "required": [name],
        "properties": {name: {"enum": [*mapping]}},
        "allOf": choices,
    }


def _setting(name: str, node: Json) -> Json:
    if name == "requestTimeout" and node["type"] == "number":
        return node | {"type": ["number", "string"], "pattern": _SHORT_DURATION}  # as the loader takes it
    if name != "url":
        return _without_literals(node)
    return node


def _without_literals(node: Json) -> Json:
    """A secret is never text in a ConfigMap: a reference is asked for."""
    references = [one for one in node.get("oneOf", ()) if one.get("$ref", "").endswith(_REFERENCES)]
    if references:
        return {**node, "oneOf": references}
    if "anyOf" in node:
        return {**node, "anyOf": [_without_literals(one) for one in node["anyOf"]]}
    return node


# --- files ---------------------------------------------------------------------------------


def generated() -> dict[Path, str]:
    """Every file that is written, with its content."""
    values = list(documented((CHART / "values.yaml").read_text(encoding="utf-8")))
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    copies = {CHART / "files" / name: (ROOT / "dashboards" / name).read_text("utf-8") for name in COPIES}
    return {
        CHART / "values.schema.json": json.dumps(schema(values), indent=1, ensure_ascii=False) + "\n",
        CHART / "README.md": TABLE.sub(lambda _: table(values), readme),
        **copies,
    }


if __name__ == "__main__":
    for path, content in generated().items():
        path.write_text(content, encoding="utf-8")
