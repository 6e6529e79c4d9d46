"""The service's limits on how much is asked of one vault, with the clock given. Pure.

key-vault/general/service-limits: per vault 300 CREATE of a secret and 4,000 of all other transactions in 10
seconds. key-vault/general/overview-throttling: past that 429, and what was answered so does not count. The body
is that of a report (github.com/vcsjones/AzureSignTool/issues/219).

Assumed: the 10 seconds slide; every set is a CREATE; requests answered 401 do not count. Nothing is said of
Retry-After (the report's answer has none, the page speaks of exponential back-off), so it can be left out.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tests.servers.keyvault.model import Operation, VaultError

WINDOW = 10.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Transactions in ten seconds."""

    creates: int = 300
    others: int = 4000
    retry_after: bool = True


def refused(retry_after: float | None) -> VaultError:
    """What a request past a limit is answered."""
    seconds = {} if retry_after is None else {"Retry-After": str(max(1, math.ceil(retry_after)))}
    return VaultError(
        429,
        "Throttled",
        "Request was not processed because too many requests were received. "
        "Reason: VaultRequestTypeLimitReached",
        headers=seconds,
    )


class Throttle:
    """Counts what was let through; `limits` may be changed at any time, None lets everything through."""

    def __init__(self, clock: Callable[[], float], limits: Limits | None) -> None:
        self.limits = limits
        self._clock = clock
        self._creates: deque[float] = deque()
        self._others: deque[float] = deque()

    def admit(self, operation: Operation) -> None:
        """Counts the request, or refuses it."""
        if self.limits is None:
            return
        create = operation is Operation.SET
        passed = self._creates if create else self._others
        now = self._clock()
        while passed and passed[0] <= now - WINDOW:
            passed.popleft()
        if len(passed) >= (self.limits.creates if create else self.limits.others):
            wait = passed[0] + WINDOW - now if passed else WINDOW
            raise refused(wait if self.limits.retry_after else None)
        passed.append(now)
