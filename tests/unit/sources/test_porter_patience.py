"""A secret store that hangs or refuses the login holds up nobody who does not ask it.

Simulates the store, in virtual time. Excludes real stores (tests/faults/test_faults_source_stores.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Self

import pytest

from backends.contract import Finding, FindingLevel
from backends.secret_value import SecretValue
from syncer.core.errors import SourceUnavailable
from syncer.sources.porter.secrets.patience import FIRST, LONGEST, PatientSecrets
from tests.unit.engine.virtual_time import run_virtual

FINE = Finding(level=FindingLevel.OK, subject="store", detail="there")


class Store:
    """Takes so many seconds to answer, and may refuse to be opened."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.refusal: str | None = None
        self.opened = self.closed = self.asked = 0

    async def check(self) -> tuple[Finding, ...]:
        return (FINE,)

    async def resolve(self, keys: Collection[str]) -> Mapping[str, SecretValue | str]:
        self.asked += 1
        await asyncio.sleep(self.seconds)
        return {key: SecretValue(key.encode()) for key in keys}

    async def __aenter__(self) -> Self:
        if self.refusal is not None:
            raise SourceUnavailable(self.refusal)
        self.opened += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closed += 1


def told(work):
    """Runs `work(patient, store, now)` in virtual time."""

    async def story():
        store, now = Store(), asyncio.get_running_loop().time
        async with PatientSecrets(store, clock=now) as patient:
            answer = await work(patient, store, now)
        assert store.closed == store.opened
        return answer

    return run_virtual(story())


def test_a_store_is_opened_once_when_it_is_first_asked_and_closed_with_the_rest():
    async def work(patient, store, now):
        assert store.opened == 0
        assert await patient.resolve(["a"]) == {"a": SecretValue(b"a")}
        assert await patient.check() == (FINE,)
        assert store.opened == 1

    told(work)


def test_a_login_that_is_refused_is_told_and_tried_again_by_the_next_who_asks():
    async def work(patient, store, now):
        store.refusal = "no login"
        for ask in (patient.resolve(["a"]), patient.check()):
            with pytest.raises(SourceUnavailable, match="no login"):
                await ask
        store.refusal = None
        assert await patient.resolve(["a"]) == {"a": SecretValue(b"a")}

    told(work)


def test_a_store_that_hangs_is_waited_for_by_one_at_a_time_and_then_for_longer():
    async def work(patient, store, now):
        store.seconds = 1000.0
        waits = []
        for _ in range(6):
            begun = now()
            first = asyncio.create_task(patient.resolve(["a"]))
            await asyncio.sleep(1)
            if waits:
                with pytest.raises(SourceUnavailable, match="somebody waits"):
                    await patient.resolve(["b"])
                assert now() == begun + 1
            with pytest.raises(SourceUnavailable, match="did not answer within"):
                await first
            waits.append(now() - begun)
        assert waits == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST, LONGEST, LONGEST]

    told(work)


def test_a_store_that_is_slow_gets_done_and_all_may_ask_it_at_once_again():
    async def work(patient, store, now):
        store.seconds = 1.5 * FIRST
        with pytest.raises(SourceUnavailable, match="did not answer within 5 s"):
            await patient.resolve(["a"])
        assert await patient.resolve(["a"])
        begun = now()
        await asyncio.gather(*(patient.resolve([key]) for key in "abc"))
        assert now() == begun + store.seconds

    told(work)


def test_patience_is_short_again_once_the_store_is_quick():
    async def work(patient, store, now):
        store.seconds = 1.5 * FIRST
        with pytest.raises(SourceUnavailable):
            await patient.resolve(["a"])
        await patient.resolve(["a"])
        store.seconds = 0.0
        await patient.resolve(["a"])
        store.seconds = 1000.0
        begun = now()
        with pytest.raises(SourceUnavailable):
            await patient.resolve(["a"])
        assert now() - begun == FIRST

    told(work)
