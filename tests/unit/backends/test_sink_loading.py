"""Kinds of sinks are found by their entry points; what a kind's options accept is pinned here too.

Packages are played by folders with an `entry_points.txt` on the import path.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from backends.contract import Capabilities, Layout, SinkKind, TargetOptions
from backends.file import KIND
from backends.file.options import FileOptions, FileTarget
from backends.file.sink import FileSink
from backends.loading import find_kind, kinds
from backends.memory import memory_kind

GOOD = """
from backends.memory import memory_kind
from dataclasses import replace
KIND = replace(memory_kind(), kind="good")
SOMETHING = object()
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "third_party_sinks.py").write_text(GOOD)
    points = {
        "one": "good = third_party_sinks:KIND\nother-name = third_party_sinks:KIND\nno-kind = third_party_sinks:SOMETHING\n"
        "gone = third_party_sinks:GONE\nno-module = third_party_gone:KIND\ntwice = third_party_sinks:KIND\n",
        "two": "twice = third_party_sinks:SOMETHING\ngood = third_party_sinks:KIND\n",
    }
    for name, lines in points.items():
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[syncer.backends]\n{lines}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "third_party_sinks", raising=False)


def test_our_kinds_are_found() -> None:
    assert kinds()["file"] == "backends.file:KIND"
    assert find_kind("file") is KIND


@pytest.mark.usefixtures("installed")
def test_a_third_partys_kind_is_found_also_where_it_is_listed_twice() -> None:
    kind = find_kind("good")
    assert isinstance(kind, SinkKind)
    assert list(kinds()) == sorted(kinds())
    assert kinds()["good"] == "third_party_sinks:KIND"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("filez", LookupError, r"no kind of sink 'filez'; installed are: .*file, .*good"),
        ("gone", LookupError, r"'gone' \(third_party_sinks:GONE\) cannot be imported"),
        ("no-module", LookupError, r"'no-module' \(third_party_gone:KIND\) cannot be imported: No module"),
        (
            "twice",
            LookupError,
            r"several packages offer .* 'twice': third_party_sinks:KIND, third_party_sinks:SOM",
        ),
        ("no-kind", TypeError, r"'no-kind' .* is no backends.contract.SinkKind"),
        ("other-name", TypeError, r"'other-name' .* calls itself 'good'"),
    ],
)
def test_what_is_wrong_with_a_kind_is_said(name: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        find_kind(name)


def test_without_any_kind_the_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(LookupError, match="installed are: none"):
        find_kind("file")


def test_listing_kinds_imports_none_and_the_file_sink_no_client() -> None:
    script = (
        "import sys; from backends.loading import kinds, find_kind; kinds();"
        "assert not [m for m in sys.modules if m.startswith(('backends.file', 'backends.kubernetes'))];"
        "find_kind('file'); assert not {'kubernetes', 'aiohttp', 'pymongo', 'pytest'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# --- the file sink's options


def test_the_capabilities_of_the_file_sink() -> None:
    assert KIND.capabilities == Capabilities(
        compare_and_set=True,
        atomic_mark=True,
        lists_values=True,
        layouts=frozenset({Layout.BUNDLE}),
        max_secret_bytes=None,
        max_value_bytes=None,
        max_address_length=2048,
        max_key_length=253,
        restarts=False,
    )


def test_the_defaults_of_a_file_target() -> None:
    shape = FileTarget().shape()
    assert (shape.parts, shape.layout, shape.attributes) == (
        ("{namespace}", "{installation}"),
        Layout.BUNDLE,
        {},
    )


def test_a_target_path_is_split_into_folders() -> None:
    assert FileTarget(path="a/{namespace}-{rule}/.x").shape().parts == ("a", "{namespace}-{rule}", ".x")


def test_a_kind_has_to_say_what_its_targets_come_down_to() -> None:
    with pytest.raises(NotImplementedError):
        TargetOptions().shape()


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", ".", "a/..", "../a", 7])
def test_a_target_path_has_to_stay_below_the_base(path: object) -> None:
    with pytest.raises(ValidationError):
        FileTarget.model_validate({"path": path})


@pytest.mark.parametrize("options", [{}, {"path": "x", "mode": "0644"}])
def test_options_are_complete_and_known(options: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        FileOptions.model_validate(options)
    with pytest.raises(ValidationError):
        FileTarget.model_validate({"layout": "perOutput"})


def test_the_kind_makes_sinks_and_names(tmp_path: Path) -> None:
    options = KIND.options.model_validate({"path": str(tmp_path)})
    assert isinstance(KIND.create(options), FileSink)
    assert KIND.naming(options).address(("a", "b")) == "a/b"


def test_memory_is_no_kind_anybody_can_configure() -> None:
    assert memory_kind().kind not in kinds()
