"""Keeps a secret store that hangs, or that refuses the login, from holding up who needs no secret.

For the controller. Whoever asks a store that cannot be logged in to is told so, and the next one tries again.
A store that hangs is waited for by one caller at a time, or the few workers all would; what was put off is
asked for again later. A single pass has nobody else to serve, and waits as long as the store's timeouts say.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

from backends.contract import Finding
from backends.secret_value import SecretValue
from syncer.core.errors import SourceUnavailable
from syncer.core.ports import ValueResolver

FIRST: Final = 5.0
LONGEST: Final = 60.0
"""Seconds until a store counts as hanging; doubled from the first to the longest: a slow one gets done."""


class PatientSecrets:
    """`core.ports.ValueResolver` over another one, which is opened when it is first asked.

    `clock` gives monotonic seconds.
    """

    def __init__(self, secrets: ValueResolver, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._secrets = secrets
        self._clock = clock
        self._exits = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._is_open = False
        self._patience = FIRST
        self._hangs = False
        self._waiting = 0

    async def check(self) -> tuple[Finding, ...]:
        await self._open()
        return await self._secrets.check()

    async def resolve(self, keys: Collection[str]) -> Mapping[str, SecretValue | str]:
        if self._hangs and self._waiting:
            raise SourceUnavailable("it does not answer, and somebody waits for it already")
        patience, begun = self._patience, self._clock()
        self._waiting += 1
        try:
            async with asyncio.timeout(patience):
                await self._open()
                answers = await self._secrets.resolve(keys)
        except TimeoutError:
            self._hangs = True
            self._patience = max(self._patience, min(2 * patience, LONGEST))
            raise SourceUnavailable(f"it did not answer within {patience:.0f} s") from None
        finally:
            self._waiting -= 1
        self._hangs = False
        self._patience = min(max(FIRST, 2 * (self._clock() - begun)), LONGEST)
        return answers

    async def _open(self) -> None:
        async with self._opening:
            if not self._is_open:
                await self._exits.enter_async_context(self._secrets)
                self._is_open = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._exits.aclose()
