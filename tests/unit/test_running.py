"""What lives beside the controllers of a running process. Excludes the process (tests/faults)."""

from __future__ import annotations

import asyncio

import pytest

from syncer.running import _ended
from syncer.telemetry.health import Health


async def sends(error: Exception | None) -> None:
    if error is not None:
        raise error


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (None, "events: ended"),
        (
            ValueError("s3cret"),
            "events: unexpected ValueError; its details may hold secrets and are not shown",
        ),
    ],
)
async def test_a_part_that_ended_for_good_makes_the_process_unhealthy_without_quoting_why(error, why):
    health = Health(sinks=[])
    task = asyncio.create_task(sends(error))
    await asyncio.wait([task])
    _ended(health.died, task)
    assert (health.alive().good, health.alive().why) == (False, why)


async def test_one_that_was_ended_with_the_rest_does_not():
    health = Health(sinks=[])
    task = asyncio.create_task(asyncio.sleep(60))
    task.cancel()
    await asyncio.wait([task])
    _ended(health.died, task)
    assert health.alive().good
