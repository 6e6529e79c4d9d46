"""`syncer run`: the controller; and how `syncer api`, too, goes on until it is told to end."""

from __future__ import annotations

import os
import sys
import threading
from functools import partial

from syncer.api.options import CannotServe
from syncer.cli.errors import OK, CommandFailed
from syncer.cli.options import Common
from syncer.cli.session import begin, load, wait_for
from syncer.daemon import Daemon, Served
from syncer.engine.lock_file import LockFileUnusable
from syncer.telemetry.server import CannotListen


def run(*, common: Common = Common()) -> int:
    """Keep everything in sync until told to end."""
    from syncer.running import Running  # noqa: PLC0415  # `api` needs none of it

    return go_on(Running(), common)


def go_on(served: Served, common: Common) -> int:
    """Serve until a signal says that it is enough."""
    config = begin(common, "info")
    try:
        wait_for(Daemon(served, config, partial(load, common)).run())
    except (CannotListen, CannotServe, LockFileUnusable) as error:
        raise CommandFailed(str(error)) from None
    _leave_threads_behind()
    return OK


def _leave_threads_behind() -> None:
    """A thread that still waits for a server is not waited for: the interpreter would."""
    waiting = [one for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
    if waiting:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(OK)
