"""From a thread of the gRPC server into the event loop: coroutines that end with their request.

NB: why the server is gRPC's threaded one. grpc.aio (seen at 1.85) decodes a request's path in its main loop,
so that one request with a path that is no UTF-8, from anybody who can connect, ends the whole server. It
also has no way to end a request whose answer the client does not fetch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

_T = TypeVar("_T")

_LAST_WORDS: Final = 1.0
"""Seconds in which a request that is over its time may still say so, before it is cut off."""
_LOOP_IS_STUCK: Final = 5.0


class DeadlinePassed(Exception):
    """The request took too long."""


class Gone(Exception):
    """Nobody waits for the answer any more."""


class Peer(Protocol):
    """What is used of gRPC's context."""

    def add_callback(self, callback: Any) -> bool: ...

    def cancel(self) -> Any: ...

    def time_remaining(self) -> float: ...


class Errand:
    """One request's way into the loop: a context manager of the thread that answers it.

    The deadline is the client's, where it has one that is earlier than `seconds` from now.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, peer: Peer, *, seconds: float) -> None:
        self._loop = loop
        self._peer = peer
        self._deadline = loop.time() + min(seconds, peer.time_remaining())
        self._cutting: asyncio.TimerHandle | None = None
        self.is_cut = False
        """The request was ended from here. NB: gRPC's context may not know it yet."""

    def __enter__(self) -> Self:
        self._loop.call_soon_threadsafe(self._arm)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(RuntimeError):  # the loop has ended before us
            self._loop.call_soon_threadsafe(self._disarm)

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of `work`, done in the loop. Raises `DeadlinePassed`, `Gone`, and what `work` raises."""
        future = asyncio.run_coroutine_threadsafe(self._bounded(work), self._loop)
        if not self._peer.add_callback(future.cancel):
            future.cancel()
        try:
            return future.result(self._deadline - self._loop.time() + _LOOP_IS_STUCK)
        except CancelledError:
            raise Gone from None

    async def _bounded(self, work: Coroutine[Any, Any, _T]) -> _T:
        scope = asyncio.timeout_at(self._deadline)
        try:
            async with scope:
                return await work
        except TimeoutError:
            if not scope.expired():
                raise
        finally:
            # NB: it knows the task, the task what was raised, that where: a circle that keeps the request.
            del scope
        raise DeadlinePassed

    def _arm(self) -> None:
        # A thread that waits for the client, to send or to take, waits as long as the client likes.
        self._cutting = self._loop.call_at(self._deadline + _LAST_WORDS, self._cut)

    def _cut(self) -> None:
        self.is_cut = True
        self._peer.cancel()

    def _disarm(self) -> None:
        assert self._cutting is not None  # what comes first is done first
        self._cutting.cancel()
