"""Lists of names: from an answer, and page by page where the server knows pages (OpenBao)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from backends.clients.vault_errors import Answer
from backends.errors import SinkUnavailable

_Extra = TypeVar("_Extra")


def keys_of(answer: Answer) -> list[str]:
    """The names; none where nothing is there. Raises `SinkUnavailable` for what is no list."""
    if answer.absent:
        return []
    keys = answer.data.get("keys")
    if not isinstance(keys, list):
        raise SinkUnavailable("the answer is not a list")
    return [str(key) for key in keys]


async def paged(
    fetch: Callable[[str], Awaitable[tuple[list[str], _Extra]]], size: int
) -> AsyncIterator[tuple[list[str], _Extra]]:
    """Pages of names, each with what came along; `fetch` is given the name to begin behind."""
    after = ""
    while True:
        names, extra = await fetch(after)
        # NB: a server that knows no pages sends everything each time
        fresh = [name for name in names if name > after]
        yield fresh, extra
        if len(names) != size or not fresh:
            return
        after = fresh[-1]
