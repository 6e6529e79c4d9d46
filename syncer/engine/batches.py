"""Work in batches: cut a long list into them, and have two in work at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeVar

BATCH: Final = 500
"""How many installations, or secrets, are worked on at a time."""

_WORKERS: Final = 2
"""Batches in work: while one waits for a server, the other is decoded or decided."""

_Item = TypeVar("_Item")


def chunks(items: Sequence[_Item], size: int = BATCH) -> Iterator[tuple[_Item, ...]]:
    """The items, `size` at a time."""
    iterator = iter(items)
    while chunk := tuple(islice(iterator, size)):
        yield chunk


async def overlapped(
    batches: Iterator[tuple[_Item, ...]], work: Callable[[tuple[_Item, ...]], Awaitable[None]]
) -> None:
    """Work on all batches, and raise the first failure as it is.

    A failure cancels nothing: the writes of the other batch may be on their way. No further
    batch is begun by whoever failed.
    """

    async def worker() -> None:
        for batch in batches:
            await work(batch)

    for outcome in await asyncio.gather(*(worker() for _ in range(_WORKERS)), return_exceptions=True):
        if outcome is not None:
            raise outcome
