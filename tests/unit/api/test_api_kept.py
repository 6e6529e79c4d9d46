"""No request outlives its answer, whatever that is: gRPC counts those that somebody still holds.

The collector of cycles is off, which would hide for a while that one is held.
"""

from __future__ import annotations

import gc

import grpc
import pytest
from api_world import ask, serving


@pytest.mark.parametrize(
    ("method", "token"), [("Refuse", "good"), ("Fail", "good"), ("Picky", "good"), ("Say", "bad")]
)
async def test_a_connection_outlives_any_number_of_refusals(method, token):
    """NB: gRPC refuses what comes after so many requests that nobody has let go of."""
    gc.disable()
    try:
        async with serving(streams=10) as world, world.channel() as channel:
            codes = {(await ask(channel, method, token=token))[0] for _ in range(50)}
            assert len(codes) == 1
            assert (await ask(channel, "Say"))[0] is grpc.StatusCode.OK
    finally:
        gc.enable()


async def test_a_connection_outlives_requests_that_take_too_long():
    gc.disable()
    try:
        async with serving(streams=10, request_seconds=0.02) as world, world.channel() as channel:
            codes = {(await ask(channel, "Wait"))[0] for _ in range(15)}
            assert codes == {grpc.StatusCode.DEADLINE_EXCEEDED}
    finally:
        gc.enable()
