"""Reads YAML into plain data that remembers its lines, and refuses what YAML is too clever for.

Tags, anchors and aliases, duplicate and non-text keys, several documents, deep nesting and
large files are refused. What the data mean is the schema's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

import yaml
from yaml.constructor import SafeConstructor

from backends.clients.surroundings import Surroundings
from syncer.config.errors import ConfigError, FieldPath, Problem, field_text

MAX_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 32
_MANY: Final = 20
_PLAIN_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null")
)

Data = dict[str, "Data"] | list["Data"] | str | int | float | bool | None


class Document:
    """The data of one file, with a line for each path, and what has been found wrong so far."""

    def __init__(self, file: str, surroundings: Surroundings) -> None:
        self.file = file
        self.surroundings = surroundings
        self.data: Data = None
        self._lines: dict[FieldPath, int] = {(): 1}
        self._problems: dict[Problem, None] = {}

    def place(self, path: FieldPath, line: int) -> None:
        self._lines[path] = line

    def line(self, path: FieldPath) -> int:
        """The line of a setting, or of the nearest one around it that is in the file."""
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]

    def report(self, path: FieldPath, message: str) -> None:
        """Note a problem; `raise_problems` raises all of them together."""
        problem = Problem(file=self.file, line=self.line(path), field=field_text(path), message=message)
        self._problems[problem] = None

    def raise_problems(self) -> None:
        if self._problems:
            raise ConfigError(self._problems)


def member(data: Data, step: str | int) -> Iterator[Data]:
    """What one step of a path leads to; nothing where there is no such member."""
    match data:
        case dict() if isinstance(step, str) and step in data:
            yield data[step]
        case list() if isinstance(step, int) and step < len(data):
            yield data[step]


def parse_document(content: bytes, file: str, surroundings: Surroundings) -> Document:
    """Read one file's bytes. Raises `ConfigError` where they are no YAML we take.

    Duplicate keys and keys that are not text are only noted, so that they are reported
    together with what the schema finds.
    """
    if len(content) > MAX_BYTES:
        raise _refusal(file, None, f"is larger than {MAX_BYTES} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _refusal(file, line, "is not UTF-8 text") from None
    try:
        _refuse_cleverness(text, file)
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise _unreadable(error, text, file) from None
    if node is None:
        raise _refusal(file, 1, "the file is empty")
    document = Document(file, surroundings)
    document.data = _data(node, (), document)
    return document


def _refusal(file: str, line: int | None, message: str) -> ConfigError:
    return ConfigError([Problem(file=file, line=line, field="", message=message)])


def _unreadable(error: yaml.YAMLError, text: str, file: str) -> ConfigError:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return _refusal(file, error.problem_mark.line + 1, f"is not YAML: {error.problem}")
    # The only other error, a control character; its position counts bytes.
    line = text.encode().count(b"\n", 0, getattr(error, "position", 0)) + 1
    return _refusal(file, line, "is not YAML: a control character")


def _refuse_cleverness(text: str, file: str) -> None:
    """Scan the events first: composing recurses in C, where depth would end the process."""
    problems = [
        Problem(file=file, line=line, field="", message=message)
        for line, message in islice(_cleverness(text), _MANY)
    ]
    if problems:
        raise ConfigError(problems)


def _cleverness(text: str) -> Iterator[tuple[int, str]]:
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        assert event.start_mark is not None
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            yield line, "aliases (*name) are not allowed"
        elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            if event.anchor is not None:
                yield line, "anchors (&name) are not allowed"
            if event.tag is not None:
                yield line, "tags (!name) are not allowed"
        documents += isinstance(event, yaml.DocumentStartEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if documents > 1:
            yield line, "only one document is allowed"
            return
        if depth > MAX_DEPTH:
            yield line, f"is nested more than {MAX_DEPTH} deep"
            return


def _data(node: yaml.Node, path: FieldPath, document: Document) -> Data:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            document.place((*path, index), child.start_mark.line + 1)
        return [_data(child, (*path, index), document) for index, child in enumerate(node.value)]
    return _scalar(node)


def _mapping(node: yaml.MappingNode, path: FieldPath, document: Document) -> dict[str, Data]:
    members: dict[str, Data] = {}
    for key, child in node.value:
        line = key.start_mark.line + 1
        name = _scalar(key) if isinstance(key, yaml.ScalarNode) else None
        if not isinstance(name, str):
            document.place((*path, "?"), line)
            document.report((*path, "?"), "a setting's name must be text (put it in quotes)")
        elif name in members:
            first = document.line((*path, name))
            document.place((*path, name), line)
            document.report((*path, name), f"is given twice, first on line {first}")
        else:
            document.place((*path, name), line)
            members[name] = _data(child, (*path, name), document)
    return members


def _scalar(node: yaml.Node) -> str | int | float | bool | None:
    # A date, a merge key ("<<") and the like stay the text they are.
    if node.tag not in _PLAIN_TAGS:
        return str(node.value)
    try:
        value = SafeConstructor().construct_object(node)
    except ValueError:
        # an integer with more digits than Python converts
        return str(node.value)
    assert value is None or isinstance(value, str | int | float | bool)
    return value
