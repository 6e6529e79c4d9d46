"""A request that is over is over for gRPC, too, at once: else a connection runs out of streams.

gRPC counts a request for as long as anything holds its context, and refuses others on that connection when
there are too many. So nothing may be left to Python's collector of cycles, which is off here. Excludes
limits that are reached (test_api_server.py).
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator

import grpc
import pytest
from api_world import serving

STREAMS = 5
REQUESTS = 40


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def told(port: int, method: str, token: str, seconds: float) -> Counter[str]:
    """How requests ended on one connection, and the last one, which should be answered."""
    login = (("authorization", f"Bearer {token}"),)
    codes: Counter[str] = Counter()
    with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
        ask = channel.unary_unary(f"/test.Echo/{method}")
        for _ in range(REQUESTS):
            call = ask.future(b"1", metadata=login, timeout=seconds)
            codes[call.code().name] += 1
    return codes


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize(
    ("method", "token", "code"),
    [
        ("Say", "good", "OK"),
        ("Say", "bad", "UNAUTHENTICATED"),
        ("Refuse", "good", "PERMISSION_DENIED"),
        ("NotFound", "good", "NOT_FOUND"),
        ("Picky", "good", "INVALID_ARGUMENT"),
        ("Fail", "good", "INTERNAL"),
        ("SlowInside", "good", "INTERNAL"),
        ("Wait", "good", "DEADLINE_EXCEEDED"),
    ],
)
async def test_however_a_request_ends_it_leaves_room_for_the_next(method, token, code):
    async with serving(streams=STREAMS, request_seconds=0.02 if method == "Wait" else 30) as world:
        assert await asyncio.to_thread(told, world.port, method, token, 10) == {code: REQUESTS}


@pytest.mark.usefixtures("uncollected")
async def test_requests_whose_clients_are_gone_leave_room_for_others():
    async with serving(streams=STREAMS) as world:
        codes = await asyncio.to_thread(told, world.port, "Wait", "good", 0.02)
    assert codes == {"DEADLINE_EXCEEDED": REQUESTS}
