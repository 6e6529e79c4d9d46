"""`syncer run`: the controller."""

from __future__ import annotations

import os
import sys
import threading
from functools import partial

from syncer.cli.errors import OK, CommandFailed
from syncer.cli.options import Common
from syncer.cli.session import begin, load, wait_for
from syncer.daemon import Daemon
from syncer.engine.lock_file import LockFileUnusable
from syncer.telemetry.server import CannotListen


def run(*, common: Common = Common()) -> int:
    """Keep everything in sync until told to end."""
    config = begin(common, "info")
    try:
        wait_for(Daemon(config, partial(load, common)).run())
    except (CannotListen, LockFileUnusable) as error:
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
