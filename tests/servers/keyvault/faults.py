"""Faults a test asks for: what happens to which requests, and how often. Thread-safe, without I/O.

`service` and `entra` ask here before they answer. Delays pass in the server's own loop and in real time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.servers.keyvault.throttle import refused
from tests.servers.keyvault.wire import error


@dataclass(frozen=True, slots=True)
class Answer:
    """This instead of what the server would answer; the request is not applied."""

    status: int
    body: str | Mapping[str, object] = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection breaks: before the request is applied, or after it (its answer is lost).

    aiohttp, below the SDK, sends any request but POST and PATCH once more by itself when a connection it had
    kept open breaks, so `times=1` may go unseen, and a set whose answer is lost may make two versions.
    """

    applied: bool = False


@dataclass(frozen=True, slots=True)
class Delay:
    """The request waits, then takes its course."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Call:
    """Runs something in the server's thread before the request is applied, or between that and its answer."""

    function: Callable[[], object]
    applied: bool = True


@dataclass(frozen=True, slots=True)
class Hold:
    """A black hole: nothing happens until `release`, then the request takes its course."""

    applied: bool = False
    reached: threading.Event = field(default_factory=threading.Event)
    """Set once a request is held; wait for it off the loop of the test."""
    released: Future[None] = field(default_factory=Future, repr=False)

    def release(self) -> None:
        """Lets go of what is held, and of all that follows."""
        if not self.released.done():
            self.released.set_result(None)


Action: TypeAlias = Answer | Drop | Delay | Call | Hold


def throttled(retry_after: float | None = 1) -> Answer:
    """429 as the service writes it, with or without Retry-After."""
    refusal = refused(retry_after)
    return Answer(429, error(refusal), refusal.headers)


def failed(status: int = 500) -> Answer:
    """A failure of the service; its code is assumed, its form that of all errors."""
    message = "The service could not deal with this request."
    return Answer(status, {"error": {"code": "InternalServerError", "message": message}})


def web_page(status: int = 200) -> Answer:
    """What a proxy or a portal in between would say."""
    return Answer(status, "<!DOCTYPE html><html><body>Please log in</body></html>", content_type="text/html")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as faults see it."""

    operation: str
    name: str | None
    client_id: str | None
    """None: no token, or not a good one (always so at the token endpoint)."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """One fault that was asked for."""

    action: Action
    operation: str | None = None
    name: str | None = None
    when: Callable[[Arrival], bool] | None = field(default=None, repr=False)
    times: int | None = None
    """How often still; None is always."""
    unauthenticated: bool = False
    """Whether it also strikes requests that would be answered 401, as an SDK's first is."""
    hits: int = 0

    def strikes(self, arrival: Arrival) -> bool:
        """Whether this is one of its requests."""
        return (
            self.times != 0
            and (self.unauthenticated or arrival.client_id is not None)
            and self.operation in (None, arrival.operation)
            and (self.name is None or self.name.lower() == (arrival.name or "").lower())
            and (self.when is None or self.when(arrival))
        )


class Faults:
    """The faults of one vault or token endpoint; the one asked for first strikes first."""

    def __init__(self, *, unauthenticated: bool = False) -> None:
        """`unauthenticated` is for a server whose requests never carry a token."""
        self._unauthenticated = unauthenticated
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(
        self,
        action: Action,
        *,
        operation: str | None = None,
        name: str | None = None,
        when: Callable[[Arrival], bool] | None = None,
        times: int | None = None,
        unauthenticated: bool = False,
    ) -> Fault:
        """Strikes requests of this operation, for this name, for which `when` holds: `times`, or always."""
        fault = Fault(
            action=action,
            operation=operation,
            name=name,
            when=when,
            times=times,
            unauthenticated=unauthenticated or self._unauthenticated,
        )
        with self._lock:
            self._faults.append(fault)
        return fault

    def take(self, arrival: Arrival) -> Action | None:
        """What happens to this request; None when nothing does."""
        with self._lock:
            for fault in self._faults:
                if fault.strikes(arrival):
                    fault.hits += 1
                    fault.times = None if fault.times is None else fault.times - 1
                    return fault.action
        return None

    def remove(self, fault: Fault) -> None:
        """Takes one back; what it holds is released."""
        with self._lock:
            if fault in self._faults:
                self._faults.remove(fault)
        _let_go(fault)

    def clear(self) -> None:
        """Takes all back."""
        with self._lock:
            faults, self._faults = self._faults, []
        for fault in faults:
            _let_go(fault)


def _let_go(fault: Fault) -> None:
    if isinstance(fault.action, Hold):
        fault.action.release()
