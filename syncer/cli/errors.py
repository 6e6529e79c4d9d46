"""What a command ends with when it cannot do what it was asked for; exit codes in one place."""

from __future__ import annotations

from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
"""Wrong arguments, or a configuration that cannot be used."""
CHANGES: Final = 3
HELD: Final = 4
"""Nothing failed, but something is held or in conflict."""
INTERRUPTED: Final = 130


class UsageError(Exception):
    """Arguments that do not go together; the message says what would."""


class CommandFailed(Exception):
    """Nothing is wrong with the arguments, and still there is no answer. The message says why."""
