"""The JSON Schema of the configuration file, for editors; and a file to start from.

Composed of the models and of what each kind of sink says of itself. It cannot say everything
the loader checks: templates, references between settings, and which target goes with which kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from backends.contract import SinkKind
from backends.loading import find_kind
from syncer.config.durations import PATTERN, duration_text
from syncer.config.schema import ConfigFile, SinkEntry, TargetEntry

BUILT_IN_KINDS: Final = ("azure-keyvault", "file", "kubernetes", "vault")

JsonSchema = dict[str, Any]


class _Generator(GenerateJsonSchema):
    """Says defaults as a user writes them, and leaves out titles that repeat the names."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  # pydantic's signature
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        found = super().default_schema(schema)
        if found.get("pattern") == PATTERN:
            found["default"] = duration_text(found["default"])
        return found


def config_schema() -> JsonSchema:
    """The JSON Schema (draft 2020-12) of a configuration with the kinds of sinks built in."""
    return compose_schema([find_kind(name) for name in BUILT_IN_KINDS])


def compose_schema(kinds: Sequence[SinkKind]) -> JsonSchema:
    """The JSON Schema of a configuration with sinks of these kinds."""
    schema = ConfigFile.model_json_schema(schema_generator=_Generator)
    definitions = schema["$defs"]
    definitions["SinkEntry"] = _alternatives(SinkEntry, definitions, ((kind, kind.options) for kind in kinds))
    definitions["TargetEntry"] = _alternatives(
        TargetEntry, definitions, ((kind, kind.target) for kind in kinds)
    )
    for alternative, kind in zip(definitions["SinkEntry"]["anyOf"], kinds, strict=True):
        alternative["properties"]["kind"] |= {"const": kind.kind}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def starter_config() -> str:
    """A commented configuration file to begin with."""
    return files("syncer.config").joinpath("starter.yaml").read_text(encoding="utf-8")


def _alternatives(
    common: type[BaseModel], definitions: JsonSchema, own: Iterable[tuple[SinkKind, type[BaseModel]]]
) -> JsonSchema:
    """One schema for each kind: the common settings, and the kind's own."""
    description = definitions[common.__name__]["description"]
    return {
        "description": description,
        "anyOf": [_combined(kind, common, model, definitions) for kind, model in own],
    }


def _combined(
    kind: SinkKind, common: type[BaseModel], own: type[BaseModel], definitions: JsonSchema
) -> JsonSchema:
    shared = common.model_json_schema(schema_generator=_Generator)
    # Two kinds may have models of one name.
    theirs = own.model_json_schema(ref_template=f"#/$defs/{kind.kind}.{{model}}", schema_generator=_Generator)
    for name, definition in theirs.pop("$defs", {}).items():
        definitions[f"{kind.kind}.{name}"] = definition
    return {
        "title": kind.kind,
        "description": theirs.get("description", ""),
        "type": "object",
        "properties": shared["properties"] | theirs["properties"],
        "required": [*shared["required"], *theirs.get("required", [])],
        "additionalProperties": False,
    }
