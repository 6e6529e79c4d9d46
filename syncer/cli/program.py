"""The program: which commands there are, and what becomes of the errors they end with.

Every command is named here by its import path, so that none costs start-up time before it is run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final, Literal

from cyclopts import App, CycloptsError

from backends.errors import SinkError
from syncer import __version__
from syncer.cli import help_texts
from syncer.cli.errors import FAILED, INTERRUPTED, OK, USAGE, CommandFailed, UsageError
from syncer.config.errors import ConfigError
from syncer.core.errors import NothingToRead, SourceError

_COMMANDS: Final = (
    ("once", help_texts.ONCE),
    ("run", help_texts.RUN),
    ("api", help_texts.API),
    ("plan", help_texts.PLAN),
    ("status", help_texts.STATUS),
    ("gc", help_texts.GC),
    ("adopt", help_texts.ADOPT),
    ("doctor", help_texts.DOCTOR),
    ("version", help_texts.VERSION),
)


def _program() -> App:
    look: Literal["default", "plain"] = "default" if sys.stdout.isatty() else "plain"
    app = App(
        name="syncer",
        help=help_texts.PROGRAM,
        help_format="markdown",
        help_formatter=look,
        version=__version__,
        print_error=False,
        exit_on_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    for name, text in _COMMANDS:
        app.command(f"syncer.cli.{name}:{name}", name=name, help=text)
    app.command(_config())
    app.command(_installations())
    return app


def _config() -> App:
    app = App(name="config", help=help_texts.CONFIG)
    app.command("syncer.cli.config:check", name="check", help=help_texts.CONFIG_CHECK)
    app.command("syncer.cli.config:schema", name="schema", help=help_texts.CONFIG_SCHEMA)
    app.command("syncer.cli.config:init", name="init", help=help_texts.CONFIG_INIT)
    return app


def _installations() -> App:
    runs = App(name=("runs", "run"), help=help_texts.RUNS)
    runs.command("syncer.cli.runs:runs_list", name="list", help=help_texts.RUNS_LIST)
    outputs = App(name=("outputs", "output"), help=help_texts.OUTPUTS)
    outputs.command("syncer.cli.outputs:outputs_list", name="list", help=help_texts.OUTPUTS_LIST)
    outputs.command("syncer.cli.outputs:outputs_show", name="show", help=help_texts.OUTPUTS_SHOW)
    app = App(name=("installations", "installation", "inst"), help=help_texts.INSTALLATIONS)
    app.command(
        "syncer.cli.installations:installations_list", name="list", help=help_texts.INSTALLATIONS_LIST
    )
    app.command(runs)
    app.command(outputs)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command (`sys.argv` without arguments) and return its exit code."""
    try:
        code = _program()(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever reads has enough; NB: else the interpreter complains once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:  # noqa: BLE001  # a traceback helps no user, and could quote a value
        text, code = _explained(error)
        sys.stderr.write(text)
    return code if isinstance(code, int) else OK


def _explained(error: Exception) -> tuple[str, int]:
    match error:
        case CycloptsError():
            return f"{error} See: syncer --help\n", USAGE
        case ConfigError() | UsageError():
            return f"{error}\n", USAGE
        case SourceError(reason=reason):
            return f"source: {reason}\n", FAILED
        case SinkError(reason=reason):
            return f"sink: {reason}\n", FAILED
        case CommandFailed() | NothingToRead():
            return f"{error}\n", FAILED
    return f"unexpected {type(error).__name__}; its details may hold secrets and are not shown\n", FAILED
