"""What nothing wants any more: when it is looked at, and what then goes; in virtual time.

Excludes the evidence and the guard themselves (tests/unit/core, `test_engine_pass`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest
from test_engine_visits import RESYNC, A, B, Bench, C, policy
from virtual_time import run_virtual

from backends.errors import Forbidden, SinkUnavailable
from syncer.core.errors import SourceError, SourceUnavailable
from syncer.core.model import InstallationKey
from syncer.engine.leftovers import Leftovers

D, E, F = (InstallationKey("shop", name) for name in "def")
GRACE = 10.0


class Shop:
    """Installations with their secrets, and whoever takes these away."""

    def __init__(self) -> None:
        self.bench = Bench(policy())
        self.leftovers = Leftovers(self.bench.shared, self.bench.claims, self.bench.holdings)

    async def open(self, *keys: InstallationKey) -> None:
        self.bench.install(*keys)
        await self.bench.visit(*keys)
        await self.list()

    async def list(self) -> None:
        self.bench.shared.known.learn(await self.bench.source.list())
        self.leftovers.look_for_gone()

    async def uninstalled(self, *keys: InstallationKey) -> None:
        for key in keys:
            self.bench.uninstall(key)
        await self.bench.visit(*keys)
        self.leftovers.add(one.address for one in self.bench.left)

    async def collect(self) -> None:
        await self.leftovers.collect(self.bench.place())

    async def due(self) -> float:
        begun = self.bench.clock()
        await self.leftovers.due()
        return self.bench.clock() - begun

    async def nothing_is_due(self) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10 * RESYNC):
                await self.leftovers.due()

    @property
    def cells(self) -> str:
        return "".join(sorted(address.removeprefix("shop/") for address in self.bench.sink.store.cells))


def story(tell: Callable[[Shop], Coroutine[None, None, None]]) -> None:
    async def told() -> None:
        await tell(Shop())

    run_virtual(told())


def test_what_is_left_is_gathered_for_a_moment_and_taken_away_as_one() -> None:
    async def tell(shop: Shop) -> None:
        await shop.open(A, B, C, D)
        await shop.uninstalled(A)
        await asyncio.sleep(0.1)
        await shop.uninstalled(B)
        assert await shop.due() == pytest.approx(0.1)
        await shop.collect()
        assert shop.cells == "cd"
        await shop.nothing_is_due()

    story(tell)


def test_who_waits_already_hears_of_what_comes_sooner() -> None:
    async def tell(shop: Shop) -> None:
        await shop.open(A, B, C)
        shop.leftovers.again(30.0)
        waiting = asyncio.create_task(shop.due())
        await asyncio.sleep(5)
        await shop.uninstalled(A)
        shop.leftovers.again(90.0)
        assert await waiting == pytest.approx(5.2)

    story(tell)


def test_nothing_left_is_no_reason_to_look() -> None:
    async def tell(shop: Shop) -> None:
        await shop.open(A)
        shop.leftovers.add([])
        await shop.list()
        await shop.nothing_is_due()

    story(tell)


def test_what_is_wanted_again_is_not_even_looked_at() -> None:
    async def tell(shop: Shop) -> None:
        await shop.open(A, B)
        shop.leftovers.add(["shop/a"])
        shop.bench.sink.asked.clear()
        await shop.collect()
        assert not any(shop.bench.sink.asked)
        assert shop.cells == "ab"

    story(tell)


def test_a_deleted_installation_loses_its_secrets_after_the_grace_and_not_before() -> None:
    async def tell(shop: Shop) -> None:
        await shop.open(A, B, C)
        await asyncio.sleep(100)
        shop.bench.remove(A)
        await shop.list()
        assert await shop.due() == pytest.approx(0.2)
        await shop.collect()
        assert shop.cells == "abc"
        assert await shop.due() == pytest.approx(GRACE - 0.2)
        await shop.collect()
        assert shop.cells == "bc"

    story(tell)


def test_those_that_are_only_just_missing_count_for_the_guard_already() -> None:
    """A database that is being emptied: the first are due when it shows how many more are going."""

    async def tell(shop: Shop) -> None:
        await shop.open(A, B, C, D, E, F)
        shop.bench.remove(A)
        await shop.list()
        await asyncio.sleep(GRACE - 1)
        shop.bench.remove(B)
        shop.bench.remove(C)
        await shop.list()
        await asyncio.sleep(2)
        await shop.collect()
        assert shop.cells == "abcdef"

    story(tell)


def test_one_that_came_back_meanwhile_keeps_its_secrets() -> None:
    async def tell(shop: Shop) -> None:
        await shop.open(A, B, C)
        documents = [*shop.bench.world.documents["installations"]]
        shop.bench.remove(A)
        await shop.list()
        await asyncio.sleep(GRACE + 1)
        shop.bench.world.documents["installations"][:] = documents
        await shop.collect()
        assert shop.cells == "abc"

    story(tell)


def test_losing_them_slowly_counts_as_losing_them_fast_for_one_interval() -> None:
    async def tell(shop: Shop) -> None:
        await shop.open(A, B, C, D, E, F)
        for key, left in ((A, "bcdef"), (B, "cdef"), (C, "cdef")):
            await shop.uninstalled(key)
            await shop.collect()
            assert shop.cells == left
            await asyncio.sleep(20)
        await asyncio.sleep(RESYNC)
        await shop.uninstalled(C)
        await shop.collect()
        assert shop.cells == "def"

    story(tell)


def test_a_source_that_fails_takes_nothing_away() -> None:
    async def tell(shop: Shop) -> None:
        await shop.open(A, B, C)
        await shop.uninstalled(A)
        reads = 0

        def cut(_query: object) -> None:
            nonlocal reads
            reads += 1
            if reads > 3:
                raise SourceUnavailable("cut")

        for whole in (3, 0):
            reads = 3 - whole
            shop.bench.world.before_query = cut
            with pytest.raises((SourceError, SinkUnavailable)):
                await shop.collect()
            assert shop.cells == "abc"
        shop.bench.world.before_query = lambda _query: None
        await shop.collect()
        assert shop.cells == "bc"

    story(tell)


def test_a_sink_that_fails_is_raised_and_all_of_it_is_left() -> None:
    async def tell(shop: Shop) -> None:
        await shop.open(A, B, C)
        await shop.uninstalled(A)
        shop.bench.sink.removes["shop/a"] = SinkUnavailable("down", retry_after=60.0)
        with pytest.raises(SinkUnavailable, match="down"):
            await shop.collect()
        shop.bench.sink.removes.clear()
        await shop.collect()
        assert shop.cells == "bc"

    story(tell)


def test_a_delete_that_is_forbidden_does_not_count_as_a_loss() -> None:
    async def tell(shop: Shop) -> None:
        await shop.open(A, B, C, D, E, F)
        shop.bench.sink.removes["shop/a"] = Forbidden("may not")
        await shop.uninstalled(A)
        await shop.collect()
        await shop.uninstalled(B, C)
        await shop.collect()
        assert shop.cells == "adef"

    story(tell)
