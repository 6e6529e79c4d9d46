"""Every reason that holds a target, or makes it a conflict, as the source of the product says it. Pure but for reading.

Found are texts written where they are raised or returned; what servers and operating systems say in
their own words is not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import ROOT

HOLDING = {
    "Hold", "Conflict", "Withheld", "Unresolved", "Unmappable", "Quarantined", "_Undecided",
    "Refused", "NameRefused", "ForeignSecret", "TargetUnavailable", "TooLarge",
}  # fmt: skip
# Here a reason is also what a function returns.
JUDGES = {
    "backends/marking.py", "syncer/core/planning.py", "syncer/engine/world.py", "syncer/sources/porter/bundle.py",
    "syncer/sources/porter/documents.py", "syncer/sources/porter/snapshot.py", "syncer/sources/porter/source.py",
}  # fmt: skip
# Why something is written, which holds nothing.
OTHER_REASONS = {"_why_update"}
FOLDERS = ("syncer/core", "syncer/engine", "syncer/sources", "backends")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Where it is said, and its parts that never vary."""

    place: str
    parts: tuple[str, ...]

    @property
    def longest(self) -> str:
        return max(self.parts, key=len).strip(" :,(")


def reasons() -> list[Reason]:
    return [
        reason
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name != "memory.py" and "testing" not in path.parts
        for reason in reasons_in(path)
    ]


def reasons_in(path: Path) -> Iterator[Reason]:
    name = path.relative_to(ROOT).as_posix()
    for node in _statements(ast.parse(path.read_text())):
        for text in _texts(node, returned=name in JUDGES):
            parts = tuple(_constant_parts(text))
            if any(" " in part.strip() for part in parts):
                yield Reason(place=f"{name}:{node.lineno}", parts=parts)


def _statements(tree: ast.AST) -> Iterator[ast.Return | ast.Assign | ast.Call]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef) and node.name in OTHER_REASONS:
            continue
        if isinstance(node, ast.Return | ast.Assign | ast.Call):
            yield node
        yield from _statements(node)


def _texts(node: ast.Return | ast.Assign | ast.Call, *, returned: bool) -> list[ast.expr]:
    match node:
        case ast.Call() if _name(node.func) in HOLDING:
            return [*node.args[:1], *(word.value for word in node.keywords if word.arg == "reason")]
        case ast.Return(value=ast.Tuple(elts=texts)) if returned:
            return texts
        case ast.Return(value=ast.IfExp(body=one, orelse=other)) if returned:
            return [one, other]
        case ast.Return(value=text) if returned and text is not None:
            return [text]
        case ast.Assign(targets=[ast.Name(id="reason")], value=text):
            return [text]
    return []


def _name(function: ast.expr) -> str:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _constant_parts(text: ast.expr) -> Iterator[str]:
    match text:
        case ast.Constant(value=str(part)):
            yield part
        case ast.JoinedStr(values=pieces):
            for piece in pieces:
                yield from _constant_parts(piece)
