"""Runs a pydantic model over part of a document, and says what is wrong in the file's own terms.

Of pydantic's errors only the kind and place are used, never the input.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from syncer.config.document import Data, Document, member
from syncer.config.errors import FieldPath

Model = TypeVar("Model", bound=BaseModel)

_MESSAGES: Final = {
    "missing": "is required",
    "string_type": "should be text (put it in quotes)",
    "path_type": "should be a path",
    "bool_type": "should be true or false",
    "int_type": "should be a whole number",
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "dict_type": "should be a mapping of names to values",
    "model_type": "should be a mapping of settings to values",
    "model_attributes_type": "should be a mapping of settings to values",
    "too_short": "should not be empty",
    "string_too_short": "should not be empty",
    "union_tag_not_found": "is required",
}

_TAGS: Final = ("kind", "method")
"""Settings that say which member of a union the others belong to."""


def validate(model: type[Model], data: Data, path: FieldPath, document: Document) -> Model | None:
    """The model of the data at `path`; None, and everything reported, where they do not fit."""
    try:
        return model.model_validate(data, context=document.surroundings)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    for detail in details:
        where, found = _locate(data, detail)
        # Pydantic counts the good items only, and reports the bad ones besides.
        if not (detail["type"] == "too_short" and found):
            document.report((*path, *where), _message(detail, model))
    return None


def setting_names(model: type[BaseModel]) -> frozenset[str]:
    """What the settings of a model are called in the file."""
    return frozenset(field.alias or name for name, field in model.model_fields.items())


def unknown_setting(name: str, known: Collection[str]) -> str:
    """The message for a setting that does not exist, with the likely right one."""
    close = difflib.get_close_matches(name, sorted(known), n=1)
    if not close:
        folded = {_folded(candidate): candidate for candidate in known}
        close = [folded[_folded(name)]] if _folded(name) in folded else []
    if close:
        return f"unknown setting; did you mean {close[0]}?"
    return f"unknown setting; there are: {', '.join(sorted(known))}"


def _folded(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _message(detail: ErrorDetails, model: type[BaseModel]) -> str:
    kind = detail["type"]
    context: Mapping[str, object] = detail.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown_setting(str(detail["loc"][-1]), _names_at(model, detail["loc"][:-1]))
    if kind == "union_tag_invalid":
        return f"should be one of {context['expected_tags']}"
    if kind == "string_pattern_mismatch":
        return f"should match {context['pattern']}"
    return _MESSAGES.get(kind, _lower_first(detail["msg"].removeprefix("Value error, ")))


def _lower_first(message: str) -> str:
    return message.replace("Input should", "should", 1)


def _locate(data: Data, detail: ErrorDetails) -> tuple[FieldPath, Data]:
    """Pydantic's place without the steps that are not in the file (names of union members).

    With it the data at the last step that is.
    """
    *steps, last = detail["loc"] or ("",)
    path: list[str | int] = []
    node, picked = data, False
    for step in (*steps, last):
        if not picked and step in _tags_of(node):
            picked = True  # NB: a setting may be called what the member is: auth: {method: token, token: ...}
            continue
        for found in member(node, step):
            node, picked = found, False
            path.append(step)
    if detail["type"] == "missing":
        path.append(last)
    if detail["type"].startswith("union_tag_"):
        path.append(str(detail.get("ctx", {}).get("discriminator", "kind")).strip("'"))
    return tuple(path), node


def _tags_of(node: Data) -> tuple[Data, ...]:
    """What picks the member of a union that this part of the file is."""
    return tuple(node.get(name) for name in _TAGS) if isinstance(node, dict) else ()


def _names_at(model: type[BaseModel], steps: Iterable[str | int]) -> frozenset[str]:
    """What may be set at a place in a model; of a union, whatever any fitting member takes."""
    models = [model]
    for step in steps:
        inner = [
            found
            for candidate in models
            for name, field in candidate.model_fields.items()
            if (field.alias or name) == step
            for found in _models_in(field.annotation)
        ]
        tagged = [candidate for candidate in models if _has_tag(candidate, step)]
        models = inner or tagged or models
    return frozenset().union(*map(setting_names, models))


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _has_tag(model: type[BaseModel], step: str | int) -> bool:
    """Whether this is the member of a union that `step`, the value of its tag, picks."""
    tags = (model.model_fields.get(name) for name in _TAGS)
    return any(tag is not None and step in get_args(tag.annotation) for tag in tags)
