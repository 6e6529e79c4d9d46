"""What the API's server bears: clients that ask too much, too often or for too long, and what is no gRPC.

Over real connections, most of them of a peer that writes HTTP/2 frames as it likes. Limits are small here,
so that they are reached soon; floods from many machines, and TLS, are left out.
"""

from __future__ import annotations

import asyncio
import gzip

import grpc
import pytest
from api_world import (
    DEADLINE,
    HEALTH,
    LOGIN,
    OK,
    RawPeer,
    api_threads,
    ask,
    canary_free,
    frame,
    serving,
    until,
    until_code,
)

from syncer.api.options import MEBIBYTE

__all__ = ["canary_free"]  # a fixture

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_path_that_is_no_text_harms_nobody():
    async with serving() as world, world.channel() as other:
        waiting = asyncio.create_task(ask(other, "Wait"))
        await until(lambda: world.echo.inside)
        async with RawPeer.connected(world.port) as peer:
            peer.headers(1, b"/test.Echo/\xff\xfe", LOGIN)
            peer.message(1, b"x")
            assert b"Method not found" in await peer.received(b"Method not found")
        world.echo.let_go.set()
        assert await waiting == (OK, b"done")
        assert await world.ask("Say", b"x") == (OK, b"x")


@pytest.mark.parametrize("within", [None, 3600.0])
async def test_no_request_takes_longer_than_the_server_allows(within):
    async with serving(request_seconds=0.2) as world:
        assert await world.ask("Wait", within=within) == (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "it took too long",
        )
        assert world.echo.ended == ["cancelled"]
        assert world.seen.requests == [("Wait", "DEADLINE_EXCEEDED")]
        world.access.hangs = True
        assert (await world.ask("Say", within=within))[0] is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_client_that_waits_less_long_ends_its_request():
    async with serving() as world:
        assert (await world.ask("Wait", within=0.2))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: world.echo.ended == ["cancelled"])
        await until(lambda: world.seen.requests)


async def test_a_client_that_goes_ends_its_request():
    async with serving() as world:
        async with world.channel() as channel:
            gone = asyncio.create_task(ask(channel, "Wait"))
            await until(lambda: world.echo.inside)
            gone.cancel()
            await until(lambda: world.echo.ended == ["cancelled"])
        await until(lambda: world.seen.requests == [("Wait", "CANCELLED")])


async def test_a_client_that_sends_no_message_is_cut_off():
    async with serving(requests=1, request_seconds=1.0) as world, RawPeer.connected(world.port) as peer:
        peer.headers(1, b"/test.Echo/Say", LOGIN)
        await until(lambda: world.seen.requests == [("Say", "CANCELLED")])
        assert await world.ask("Say") == (OK, b"")


async def test_a_client_that_does_not_fetch_its_answer_is_cut_off():
    async with (
        serving(requests=1, request_seconds=1.0) as world,
        RawPeer.connected(world.port, window=0) as peer,
    ):
        peer.headers(1, b"/test.Echo/Big", LOGIN)
        peer.message(1, b"8000000")
        await until(lambda: world.seen.requests == [("Big", "CANCELLED")])
        assert (await world.ask("Big", b"3"))[0] is OK


async def test_health_checks_that_send_nothing_do_not_keep_callers_out():
    async with serving(request_seconds=0.5) as world, RawPeer.connected(world.port) as peer:
        for stream in range(1, 99, 2):
            peer.headers(stream, HEALTH.encode())
        await until(lambda: ("Check", "RESOURCE_EXHAUSTED") in world.seen.requests)
        assert await world.ask("Say") == (OK, b"")
        await until(lambda: len(world.seen.requests) >= 50)
        assert (await world.ask(HEALTH, token=None))[0] is OK


async def test_a_request_larger_than_allowed_is_refused():
    async with serving() as world:
        for size in (10_000_000, MEBIBYTE + 1):
            code, text = await world.ask("Say", bytes(size))
            assert (code, "larger than max" in str(text)) == (EXHAUSTED, True)
        assert (await world.ask("Say", bytes(MEBIBYTE)))[0] is OK


async def test_a_small_request_does_not_become_a_large_one():
    async with serving() as world, RawPeer.connected(world.port) as peer:
        peer.headers(1, b"/test.Echo/Say", LOGIN, (b"grpc-encoding", b"gzip"))
        peer.message(1, gzip.compress(bytes(900_000)), compressed=True)
        assert b"grpc-status\x0212" in await peer.received(b"grpc-status")
        assert await world.ask("Say") == (OK, b"")


