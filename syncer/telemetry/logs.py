"""Sets up logging: structlog over the standard library, to standard error.

JSON, one object a line, unless standard error is a terminal. No traceback and no exception's
own text is ever written, only its type: either could quote a value.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Final, Literal, TextIO

import structlog

LogLevel = Literal["debug", "info", "warning", "error"]

MUTED: Final = ("aiohttp", "asyncio", "kubernetes", "pymongo", "urllib3")
"""Loggers of libraries; below WARNING some of them write whole requests and answers."""

_Event = MutableMapping[str, object]


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, to be told from handlers that others have put there."""


def set_up_logging(level: LogLevel) -> None:
    """Log from `level` on. May be called again; the last call counts."""
    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = _Handler(sys.stderr)
    handler.setFormatter(_formatter(terminal=sys.stderr.isatty()))
    root = logging.getLogger()
    for old in [one for one in root.handlers if isinstance(one, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in MUTED:
        logging.getLogger(name).setLevel(logging.WARNING)


def _shared() -> list[structlog.typing.Processor]:
    return [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _only_the_type,
    ]


def _formatter(*, terminal: bool) -> logging.Formatter:
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_shared(), _only_the_first_line],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


def _only_the_type(_logger: object, _method: str, event: _Event) -> _Event:
    found = event.pop("exc_info", None)
    error = found[1] if isinstance(found, tuple) else sys.exc_info()[1] if found is True else found
    if isinstance(error, BaseException):
        event["exc_type"] = type(error).__name__
    return event


def _only_the_first_line(_logger: object, _method: str, event: _Event) -> _Event:
    """For asyncio: it describes a failed task, exception and all, in the lines after the first."""
    event["event"] = str(event["event"]).partition("\n")[0]
    return event
