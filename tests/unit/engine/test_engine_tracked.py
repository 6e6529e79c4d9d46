"""A sink as the controller uses it: what it lets through, and what it remembers of that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Self

import pytest

from backends.contract import Absent, DesiredSecret, ObservedSecret, Owner, Unchanged, Version
from backends.errors import OutcomeUnknown, SinkUnavailable
from backends.memory import CAPABILITIES, MemorySink
from backends.secret_value import SecretValue
from backends.sending import may_send
from syncer.engine.holdings import Holdings
from syncer.engine.tracked import TrackedSink
from tests.unit.engine.test_engine_holdings import A, mark

OWNER = Owner(instance="test", source="s")


def desired(address: str) -> DesiredSecret:
    return DesiredSecret(mark=mark(address), data={"k": SecretValue(b"v")})


class Tracked:
    """A tracked sink with what is around it."""

    def __init__(self, sink: MemorySink | None = None) -> None:
        self.memory = sink or MemorySink()
        self.holdings = Holdings()
        self.allowed = True
        self.turns = 0
        self.sink = TrackedSink(self.memory, self.holdings, allowed=lambda: self.allowed, turn=self._turn)

    async def _turn(self) -> None:
        self.turns += 1


async def test_what_is_written_is_held_in_the_version_it_got() -> None:
    tracked = Tracked()
    version = await tracked.sink.put(desired("x"), Absent())
    held = tracked.holdings.at("x")
    assert held is not None
    assert held.version == version
    assert tracked.turns == 1


async def test_what_is_removed_is_held_no_longer() -> None:
    tracked = Tracked()
    await tracked.sink.put(desired("x"), Absent())
    await tracked.sink.remove((await tracked.sink.observe(OWNER, ["x"]))["x"])
    assert tracked.holdings.at("x") is None
    assert tracked.turns == 2


async def test_without_a_permit_nothing_is_written_or_removed() -> None:
    tracked = Tracked()
    await tracked.sink.put(desired("x"), Absent())
    seen = (await tracked.sink.observe(OWNER, ["x"]))["x"]
    tracked.allowed = False
    with pytest.raises(SinkUnavailable):
        await tracked.sink.put(desired("x"), Unchanged(seen.version))
    with pytest.raises(SinkUnavailable):
        await tracked.sink.remove(seen)
    assert tracked.memory.writes == 1
    assert tracked.holdings.at("x") is not None


async def test_a_permit_lost_on_the_way_is_noticed_by_whoever_sends() -> None:
    class Slow(MemorySink):
        async def put(self, wanted: DesiredSecret, expect: Absent) -> Version:  # type: ignore[override]
            tracked.allowed = False
            may_send()
            return await super().put(wanted, expect)

    tracked = Tracked(Slow())
    with pytest.raises(SinkUnavailable):
        await tracked.sink.put(desired("x"), Absent())
    assert tracked.holdings.at("x") is None


async def test_reads_need_no_permit_and_no_turn() -> None:
    tracked = Tracked()
    await tracked.sink.put(desired("x"), Absent())
    tracked.allowed = False
    assert (await tracked.sink.observe(OWNER, ["x"])).keys() == {"x"}
    assert [one.address async for one in tracked.sink.inventory(OWNER)] == ["x"]
    assert await tracked.sink.check() == await tracked.memory.check()
    assert tracked.sink.capabilities is CAPABILITIES
    assert tracked.turns == 1


async def test_what_is_not_there_any_more_or_foreign_is_held_no_longer() -> None:
    tracked = Tracked()
    for address in "xyz":
        await tracked.sink.put(desired(address), Absent())
    del tracked.memory.store.cells["x"]
    tracked.memory.store.write("y", fields={}, data={})
    await tracked.sink.observe(OWNER, ["x", "y", "z"])
    assert tracked.holdings.of([A]) == {"z"}


async def test_a_complete_inventory_replaces_what_was_held_and_a_cut_one_does_not() -> None:
    class Cut(MemorySink):
        cut = False

        async def inventory(self, owner: Owner) -> AsyncIterator[ObservedSecret]:
            async for observed in super().inventory(owner):
                yield observed
            if self.cut:
                raise SinkUnavailable("cut")

    memory = Cut()
    tracked = Tracked(memory)
    await tracked.sink.put(desired("x"), Absent())
    tracked.holdings.wrote(mark("gone"), Version("0"))
    memory.cut = True
    with pytest.raises(SinkUnavailable):
        _ = [one async for one in tracked.sink.inventory(OWNER)]
    assert tracked.holdings.of([A]) == {"x", "gone"}
    memory.cut = False
    _ = [one async for one in tracked.sink.inventory(OWNER)]
    assert tracked.holdings.of([A]) == {"x"}


async def test_what_is_written_while_the_inventory_is_read_stays_held() -> None:
    tracked = Tracked()
    await tracked.sink.put(desired("x"), Absent())
    async for _ in tracked.sink.inventory(OWNER):
        await tracked.sink.put(desired("a"), Absent())
    assert tracked.holdings.of([A]) == {"a", "x"}


async def test_a_write_whose_answer_is_lost_changes_nothing_that_is_held() -> None:
    class Loses(MemorySink):
        async def put(self, wanted: DesiredSecret, expect: Absent) -> Version:  # type: ignore[override]
            await super().put(replace(wanted), expect)
            raise OutcomeUnknown("no answer")

    tracked = Tracked(Loses())
    with pytest.raises(OutcomeUnknown):
        await tracked.sink.put(desired("x"), Absent())
    assert tracked.holdings.at("x") is None


async def test_it_opens_and_closes_what_it_wraps() -> None:
    events: list[str] = []

    class Opened(MemorySink):
        async def __aenter__(self) -> Self:
            events.append("opened")
            return self

        async def __aexit__(self, *_: object) -> None:
            events.append("closed")

    async with Tracked(Opened()).sink as sink:
        events.append(type(sink).__name__)
    assert events == ["opened", "TrackedSink", "closed"]