async def test_an_answer_larger_than_allowed_is_not_sent():
    async with serving(send_bytes=1000) as world:
        assert (await world.ask("Big", b"2000"))[0] is not OK
        assert (await world.ask("Big", b"900"))[0] is OK


async def test_more_requests_than_there_is_room_for_are_refused_at_once():
    async with serving(requests=4) as world, world.channel() as one, world.channel() as other:
        waiting = [asyncio.create_task(ask(one, "Wait")) for _ in range(4)]
        await until(lambda: world.echo.inside == 4)
        assert (await ask(other, "Say"))[0] is EXHAUSTED
        assert (await ask(other, HEALTH, token=None))[0] is OK
        world.echo.let_go.set()
        assert await asyncio.gather(*waiting) == [(OK, b"done")] * 4
        assert (await ask(other, "Say"))[0] is OK


def is_refusal(answer: tuple[grpc.StatusCode, str | bytes]) -> bool:
    """For want of room: ours, or gRPC's own of a stream that a client opened before it could know better."""
    code, text = answer
    return code is EXHAUSTED or "RST_STREAM with error code 7" in str(text)


async def test_hundreds_of_requests_at_a_time_are_answered_or_refused():
    async with serving(requests=16) as world, world.channel() as one, world.channel() as other:
        for channel in (one, other):  # only then a client knows how many it may
            assert (await ask(channel, "Say"))[0] is OK
        asks = [ask(channel, "Say", b"x") for channel in (one, other) for _ in range(300)]
        answers = await asyncio.gather(*asks)
        refused = [answer for answer in answers if answer[0] is not OK]
        assert all(is_refusal(answer) for answer in refused), refused
        assert len(answers) - len(refused) >= 16
        assert await world.ask("Say", b"x") == (OK, b"x")
        assert api_threads() <= 32


async def test_one_connection_has_no_more_than_its_streams():
    async with serving(streams=5, requests=50) as world, world.channel() as channel:
        assert (await ask(channel, "Say"))[0] is OK  # only then the client knows how many it may
        waiting = [asyncio.create_task(ask(channel, "Wait")) for _ in range(20)]
        await until(lambda: world.echo.inside == 5)
        assert await world.ask("Say") == (OK, b"")
        world.echo.let_go.set()
        answers = await asyncio.gather(*waiting)
        assert all(answer == (OK, b"done") or is_refusal(answer) for answer in answers)
        assert answers.count((OK, b"done")) >= 5
        assert world.echo.most == 5


async def test_a_storm_of_resets_leaves_nothing_behind():
    async with serving(requests=8) as world:
        for _ in range(5):
            async with RawPeer.connected(world.port) as peer:
                for stream in range(1, 4001, 2):
                    peer.headers(stream, b"/test.Echo/Wait", LOGIN)
                    peer.message(stream, b"x")
                    peer.reset(stream)
                await asyncio.wait_for(peer.writer.drain(), DEADLINE)
        await until(lambda: world.echo.inside == 0)
        world.echo.let_go.set()
        await until_code(world, OK)
        assert api_threads() <= 24


async def test_a_flood_of_pings_ends_the_connection_and_no_other():
    async with serving() as world, RawPeer.connected(world.port) as peer:
        for _ in range(50):
            peer.writer.write(frame(6, 0, 0, bytes(8)))
        await peer.received(b"too_many_pings")  # comes back where it is still open to be told
        assert await world.ask("Say") == (OK, b"")


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00" * 100, bytes(5000)]
)
async def test_what_is_no_grpc_harms_nobody(garbage):
    async with serving() as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(garbage)
        await asyncio.wait_for(reader.read(), DEADLINE)
        writer.transport.abort()
        assert await world.ask("Say") == (OK, b"")


async def test_connections_beyond_the_most_are_closed():
    async with (
        serving(connections=2) as world,
        RawPeer.connected(world.port) as one,
        RawPeer.connected(world.port) as two,
    ):
        for peer in (one, two):
            assert await peer.received(b"\x04")
        async with RawPeer.connected(world.port) as third:
            assert await third.reader.read() == b""


async def test_no_connection_lives_for_ever():
    limits = {"connection_seconds": 0.5, "request_seconds": 0.5}
    async with serving(**limits) as world, RawPeer.connected(world.port) as peer:
        await peer.received()  # comes back when it is closed
        assert await world.ask("Say") == (OK, b"")
