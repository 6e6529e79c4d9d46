"""What a test's event loop still has to do when the test is over: closing TLS connections.

Closing one takes a message to the server and back. Python warns of a socket that is open when its loop
ends, and warnings are errors here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

_PATIENCE = 5.0
_POLL = 0.001


async def all_closed() -> None:
    """Returns once this loop has no open connection left, or after a few seconds."""
    deadline = time.monotonic() + _PATIENCE
    while any(_is_open(each) for each in _transports()) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(_POLL)


def _transports() -> Iterable[Any]:
    # NB: nothing public tells of the connections of a loop.
    return list(getattr(asyncio.get_running_loop(), "_transports", {}).values())


def _is_open(transport: Any) -> bool:
    return getattr(transport, "_sock", None) is not None
