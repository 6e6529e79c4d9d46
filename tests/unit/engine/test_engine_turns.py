"""How fast one sink is written to, in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from virtual_time import run_virtual

from syncer.engine.turns import Turns


async def times(per_second: int | None, count: int, pause: float = 0.0) -> list[float]:
    """When each of so many calls at once, after a pause, got its turn."""
    clock = asyncio.get_running_loop().time
    turns = Turns(per_second, clock)
    await turns()
    await asyncio.sleep(pause)
    got: list[float] = []

    async def call() -> None:
        await turns()
        got.append(clock() - pause)

    await asyncio.gather(*(call() for _ in range(count)))
    return got


def test_without_a_limit_nobody_waits() -> None:
    assert run_virtual(times(None, 50)) == [0.0] * 50


@pytest.mark.parametrize("pause", [0.0, 3600.0])
def test_no_second_has_more_turns_than_the_limit_however_long_the_pause_before(pause: float) -> None:
    got = run_virtual(times(10, 45, pause))
    assert got == sorted(got)
    busiest = max(sum(begin <= at < begin + 0.999 for at in got) for begin in got)
    assert busiest <= 10
    assert got[-1] <= 45 / 10 + 0.2
