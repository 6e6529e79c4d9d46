"""`syncer version`."""

from __future__ import annotations

from syncer import __version__
from syncer.cli.options import Common


def version(*, common: Common = Common()) -> None:  # noqa: ARG001  # every command takes them
    """Print the version."""
    print(__version__)  # noqa: T201  # standard output is the result
