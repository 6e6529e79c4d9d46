"""What a sink tells of its secrets, turned into installations; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable

from virtual_time import run_virtual

from backends.contract import Owner, Seen, Version
from backends.errors import Forbidden
from syncer.core.model import InstallationKey
from syncer.engine.drift import Drift
from syncer.engine.holdings import Holdings
from tests.unit.engine.test_engine_holdings import A, B, mark

OWNER = Owner(instance="test", source="s")


class Teller:
    """A watch that says what it is told to say; `None` ends it, an exception breaks it."""

    def __init__(self) -> None:
        self.says: asyncio.Queue[Seen | Exception | None] = asyncio.Queue()
        self.begun: list[float] = []

    async def watch(self, owner: Owner) -> AsyncIterator[Seen]:
        assert owner == OWNER
        self.begun.append(asyncio.get_running_loop().time())
        while (seen := await self.says.get()) is not None:
            if isinstance(seen, Exception):
                raise seen
            yield seen


class Watched:
    def __init__(self) -> None:
        self.holdings = Holdings()
        self.teller = Teller()
        self.changed: list[tuple[float, set[InstallationKey]]] = []
        self.sweeps = 0
        self.refusals: list[str] = []
        self.drift = Drift(
            self.holdings, changed=self._change, sweep_wanted=self._sweep, refused=self.refusals.append
        )

    def _change(self, keys: Iterable[InstallationKey]) -> None:
        self.changed.append((asyncio.get_running_loop().time(), set(keys)))

    def _sweep(self) -> None:
        self.sweeps += 1

    def says(self, *seen: Seen | Exception | None) -> None:
        for one in seen:
            self.teller.says.put_nowait(one)


def story(tell: Callable[[Watched], Coroutine[None, None, None]]) -> None:
    async def told() -> None:
        watched = Watched()
        running = asyncio.create_task(watched.drift.run(watched.teller, OWNER))
        await tell(watched)
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()

    run_virtual(told())


def test_a_change_by_others_is_told_with_all_of_the_same_moment() -> None:
    async def tell(watched: Watched) -> None:
        for address, key in (("x", A), ("y", A), ("z", B)):
            watched.holdings.wrote(mark(address, key), Version("1"))
        watched.says(Seen(address="x", version=Version("2")), Seen(address="y"), Seen(address="z"))
        await asyncio.sleep(10)
        assert watched.changed == [(0.2, {A, B})]
        watched.says(Seen(address="z", version=Version("7")))
        await asyncio.sleep(10)
        assert watched.changed[1:] == [(10.2, {B})]

    story(tell)


def test_an_own_write_is_nobody_s_change_even_where_its_answer_comes_a_little_later() -> None:
    async def tell(watched: Watched) -> None:
        watched.says(Seen(address="x", version=Version("5")))
        await asyncio.sleep(0.1)
        watched.holdings.wrote(mark("x"), Version("5"))
        await asyncio.sleep(10)
        assert watched.changed == [(0.2, set())]

    story(tell)


def test_only_the_last_that_is_told_of_an_address_counts() -> None:
    async def tell(watched: Watched) -> None:
        watched.holdings.wrote(mark("x"), Version("5"))
        watched.says(Seen(address="x", version=Version("4")), Seen(address="x", version=Version("5")))
        await asyncio.sleep(10)
        assert watched.changed == [(0.2, set())]

    story(tell)


def test_what_was_never_ours_concerns_nobody() -> None:
    async def tell(watched: Watched) -> None:
        watched.says(Seen(address="x"))
        await asyncio.sleep(10)
        assert watched.changed == [(0.2, set())]

    story(tell)


def test_a_gap_asks_for_a_sweep() -> None:
    async def tell(watched: Watched) -> None:
        watched.says(Seen(address=None), Seen(address=None))
        await asyncio.sleep(10)
        assert watched.sweeps == 2
        assert watched.changed == []

    story(tell)


def test_a_watch_that_is_refused_is_told_and_tried_again_much_later() -> None:
    async def tell(watched: Watched) -> None:
        watched.says(Forbidden("watch secrets"), None)
        await asyncio.sleep(1000)
        assert watched.refusals == ["watch secrets"]
        assert watched.teller.begun == [0.0, 300.0, 600.0]

    story(tell)
