"""What reaches standard error: JSON lines, levels, progress; never an exception's own text."""

from __future__ import annotations

import io
import json
import logging
import sys
from typing import NoReturn

import pytest
import structlog

from syncer.telemetry.logs import MUTED, set_up_logging
from syncer.telemetry.progress import INTERVAL, Progress

CANARY = "canary-7f3a"


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    muted = {name: logging.getLogger(name).level for name in MUTED}
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    for name, old in muted.items():
        logging.getLogger(name).setLevel(old)
    structlog.reset_defaults()


def lines(capsys) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_a_json_object_off_a_terminal(capsys):
    set_up_logging("info")
    structlog.stdlib.get_logger("syncer").info("change", address="local:a")
    [line] = lines(capsys)
    assert {name: line[name] for name in ("event", "address", "level", "logger")} == {
        "event": "change",
        "address": "local:a",
        "level": "info",
        "logger": "syncer",
    }


def test_the_last_set_up_counts_and_nothing_is_said_twice(capsys):
    set_up_logging("debug")
    set_up_logging("warning")
    structlog.stdlib.get_logger("syncer").info("quiet")
    structlog.stdlib.get_logger("syncer").warning("loud")
    assert [line["event"] for line in lines(capsys)] == ["loud"]


@pytest.mark.parametrize("name", MUTED)
def test_libraries_are_muted_below_warning(name, capsys):
    set_up_logging("debug")
    logging.getLogger(f"{name}.rest").debug("response body: %s", CANARY)
    logging.getLogger(f"{name}.rest").info("request: %s", CANARY)
    logging.getLogger(f"{name}.rest").warning("slow")
    assert [line["event"] for line in lines(capsys)] == ["slow"]


def test_of_an_exception_only_the_type_is_said(capsys):
    set_up_logging("debug")
    error = ValueError(CANARY)
    try:
        fail(error)
    except ValueError:
        structlog.stdlib.get_logger("syncer").exception("ours")
        logging.getLogger("asyncio").exception(f"theirs\nfuture: <Task exception={error!r}>")  # noqa: G004
    structlog.stdlib.get_logger("syncer").error("given", exc_info=error)
    text = capsys.readouterr().err
    assert [json.loads(line)["exc_type"] for line in text.splitlines()] == ["ValueError"] * 3
    assert CANARY not in text


def fail(error: Exception) -> NoReturn:
    raise error


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_text_without_locals(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    set_up_logging("info")
    try:
        fail(ValueError(CANARY))
    except ValueError:
        structlog.stdlib.get_logger("syncer").exception("ours")
    assert "ours" in terminal.getvalue()
    assert CANARY not in terminal.getvalue()


def test_progress_is_one_line_that_goes_away():
    now = [0.0]
    terminal = Terminal()
    progress = Progress(terminal, lambda: now[0])
    progress.show("installations", 1, 9)
    progress.show("installations", 2, 9)
    now[0] += INTERVAL
    progress.show("installations", 3, 9)
    progress.show("installations", 9, 9)
    progress.clear()
    progress.clear()
    shown = terminal.getvalue().split("\r\x1b[K")
    assert shown == ["", "installations: 1/9", "installations: 3/9", "installations: 9/9", ""]


def test_there_is_no_progress_off_a_terminal():
    stream = io.StringIO()
    progress = Progress(stream, lambda: 0.0)
    progress.show("installations", 9, 9)
    progress.clear()
    assert stream.getvalue() == ""
