"""Looking at many secrets at once: what it costs, and that it sees what single looks see.

On a real OpenBao, KV v2 and v1; requests are counted in its audit log. Excludes speed (bench).
"""

from __future__ import annotations

from collections import Counter

import pytest

from backends.contract import Absent
from tests.contract.vault_rows import OWNER, Place, desired

MANY = 40


@pytest.fixture(params=[2, 1])
def place(request, bao_server) -> Place:
    return Place(bao_server, bao_server.mount(request.param), version=request.param)


def requests_in(place, since) -> Counter[str]:
    return place.bao.audit.counts(since=since, prefix=place.mount)


async def test_of_many_absent_ones_a_list_tells(place):
    addresses = [place.address(f"absent-{number}") for number in range(MANY)]
    async with place.sink() as sink:
        since = place.bao.audit.position()
        assert await sink.observe(OWNER, addresses) == {}
        assert set(requests_in(place, since)) == {"list"}
        assert requests_in(place, since).total() <= 2


async def test_a_few_are_looked_at_one_by_one(place):
    async with place.sink() as sink:
        since = place.bao.audit.position()
        assert await sink.observe(OWNER, [place.address(f"absent-{number}") for number in range(3)]) == {}
        assert set(requests_in(place, since)) == {"read"}


async def test_among_many_those_that_are_there_are_seen_whoever_they_are(place):
    addresses = [place.address(f"some-{number}") for number in range(MANY)]
    data = "data/" if place.version == 2 else ""
    body = {"password": "theirs"}
    place.bao.write(f"{place.mount}/{data}{addresses[7]}", {"data": body} if data else body)
    async with place.sink() as sink:
        await sink.put(desired(place, "some-3"), Absent())
        found = await sink.observe(OWNER, addresses)
        single = {address: await sink.observe(OWNER, [address]) for address in (addresses[3], addresses[7])}
    assert {address: seen.ours for address, seen in found.items()} == {
        addresses[3]: True,
        addresses[7]: False,
    }
    assert single == {address: {address: seen} for address, seen in found.items()}


async def test_a_mark_without_data_is_seen_among_many(place):
    addresses = [place.address(f"some-{number}") for number in range(MANY)]
    async with place.sink() as sink:
        await sink.put(desired(place, "some-3"), Absent())
        if place.version == 1:
            place.bao.delete(f"{place.mount}/{addresses[3]}")
        else:
            place.bury("destroy", 1, name="some-3")
        found = await sink.observe(OWNER, addresses)
    assert {address: (seen.ours, seen.intact) for address, seen in found.items()} == {
        addresses[3]: (True, False)
    }
