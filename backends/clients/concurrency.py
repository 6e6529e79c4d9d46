"""Several requests at a time, and no more than that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

IN_FLIGHT: Final = 16

_Item = TypeVar("_Item")


async def for_each(
    items: Iterable[_Item], act: Callable[[_Item], Awaitable[None]], *, in_flight: int = IN_FLIGHT
) -> None:
    """Act on all, a few at a time; the first failure ends it and is raised as it is."""
    rest = iter(list(items))

    async def worker() -> None:
        for item in rest:
            await act(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(worker())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
