"""The command line: one module for each command, found by `program` and imported when it is run.

Commands turn arguments into calls of `app` and values into text (`rendering`, `formats`);
they decide nothing.
"""

from __future__ import annotations

from syncer.cli.program import main

__all__ = ["main"]
