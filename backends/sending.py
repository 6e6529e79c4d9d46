"""Whether a write may still leave this process: asked directly before its bytes go out.

A process that was stopped for a while wakes up in the middle of whatever it was doing. Whoever must not
write then (a leader whose lease may have run out) opens `only_while`; the clients of servers call
`may_send` after their last wait. What happens to a request that is on its way already is the
precondition's business that it carries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from backends.errors import SinkUnavailable

_CHECK: Final[ContextVar[Callable[[], bool] | None]] = ContextVar("only_while", default=None)


@contextmanager
def only_while(allowed: Callable[[], bool]) -> Iterator[None]:
    """Inside the block, and in tasks and threads begun there, writes leave only while `allowed()`."""
    token = _CHECK.set(allowed)
    try:
        yield
    finally:
        _CHECK.reset(token)


def may_send() -> None:
    """Raises `SinkUnavailable` where nothing may be written any more; without `only_while` anything may.

    NB: in a thread of an executor the caller's context has to be entered first (`copy_context`).
    """
    allowed = _CHECK.get()
    if allowed is not None and not allowed():
        raise SinkUnavailable("not sent: this process may no longer be the leader")
