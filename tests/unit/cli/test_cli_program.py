"""What the program ends with: exit codes, one line for each error, no traceback, no heavy imports.

Commands are replaced where an error has to be raised; what they do is tested elsewhere.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from backends.errors import Forbidden
from syncer import __version__
from syncer.cli import main, version
from syncer.cli.errors import CommandFailed, UsageError
from syncer.config.errors import ConfigError, Problem
from syncer.core.errors import SourceRefused, SourceUnavailable

CANARY = "canary-7f3a"
HEAVY = ("kubernetes", "aiohttp", "pymongo", "bson", "pydantic", "yaml", "structlog")
COMMANDS = [
    "once",
    "plan",
    "status",
    "gc",
    "adopt",
    "doctor",
    "version",
    "config check",
    "config schema",
    "config init",
    "installations list",
    "inst runs list",
    "installation run list",
    "inst outputs list",
    "inst output show",
]


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_version(arguments, capsys):
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize("arguments", ["['version']", "['--help']", "['inst', '--help']"])
def test_version_and_help_import_nothing_heavy(arguments):
    script = (
        f"import sys; from syncer.cli import main; code = main({arguments});"
        f"print(code, [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_the_package_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "syncer", "--bogus"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")


def test_a_reader_that_has_enough_is_no_error_to_speak_of():
    """`head` ends before the program has begun to print."""
    reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    reader.wait()
    assert reader.stdin is not None
    with reader.stdin as pipe:
        command = [sys.executable, "-m", "syncer", "config", "schema"]
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches_by_an_example(command, capsys):
    assert main([*command.split(), "--help"]) == 0
    help_text = capsys.readouterr().out
    assert "Example: syncer " in help_text
    assert "--config, -c" in help_text


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["plan", "--bogus"],
        ["plan", "-o", "xml"],
        ["adopt"],
        ["inst", "outputs", "list"],
        ["inst", "outputs", "list", "a", "-i", "a"],
        ["inst", "outputs", "list", "-r", "latest"],
        ["inst", "outputs", "show", "host"],
        ["inst", "runs", "list"],
        ["inst", "list", "-l", "team"],
        ["inst", "list", "--skip", "-1"],
        ["plan", "-c", "no-such-file.yaml"],
    ],
)
def test_bad_usage_ends_with_2_and_a_line_on_stderr(arguments, capsys):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1


def problem(line: int) -> Problem:
    return Problem(file="syncer.yaml", line=line, field="sinks", message="is wrong")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            ConfigError([problem(1), problem(2)]),
            2,
            "syncer.yaml:1: sinks: is wrong\nsyncer.yaml:2: sinks: is wrong\n",
        ),
        (UsageError("not like this"), 2, "not like this\n"),
        (SourceUnavailable("not reachable"), 1, "source: not reachable\n"),
        (SourceRefused("not Porter's"), 1, "source: not Porter's\n"),
        (Forbidden("may not list secrets"), 1, "sink: may not list secrets\n"),
        (CommandFailed("there is none"), 1, "there is none\n"),
        (KeyboardInterrupt(), 130, ""),
        (
            ValueError(CANARY),
            1,
            "unexpected ValueError; its details may hold secrets and are not shown\n",
        ),
        (
            ExceptionGroup(CANARY, [ValueError(CANARY)]),
            1,
            "unexpected ExceptionGroup; its details may hold secrets and are not shown\n",
        ),
    ],
)
def test_errors_end_with_their_code_and_their_own_words(error, code, said, capsys, monkeypatch):
    def failing() -> None:
        raise error

    monkeypatch.setattr(version, "version", failing)
    assert main(["version"]) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", said)
