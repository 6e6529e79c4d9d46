"""Configuration files written into a temporary folder and loaded with a made-up environment.

Two kinds of sinks stand in for real ones: `shelf` keeps bundles, `drawer` one secret for each
output. No sink, source or process environment is touched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import pytest
from pydantic import BaseModel, ConfigDict, Field

from backends.contract import Capabilities, Layout, SinkKind, TargetOptions, TargetShape
from backends.errors import NameRefused
from syncer.config.errors import ConfigError, Problem
from syncer.config.loading import load_config
from syncer.config.model import Config

ENVIRON = {"HOME": "/home/ann", "PORTER_MONGODB_URL": "mongodb://app:env-canary@db/porter"}


class Lock(BaseModel):
    model_config = ConfigDict(extra="forbid")
    key_file: Path = Field(alias="keyFile")


class ShelfOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")
    path: Path
    lock: Lock | None = None
    timeout: int = 3


class ShelfTarget(TargetOptions):
    model_config = ConfigDict(extra="forbid")
    path: str = "{namespace}/{installation}"
    layout: Literal["bundle", "perOutput"] = "bundle"

    def shape(self) -> TargetShape:
        return TargetShape(
            parts=tuple(self.path.split("/")), layout=Layout(self.layout), attributes={"a": "b"}
        )


class DrawerOptions(BaseModel):
    where: str = "here"


class DrawerTarget(TargetOptions):
    name: str = "{installation}-{output}"

    def shape(self) -> TargetShape:
        return TargetShape(parts=(self.name,), layout=Layout.PER_OUTPUT)


class LowerCaseNaming:
    global_namespace = None

    def address(self, parts: tuple[str, ...]) -> str:
        if "forbidden" in parts:
            raise NameRefused("forbidden is forbidden here")
        if parts[0] in ("x", "x-x"):
            raise NameRefused("asked about an installation that does not exist")
        return "/".join(parts)

    def key(self, name: str) -> str:
        if "!" in name:
            raise NameRefused("no")
        return name.lower()

    def same(self, address: str) -> str:
        return address


def no_sink(_: object) -> NoReturn:
    raise AssertionError("loading a configuration makes no sink")


def kind(name: str, options: type[BaseModel], target: type[TargetOptions], layout: Layout) -> SinkKind:
    capabilities = Capabilities(
        compare_and_set=True, atomic_mark=True, lists_values=True, layouts=frozenset({layout}),
        max_secret_bytes=None, max_value_bytes=None, max_address_length=None, max_key_length=None,
    )  # fmt: skip
    return SinkKind(
        kind=name, options=options, target=target, capabilities=capabilities,
        naming=lambda _: LowerCaseNaming(), create=no_sink,
    )  # fmt: skip


KINDS = {
    "shelf": kind("shelf", ShelfOptions, ShelfTarget, Layout.BUNDLE),
    "drawer": kind("drawer", DrawerOptions, DrawerTarget, Layout.PER_OUTPUT),
}


def find(name: str) -> SinkKind:
    if name not in KINDS:
        raise LookupError("there is no such kind of sink; installed are: drawer, shelf")
    return KINDS[name]


@dataclass(frozen=True)
class Loader:
    folder: Path

    def __call__(self, text: str, **environ: str) -> Config:
        path = self.folder / "syncer.yaml"
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        return load_config(path, ENVIRON | environ, find)

    def refusal(self, text: str, **environ: str) -> ConfigError:
        with pytest.raises(ConfigError) as caught:
            self(text, **environ)
        return caught.value

    def problems(self, text: str, **environ: str) -> tuple[Problem, ...]:
        """What is wrong, after checking that each problem is a line with file, line and field."""
        error = self.refusal(text, **environ)
        lines = [
            f"{self.folder}/syncer.yaml:{problem.line}: {problem.field}: {problem.message}"
            for problem in error.problems
        ]
        assert str(error).splitlines() == lines
        return error.problems


@pytest.fixture
def shelf() -> SinkKind:
    return KINDS["shelf"]


@pytest.fixture
def load(tmp_path: Path) -> Loader:
    return Loader(tmp_path)


MINIMAL = """\
instance: test
source: {kind: dump, path: dump, secrets: {kind: none}}
sinks: [{name: out, kind: shelf, path: out}]
rules: [{name: all, targets: [{sink: out}]}]
"""


@pytest.fixture
def minimal() -> str:
    """The smallest file that loads; its lines hold instance, source, sinks and rules."""
    return MINIMAL


@pytest.fixture
def with_line(minimal: str) -> Callable[[int, str], str]:
    """The smallest file with one line (counted from 1) replaced, or added at the end."""

    def replaced(number: int, text: str) -> str:
        lines = minimal.splitlines()
        lines[number - 1 : number] = [text]
        return "\n".join(lines) + "\n"

    return replaced
