"""What others do to our secrets, as the sink tells it, turned into installations to look at.

Only a hint: own writes are told from others' by their version, and a gap asks for a sweep.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from backends.contract import Owner, Seen, Version, Watches
from backends.errors import SinkError
from syncer.core.model import InstallationKey
from syncer.engine.holdings import Holdings

_GATHER: Final = 0.2
"""Seconds after which the answer to an own write has come, too."""
_AGAIN: Final = 300.0
"""Seconds until a watch that was refused is tried again."""


class Drift:
    """`changed` gets installations, `sweep_wanted` is called after a gap, `refused` with the reason."""

    def __init__(
        self,
        holdings: Holdings,
        *,
        changed: Callable[[Iterable[InstallationKey]], None],
        sweep_wanted: Callable[[], None],
        refused: Callable[[str], None],
    ) -> None:
        self._holdings = holdings
        self._changed = changed
        self._sweep_wanted = sweep_wanted
        self._refused = refused
        self._seen: dict[str, Version | None] = {}
        self._some = asyncio.Event()

    async def run(self, sink: Watches, owner: Owner) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell_forever())
            while True:
                try:
                    async for seen in sink.watch(owner):
                        self._note(seen)
                except SinkError as error:
                    self._refused(error.reason)
                await asyncio.sleep(_AGAIN)

    def _note(self, seen: Seen) -> None:
        if seen.address is None:
            self._sweep_wanted()
        else:
            self._seen[seen.address] = seen.version
            self._some.set()

    async def _tell_forever(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(_GATHER)
            self._some.clear()
            seen, self._seen = self._seen, {}
            self._changed({key for address, version in seen.items() for key in self._whose(address, version)})

    def _whose(self, address: str, version: Version | None) -> Iterable[InstallationKey]:
        """Nobody's where it is what we wrote or saw there; what was never ours is found by a sweep."""
        holding = self._holdings.at(address)
        return () if holding is None or holding.version == version else (holding.key,)
