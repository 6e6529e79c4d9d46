"""What most commands begin with (configuration, logging) and end with (text on standard output)."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Coroutine
from typing import TypeVar

import structlog

from syncer.app import run_pass
from syncer.cli.options import Common, Level
from syncer.cli.rendering import failures_text
from syncer.config.loading import config_path_from_environment, load_config_from_environment
from syncer.config.model import Config
from syncer.engine.reconciler import Mode
from syncer.engine.report import Entry, Report
from syncer.telemetry.logs import set_up_logging
from syncer.telemetry.progress import Progress

_Answer = TypeVar("_Answer")


def begin(common: Common, level: Level = "warning") -> Config:
    """Set up logging, from `level` on unless another is asked for, and load the configuration.

    Raises `ConfigError`.
    """
    set_up_logging(common.log_level or level)
    return load(common)


def load(common: Common) -> Config:
    """The configuration as it is now. Raises `ConfigError`."""
    return load_config_from_environment(common.config or config_path_from_environment())


def perform(config: Config, mode: Mode) -> Report:
    """Run one pass; sinks that could not be finished are named on standard error."""
    teller = Teller(Progress(sys.stderr, time.monotonic))
    try:
        report = wait_for(run_pass(config, mode, teller))
    finally:
        teller.done()
    sys.stderr.write(failures_text(report))
    return report


def wait_for(work: Coroutine[object, object, _Answer]) -> _Answer:
    """Run it to its end in a loop of its own."""
    return asyncio.run(work)


def write(text: str | bytes) -> None:
    """Put a result on standard output, as UTF-8 whatever the locale says."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text)
    sys.stdout.buffer.flush()


class Teller:
    """The `Observer` of a command: progress for people, log lines for whoever asks for them.

    What a command prints at its end is not logged as a warning once more.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("syncer")

    def progress(self, what: str, done: int, total: int) -> None:
        self._progress.show(what, done, total)

    def entry(self, entry: object) -> None:
        assert isinstance(entry, Entry)
        tell = self._log.debug if entry.action == "keep" else self._log.info
        tell(
            "change",
            action=entry.action,
            address=entry.subject.address,
            installation=str(entry.subject.key),
            run=entry.subject.run_id,
            state=entry.state.value,
            reason=entry.error or entry.reason,
        )

    def failed(self, sink: str, reason: str) -> None:
        self._log.info("sink not finished", sink=sink, reason=reason)

    def done(self) -> None:
        """Nothing more will come."""
        self._progress.clear()
