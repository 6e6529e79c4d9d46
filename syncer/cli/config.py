"""`syncer config check`, `schema` and `init`."""

from __future__ import annotations

import json

from syncer.cli.options import Common
from syncer.cli.session import begin, write
from syncer.config.json_schema import config_schema, starter_config


def check(*, common: Common = Common()) -> None:
    """Check a configuration file: every mistake with its file, line and setting. Exit code 2 if any."""
    config = begin(common)
    rules, sinks = len(config.policy.rules), len(config.sinks)
    write(f"{config.path}: fine ({rules} rules, {sinks} sinks)\n")


def schema(*, common: Common = Common()) -> None:  # noqa: ARG001  # every command takes them
    """Print the JSON Schema of the configuration file, for editors."""
    write(json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n")


def init(*, common: Common = Common()) -> None:  # noqa: ARG001  # every command takes them
    """Print a commented configuration file to begin with."""
    write(starter_config())
