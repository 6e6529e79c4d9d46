"""Looks at everything: what a sight has in common with a whole world, and what it leaves behind.

Simulates Porter's documents in memory. Excludes what is selected and how it is mapped (tests/unit/core),
and how much memory either takes (bench).
"""

from __future__ import annotations

import gc

import pytest
from test_engine_visits import A, B, policy

from syncer.core.mapping import Mapped
from syncer.core.model import Installation, InstallationKey
from syncer.engine.world import Sight, look, sight_of
from tests.unit.sources.porter_world import World, source

C = InstallationKey("shop", "c")


@pytest.fixture
def porter() -> World:
    porter = World()
    for key in (A, B, C):
        porter.installation(key)
        porter.run({"host": key.name.encode()}, key=key)
    return porter


def wanted(sight: Sight) -> dict[InstallationKey, list[Mapped]]:
    found: dict[InstallationKey, list[Mapped]] = {}
    for mapped in sight.claims["s"]:
        found.setdefault(mapped.outputs.key, []).append(mapped)
    return found


@pytest.mark.parametrize("batch", [1, 2, 100])
async def test_a_sight_wants_what_a_world_wants_however_small_its_batches(porter: World, batch: int) -> None:
    rules = policy()
    sight = await sight_of(source(porter), rules, batch=batch)
    world = await look(source(porter), rules)
    assert wanted(sight) == wanted(world)
    assert set(sight.keys) == set(world.keys) == {A, B, C}


async def test_who_is_listed_twice_is_seen_once(porter: World) -> None:
    """NB: seen in two batches it would be a rival of its own."""
    porter.installation(B)
    sight = await sight_of(source(porter), policy(), batch=1)
    assert {key: len(found) for key, found in wanted(sight).items()} == {A: 1, B: 1, C: 1}


async def test_who_vanishes_between_the_list_and_the_look_is_not_said_to_be_seen(porter: World) -> None:
    listed = await source(porter).list()
    reading = source(porter)
    porter.documents["installations"].pop()

    async def before() -> object:
        return listed

    reading.list = before  # type: ignore[method-assign,assignment]
    sight = await sight_of(reading, policy(), batch=100)
    assert set(sight.keys) == {A, B}


async def test_a_sight_keeps_no_installation(porter: World) -> None:
    only_here = InstallationKey("nowhere-else", "d")
    porter.installation(only_here)
    porter.run({"host": b"d"}, key=only_here)
    sight = await sight_of(source(porter), policy(), batch=2)
    gc.collect()
    kept = [one for one in gc.get_objects() if isinstance(one, Installation) and one.key == only_here]
    assert only_here in wanted(sight)
    assert not kept
