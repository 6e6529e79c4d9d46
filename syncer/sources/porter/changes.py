"""What is new in Porter's database: results that no poll has seen, and a wake-up when something is written.

Both are hints: whoever gets one reads the world anew, and a full pass finds what neither told. Holds no
state of an installation, and reads no value.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from syncer.core.errors import SourceError
from syncer.core.model import InstallationKey
from syncer.core.ulid import is_ulid, ulid_seconds
from syncer.sources.porter import store as ask
from syncer.sources.porter.documents import parse_key
from syncer.sources.porter.store import Store

OVERLAP: Final = 15 * 60.0
"""Seconds by which clocks of machines that run Porter may differ; a full pass finds what differs more."""
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
"""Seconds between attempts to be told of changes again; doubled from the first to the longest."""

_WATCHED: Final = (ask.INSTALLATIONS, ask.RESULTS, ask.OUTPUTS)
_DIGITS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TIME_DIGITS: Final = 10


class PorterChanges:
    """`core.ports.Changes` over a store of Porter's documents.

    `clock` gives seconds since 1970, `monotonic` seconds that never jump. Poll once before everything
    is read for the first time: what is written in between is then told by the second poll.
    """

    def __init__(
        self,
        store: Store,
        *,
        overlap: float = OVERLAP,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._overlap = overlap
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._told: frozenset[str] = frozenset()
        self._after = ""
        self._ahead: float | None = None
        self.restarts = 0
        """How often a stream of changes was lost and begun again."""

    async def poll(self) -> frozenset[InstallationKey]:
        """As the port says. A result whose id or names are none is left to the full pass."""
        now, moment = self._clock(), self._monotonic()
        first = not self._after
        if first:
            # also when a query fails: the next poll then answers all there is since
            self._after = _first_id(now - self._overlap)
            # Porter may be idle for long, its clocks may be slow, a dump is of another day.
            self._advance(await self._newest(), now, moment)
        found = {
            result_id: key
            for document in await self._store.find(ask.results_after(self._after))
            if is_ulid(result_id := document.get("_id")) and (key := parse_key(document, "installation"))
        }
        told = found.keys() if first else self._told
        self._advance(max(found, default=None), now, moment)
        self._told = frozenset(result_id for result_id in found if result_id > self._after)
        return frozenset(key for result_id, key in found.items() if result_id not in told)

    async def _newest(self) -> str | None:
        """The id of the newest result there is, if it is one."""
        found = await self._store.find(ask.newest_result())
        return next((result_id for one in found if is_ulid(result_id := one.get("_id"))), None)

    def _advance(self, newest: str | None, now: float, moment: float) -> None:
        """Move the window on.

        It ends at what the fastest of Porter's clocks must say by now: what its newest result said, and the
        time since then. Our own clock, which may differ from theirs, only bounds it.
        NB: `now` and `moment` are from before the query, so that no write falls between two windows.
        """
        if newest is not None:
            ahead = ulid_seconds(newest) - moment
            self._ahead = ahead if self._ahead is None else max(self._ahead, ahead)
        end = now if self._ahead is None else min(now, moment + self._ahead)
        self._after = _first_id(end - self._overlap)

    async def wakes(self) -> AsyncIterator[frozenset[InstallationKey]]:
        """As the port says; an empty set also as soon as it listens, and after each gap."""
        news = _News()
        following = asyncio.create_task(self._follow_all(news))
        try:
            while (keys := await news.next()) is not None:
                yield keys
            await following
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _follow_all(self, news: _News) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for collection in _WATCHED:
                    group.create_task(self._follow(collection, news))
        finally:
            news.end()

    async def _follow(self, collection: str, news: _News) -> None:
        """Returns where the store cannot tell.

        Begins anew from now on after each failure: what was written in the gap is what polls are for.
        """
        name = ask.name_field(collection)
        pause = FIRST_PAUSE
        while True:
            began = self._monotonic()
            try:
                async for document in self._store.watch(collection, ("namespace", name)):
                    news.add(parse_key(document, name))
            except SourceError:
                self.restarts += 1
            else:
                return
            if self._monotonic() - began > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            await self._sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


class _News:
    """What is not told yet, however slowly it is taken: each installation once."""

    def __init__(self) -> None:
        self._keys: set[InstallationKey] = set()
        self._anything = False
        self._ended = False
        self._event = asyncio.Event()

    def add(self, key: InstallationKey | None) -> None:
        """None: something, and nobody knows of which installation."""
        if key is None:
            self._anything = True
        else:
            self._keys.add(key)
        self._event.set()

    def end(self) -> None:
        self._ended = True
        self._event.set()

    async def next(self) -> frozenset[InstallationKey] | None:
        """Keys, the empty set for anything, or None when nothing will come any more."""
        while not (self._keys or self._anything or self._ended):
            self._event.clear()
            await self._event.wait()
        if self._keys:
            keys, self._keys = frozenset(self._keys), set()
            return keys
        if self._anything:
            self._anything = False
            return frozenset()
        return None


def _first_id(seconds: float) -> str:
    """What every ULID made at that time or later is greater than, as text."""
    milliseconds = max(0, int(seconds * 1000))
    return "".join(_DIGITS[milliseconds >> 5 * place & 31] for place in reversed(range(_TIME_DIGITS)))
