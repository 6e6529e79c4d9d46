"""Two batches in work at a time, and what the failure of one does to the other."""

from __future__ import annotations

import asyncio

import pytest

from syncer.engine.batches import chunks, overlapped


def test_chunks_lose_nothing_and_keep_the_order() -> None:
    assert list(chunks(range(7), 3)) == [(0, 1, 2), (3, 4, 5), (6,)]


async def test_two_batches_are_in_work_at_a_time_and_no_more() -> None:
    running, most = 0, 0

    async def work(_batch: tuple[int, ...]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await overlapped(chunks(range(9), 1), work)
    assert most == 2


async def test_a_failure_is_raised_as_it_is_and_the_other_batch_is_finished() -> None:
    finished: list[int] = []
    failed = asyncio.Event()

    async def work(batch: tuple[int, ...]) -> None:
        if batch == (0,):
            failed.set()
            raise LookupError("gone")
        await failed.wait()
        await asyncio.sleep(0)
        finished.extend(batch)

    with pytest.raises(LookupError, match="gone"):
        await overlapped(chunks(range(2), 1), work)
    assert finished == [1]
