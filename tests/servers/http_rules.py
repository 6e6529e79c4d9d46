"""What a proxy of tests does to the requests it matches: answer, drop, hold back, rewrite, call back.

An action gets the request and a way to go on: through the rules after it, and then to the server. So
actions combine, and a rule is used up only by requests that reach it.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.servers.http_wire import Asked, Reply

Match = Callable[[str, str, int], bool]
"""Of a request's method, path (as sent, without the query) and number."""

GoOn = Callable[[Asked], Awaitable[Reply]]
Action = Callable[[Asked, GoOn], Awaitable[Reply]]


class DroppedError(Exception):
    """The connection is to be closed without an answer."""


@dataclass(slots=True)
class Rule:
    """One rule among those of a proxy, with what became of it. For any thread."""

    match: Match
    action: Action
    times: int | None
    _taken: int = field(default=0, init=False)
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False, repr=False)

    @property
    def taken(self) -> int:
        """How many requests it has been applied to."""
        return self._taken

    def takes(self, asked: Asked) -> bool:
        """Whether it applies, counting down."""
        with self._changed:
            used_up = self.times is not None and self._taken >= self.times
            if used_up or not self.match(asked.method, asked.path, asked.number):
                return False
            self._taken += 1
            self._changed.notify_all()
            return True

    def wait(self, times: int = 1, seconds: float = 20) -> None:
        """Blocks until it has been applied so often; for a test with a loop, in `asyncio.to_thread`."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._taken >= times, seconds):
                raise TimeoutError(
                    f"the rule was applied {self._taken} times within {seconds:g} s, not {times}"
                )


class Rules:
    """The rules of one proxy, in order; the first added comes first. For any thread."""

    def __init__(self) -> None:
        self._rules: tuple[Rule, ...] = ()
        self._lock = threading.Lock()

    def add(self, match: Match, action: Action, times: int | None = None) -> Rule:
        """Applies to the next `times` requests that match, or to all."""
        rule = Rule(match, action, times)
        with self._lock:
            self._rules = (*self._rules, rule)
        return rule

    def remove(self, rule: Rule) -> None:
        """Requests it already holds stay with it."""
        with self._lock:
            self._rules = tuple(each for each in self._rules if each is not rule)

    def clear(self) -> None:
        """Removes all."""
        with self._lock:
            self._rules = ()

    @contextmanager
    def applied(self, match: Match, action: Action, times: int | None = None) -> Iterator[Rule]:
        """Like `add`, inside a block."""
        rule = self.add(match, action, times)
        try:
            yield rule
        finally:
            self.remove(rule)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules)


def on(*methods: str, path: str = "") -> Match:
    """Requests of these methods, or of any, where the regular expression is found in the path."""
    pattern = re.compile(path)
    return lambda method, where, _: (not methods or method in methods) and bool(pattern.search(where))


def everything(_method: str, _path: str, _number: int) -> bool:
    """Matches every request."""
    return True


def answer(status: int, body: object = None, headers: Mapping[str, str] | None = None) -> Action:
    """Answers in the server's place, which never hears of it; a body is JSON unless it is bytes."""
    reply = Reply.of(status, body, headers)

    async def act(_asked: Asked, _go_on: GoOn) -> Reply:
        return reply

    return act


def drop() -> Action:
    """Closes the connection; the server never hears of the request."""

    async def act(_asked: Asked, _go_on: GoOn) -> Reply:
        raise DroppedError

    return act


def drop_reply() -> Action:
    """Closes the connection when the server has done what was asked."""

    async def act(asked: Asked, go_on: GoOn) -> Reply:
        await go_on(asked)
        raise DroppedError

    return act


def delay(seconds: float) -> Action:
    """Holds the request back before the server hears of it."""

    async def act(asked: Asked, go_on: GoOn) -> Reply:
        await asyncio.sleep(seconds)
        return await go_on(asked)

    return act


def after(callback: Callable[[Asked, Reply], object]) -> Action:
    """Calls back when the server has done what was asked, and answers when that returns.

    The callback has a thread to itself: it may block.
    """

    async def act(asked: Asked, go_on: GoOn) -> Reply:
        reply = await go_on(asked)
        await asyncio.to_thread(callback, asked, reply)
        return reply

    return act


def before(callback: Callable[[Asked], object]) -> Action:
    """Calls back before the server hears of it, in a thread."""

    async def act(asked: Asked, go_on: GoOn) -> Reply:
        await asyncio.to_thread(callback, asked)
        return await go_on(asked)

    return act


def rewrite_reply(change: Callable[[Reply], Reply]) -> Action:
    """Answers something else than the server did."""

    async def act(asked: Asked, go_on: GoOn) -> Reply:
        return change(await go_on(asked))

    return act


def rewrite_request(change: Callable[[Asked], Asked]) -> Action:
    """Asks the server something else than the client did."""

    async def act(asked: Asked, go_on: GoOn) -> Reply:
        return await go_on(change(asked))

    return act


class BlackHole:
    """An action: holds requests back until `release`, before the server hears of them or after."""

    def __init__(self, *, after_applied: bool = False) -> None:
        self._after_applied = after_applied
        self._open = threading.Event()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._lock = threading.Lock()

    async def __call__(self, asked: Asked, go_on: GoOn) -> Reply:
        if self._after_applied:
            reply = await go_on(asked)
            await self._released()
            return reply
        await self._released()
        return await go_on(asked)

    def release(self) -> None:
        """Lets go of all, and holds back nothing more. For any thread."""
        with self._lock:
            self._open.set()
            waiting, self._waiting = self._waiting, []
        for loop, event in waiting:
            loop.call_soon_threadsafe(event.set)

    async def _released(self) -> None:
        event = asyncio.Event()
        with self._lock:
            if self._open.is_set():
                return
            self._waiting.append((asyncio.get_running_loop(), event))
        await event.wait()
