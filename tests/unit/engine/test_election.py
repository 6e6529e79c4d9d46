"""The process that shares with nobody."""

from __future__ import annotations

import asyncio

import pytest
from virtual_time import run_virtual

from syncer.engine.election import Alone, Election


def test_who_is_alone_leads_for_ever() -> None:
    async def story() -> None:
        election: Election = Alone()
        async with election as alone:
            await alone.acquire()
            assert alone.holds()
            assert alone.holder == "this process"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1e6):
                    await alone.lost()
            await alone.release()
        assert election.holds()

    run_virtual(story())
