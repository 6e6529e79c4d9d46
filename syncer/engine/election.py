"""Who of several processes may write: what the controller asks before it works, and before each write.

Signatures, and the process that has nobody to share with. `lease` elects by a record at a server,
`lock_file` by a file of one machine.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Protocol, Self


class Election(Protocol):
    """Who of several processes may write. Leaving its block gives leadership up."""

    @property
    def holder(self) -> str:
        """Who leads, as far as known; "" if nobody."""
        ...

    async def acquire(self) -> None:
        """Returns once we lead, and tries until then. Raises nothing but `CancelledError`."""
        ...

    async def lost(self) -> None:
        """Returns when leadership is lost for good; at once where we do not lead."""
        ...

    def holds(self) -> bool:
        """Whether a write may still leave now. Cheap: asked before each one."""
        ...

    async def release(self) -> None:
        """Gives leadership up, so that another takes over at once; within a few seconds, and never raises."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Alone:
    """No election: whoever starts a second process sees to it that they do not meet."""

    @property
    def holder(self) -> str:
        return "this process"

    async def acquire(self) -> None:
        return None

    async def lost(self) -> None:
        await asyncio.Event().wait()

    def holds(self) -> bool:
        return True

    async def release(self) -> None:
        return None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None
