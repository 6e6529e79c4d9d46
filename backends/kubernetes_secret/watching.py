"""Changes of our Secrets as they happen: a watch of each namespace, or one of the whole cluster.

Only hints, by address and version. Whoever is slow to read them finds the last of each address, and
where they became too many, that everything has to be compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from typing import Final, assert_never

from backends.clients.kubernetes_watch import Began, Happened, KubernetesWatch
from backends.contract import Seen
from backends.kubernetes_secret.objects import address_of, version_of

_MOST_UNTOLD: Final = 10_000
_EVERYTHING: Final = Seen(address=None)


async def watching(watches: Collection[KubernetesWatch]) -> AsyncGenerator[Seen, None]:
    """What these watches see, as one. Closing it ends them.

    NB: no TaskGroup: it would cancel whoever reads when a watch fails, and turn closing into an error.
    """
    news = Untold()
    tasks = [asyncio.create_task(_follow(watch, news)) for watch in watches]
    for task in tasks:
        task.add_done_callback(lambda _: news.wake())
    try:
        while True:
            while (seen := news.take()) is not None:
                yield seen
            for task in tasks:
                if task.done():
                    task.result()
            await news.come()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Untold:
    """What was seen and nobody has read yet: of each address the last, in the order they came."""

    def __init__(self) -> None:
        self._untold: dict[str | None, Seen] = {}
        self._some = asyncio.Event()

    def add(self, seen: Seen) -> None:
        self._some.set()
        is_one_too_many = len(self._untold) >= _MOST_UNTOLD and seen.address not in self._untold
        if seen.address is None or is_one_too_many:
            self._untold.clear()
            seen = _EVERYTHING
        self._untold[seen.address] = seen

    def take(self) -> Seen | None:
        """The next one, None where all were told."""
        for address in self._untold:
            return self._untold.pop(address)
        self._some.clear()
        return None

    def wake(self) -> None:
        self._some.set()

    async def come(self) -> None:
        """Returns once there is something, or `wake` was called."""
        await self._some.wait()


async def _follow(watch: KubernetesWatch, news: Untold) -> None:
    async with aclosing(watch.events()) as events:
        async for event in events:
            match event:
                case Began():
                    news.add(_EVERYTHING)
                case Happened():
                    secret = {"metadata": event.metadata}
                    news.add(
                        Seen(address=address_of(secret), version=None if event.gone else version_of(secret))
                    )
                case _:
                    assert_never(event)
