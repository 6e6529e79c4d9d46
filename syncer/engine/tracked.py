"""A sink as the controller uses it: writes leave only when they may, and what is seen is remembered.

Wraps any sink and is one itself, so that the path through the engine is the same as without.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from types import TracebackType
from typing import Self

from backends.contract import (
    Capabilities,
    DesiredSecret,
    Expectation,
    Finding,
    ObservedSecret,
    Owner,
    Sink,
    Version,
)
from backends.sending import may_send, only_while
from syncer.engine.holdings import Holdings


class TrackedSink:
    """`allowed` is asked before each write leaves, `turn` is awaited before it begins."""

    def __init__(
        self,
        sink: Sink,
        holdings: Holdings,
        *,
        allowed: Callable[[], bool],
        turn: Callable[[], Awaitable[None]],
    ) -> None:
        self._sink = sink
        self._holdings = holdings
        self._allowed = allowed
        self._turn = turn

    @property
    def capabilities(self) -> Capabilities:
        return self._sink.capabilities

    async def check(self) -> tuple[Finding, ...]:
        return await self._sink.check()

    async def observe(self, owner: Owner, addresses: Collection[str]) -> Mapping[str, ObservedSecret]:
        found = await self._sink.observe(owner, addresses)
        for address in addresses:
            if address not in found:
                self._holdings.lost(address)
        for observed in found.values():
            self._holdings.saw(observed)
        return found

    async def inventory(self, owner: Owner) -> AsyncIterator[ObservedSecret]:
        seen: set[str] = set()
        since = self._holdings.order
        async for observed in self._sink.inventory(owner):
            seen.add(observed.address)
            self._holdings.listed(observed, since=since)
            yield observed
        self._holdings.only(seen, since=since)

    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        await self._turn()
        with only_while(self._allowed):
            may_send()
            version = await self._sink.put(desired, expect)
        self._holdings.wrote(desired.mark, version)
        return version

    async def remove(self, observed: ObservedSecret) -> None:
        await self._turn()
        with only_while(self._allowed):
            may_send()
            await self._sink.remove(observed)
        self._holdings.lost(observed.address)

    async def __aenter__(self) -> Self:
        await self._sink.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._sink.__aexit__(kind, error, trace)
