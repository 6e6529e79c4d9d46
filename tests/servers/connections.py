"""What a test's event loop still has to do when the test is over: closing TLS connections.

Closing one takes a message to the server and back. Python warns of a socket that is open when its loop
ends, and warnings are errors here.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

_PATIENCE = 5.0
_POLL = 0.001


async def all_closed() -> None:
    """Returns once this loop has no open connection left. Raises AssertionError where one stays open."""
    deadline = time.monotonic() + _PATIENCE
    while still := _open():
        assert time.monotonic() < deadline, f"nobody closes {still}"
        await asyncio.sleep(_POLL)


def _open() -> list[Any]:
    # NB: nothing public tells of the connections of a loop.
    transports = list(getattr(asyncio.get_running_loop(), "_transports", {}).values())
    return [each for each in transports if getattr(each, "_sock", None) is not None]
