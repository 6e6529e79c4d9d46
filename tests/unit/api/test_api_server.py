"""The API's server over real connections: who gets in, what is told of failures, how it starts and stops.

Clients are gRPC's own, and a peer that writes HTTP/2 frames as it likes. Who a token belongs to is said by
a stand-in here; what Kubernetes says of tokens is in tests/contract/test_api_access_*.py.
"""

from __future__ import annotations

import asyncio
import time

import grpc
import pytest
from api_world import (
    CANARY,
    DEADLINE,
    HEALTH,
    LOGIN,
    OK,
    RawPeer,
    TokenAccess,
    api_threads,
    ask,
    canary_free,
    frame,
    serving,
    until,
    until_code,
)
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from syncer.api.access import LoopbackAccessOptions
from syncer.api.interceptor import caller_of
from syncer.api.loopback import LoopbackAccess
from syncer.api.options import TlsFiles
from syncer.api.server import CannotServe

__all__ = ["canary_free"]  # a fixture

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
NOT_AUTHENTICATED = (UNAUTHENTICATED, "not authenticated")


# --- who gets in


async def test_a_known_caller_is_answered_and_the_service_knows_who_it_is():
    async with serving() as world:
        assert await world.ask("Say", b"hello") == (OK, b"hello")
        assert await world.ask("Who") == (OK, b"alice")
        assert world.seen.requests == [("Say", "OK"), ("Who", "OK")]


@pytest.mark.parametrize(
    ("metadata", "asked"),
    [
        ([], 0),
        ([("authorization", f"Bearer {CANARY}")], 1),
        ([("authorization", "Bearer ")], 0),
        ([("authorization", "Bearer")], 0),
        ([("authorization", "Basic good")], 0),
        ([("authorization", "good")], 0),
        ([("authorization", "Bearer good good")], 0),
        ([("authorization", "Bearer  good")], 0),
        ([("authorization", "Bearer good"), ("authorization", "Bearer good")], 0),
        ([("authorization", "Bearer good,Bearer good")], 0),
        ([("authorization", "Bearer " + "x" * (16 * 1024 + 1))], 0),
        ([("authorization", "Bearer " + "x" * (16 * 1024))], 1),
        ([("authorization-bin", b"Bearer good")], 0),
        ([("x-authorization", "Bearer good")], 0),
    ],
)
async def test_whoever_shows_nothing_good_is_told_the_same(metadata, asked):
    async with serving() as world:
        answers = [await world.ask(method, token=None, metadata=metadata) for method in ("Say", "Fail")]
        assert answers == [NOT_AUTHENTICATED] * 2
        assert world.access.asked == 2 * asked
        assert [code for _, code in world.seen.requests] == ["UNAUTHENTICATED"] * 2


async def test_the_scheme_is_read_in_any_case():
    async with serving() as world:
        for scheme in ("bearer", "BEARER"):
            metadata = [("authorization", f"{scheme} good")]
            assert (await world.ask("Say", token=None, metadata=metadata))[0] is OK


async def test_a_token_that_is_no_text_is_refused_and_logged_nowhere():
    async with serving() as world, RawPeer.connected(world.port) as peer:
        peer.headers(1, b"/test.Echo/Say", (b"authorization", b"Bearer " + CANARY.encode() + b"\xff\xfe"))
        peer.message(1, b"x")
        assert b"not authenticated" in await peer.received(b"not authenticated")
        assert await world.ask("Say") == (OK, b"")


async def test_a_token_larger_than_all_metadata_may_be_is_refused():
    async with serving() as world:
        code, _ = await world.ask("Say", token="x" * 100_000)
        assert code in (EXHAUSTED, UNAUTHENTICATED)
        assert world.access.asked == 0
        assert await world.ask("Say") == (OK, b"")


async def test_a_caller_is_known_before_a_message_is_waited_for():
    async with serving() as world, RawPeer.connected(world.port) as peer:
        peer.headers(1, b"/test.Echo/Say")
        assert b"not authenticated" in await peer.received(b"not authenticated")


async def test_where_nobody_can_be_asked_nobody_gets_in(canary_free):
    async with serving() as world:
        world.access.failing = True
        for _ in range(3):
            answer = await world.ask("Say")
            assert answer == (grpc.StatusCode.UNAVAILABLE, "access cannot be checked right now")
    assert [line["reason"] for line in canary_free] == ["the API server is away"]


async def test_health_is_told_to_anybody():
    async with serving() as world:
        assert await world.ask(HEALTH, token=None) == (OK, b"\x08\x01")
        assert world.access.asked == 0
        async with world.channel() as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            for service in ("", "test.Echo"):
                answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
                assert answer.status == answer.SERVING
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Check(health_pb2.HealthCheckRequest(service="none"))
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            world.server.serving(False)
            answer = await stub.Check(health_pb2.HealthCheckRequest())
            assert answer.status == answer.NOT_SERVING


async def test_whoever_watches_is_told_that_the_server_goes():
    async with serving(drain_seconds=0.2) as world, world.channel() as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        await world.server.__aexit__(None, None, None)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("path", ["/test.Echo/None", "/none.Of/These", "/", "//", "x"])
async def test_what_is_not_offered_is_not_there(path):
    async with serving() as world:
        code, _ = await world.ask(path if path.startswith("/") else f"/{path}")
        assert code is grpc.StatusCode.UNIMPLEMENTED


async def test_services_are_listed_only_where_that_is_switched_on_and_only_to_callers():
    method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    request = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    async with serving() as world:
        assert (await world.ask(method, request))[0] is grpc.StatusCode.UNIMPLEMENTED
    async with serving(reflection=True) as world:
        code, answer = await world.ask(method, request)
        assert code is OK
        listed = reflection_pb2.ServerReflectionResponse.FromString(answer).list_services_response.service
        assert "test.Echo" in [service.name for service in listed]
        assert await world.ask(method, request, token=None) == NOT_AUTHENTICATED
        assert (await world.ask(method, b"\xff"))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_service_cannot_be_asked_around_the_interceptor():
    with pytest.raises(TypeError, match="interceptor"):
        caller_of(object())


# --- what is told of failures


async def test_failures_are_told_without_their_text(canary_free):
    internal = (grpc.StatusCode.INTERNAL, "failed; the log of the server says more")
    async with serving() as world:
        assert await world.ask("Fail") == internal
        assert await world.ask("SlowInside") == internal
        assert world.seen.requests == [("Fail", "INTERNAL"), ("SlowInside", "INTERNAL")]
        code, text = await world.ask("Unsendable")
        assert (code, CANARY in str(text)) == (grpc.StatusCode.INTERNAL, False)
    told = [(line["event"], line["exc_type"]) for line in canary_free]
    assert told == [("request failed", "ValueError"), ("request failed", "TimeoutError")]


async def test_a_request_that_cannot_be_read_is_the_clients_fault():
    async with serving() as world:
        assert await world.ask("Picky") == (grpc.StatusCode.INVALID_ARGUMENT, "the request cannot be read")


async def test_a_request_without_a_message_is_the_clients_fault():
    async with serving() as world, RawPeer.connected(world.port) as peer:
        peer.headers(1, b"/test.Echo/Say", LOGIN)
        peer.writer.write(frame(0, 1, 1, b""))
        assert b"has no message" in await peer.received(b"has no message")


async def test_not_allowed_and_not_there_are_one_answer():
    async with serving() as world:
        assert await world.ask("Refuse") == (grpc.StatusCode.PERMISSION_DENIED, "not allowed, or not there")
        assert await world.ask("NotFound") == (grpc.StatusCode.NOT_FOUND, "no such page")
        assert world.seen.requests == [("Refuse", "PERMISSION_DENIED"), ("NotFound", "NOT_FOUND")]


# --- how it starts and stops


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:8443"])
async def test_plain_text_is_for_loopback_only(listen):
    with pytest.raises(CannotServe, match="not a loopback address: a certificate is needed"):
        async with serving(listen=listen):
            pass


@pytest.mark.parametrize(
    "listen",
    ["", "127.0.0.1", ":0", "127.0.0.1:x", "127.0.0.1:65536", "example.com:443", "unix:/tmp/x", "127.1:0"],
)
async def test_an_address_that_is_none_is_told(listen):
    with pytest.raises(CannotServe, match="cannot listen on"):
        async with serving(listen=listen):
            pass


async def test_access_without_a_login_is_for_loopback_only(tmp_path):
    tls = TlsFiles(certificate=tmp_path / "tls.crt", key=tmp_path / "tls.key")
    with pytest.raises(CannotServe, match="access must not be `loopback`"):
        async with serving(
            LoopbackAccess(LoopbackAccessOptions(sensitive=True)), listen="0.0.0.0:0", tls=tls
        ):
            pass


@pytest.mark.parametrize("listen", ["localhost:0", "127.0.0.2:0", "127.0.0.1:0"])
async def test_loopback_addresses_need_no_certificate(listen):
    async with serving(LoopbackAccess(LoopbackAccessOptions()), listen=listen) as world:
        assert world.port > 0


async def test_on_loopback_nobody_has_to_log_in():
    async with serving(LoopbackAccess(LoopbackAccessOptions())) as world:
        assert await world.ask("Who", token=None) == (OK, b"loopback")
        assert await world.ask("Who", token=CANARY) == (OK, b"loopback")


async def test_a_port_that_is_taken_is_told():
    async with serving() as world:
        with pytest.raises(CannotServe, match=f"cannot listen on 127.0.0.1:{world.port}: in use"):
            async with serving(listen=f"127.0.0.1:{world.port}"):
                pass


async def test_what_is_being_answered_is_finished_before_it_stops():
    async with serving() as world, world.channel() as channel:
        waiting = asyncio.create_task(ask(channel, "Wait"))
        await until(lambda: world.echo.inside)
        stopping = asyncio.create_task(world.server.__aexit__(None, None, None))
        await until_code(world, grpc.StatusCode.UNAVAILABLE)
        assert not waiting.done()
        world.echo.let_go.set()
        assert await waiting == (OK, b"done")
        await asyncio.wait_for(stopping, DEADLINE)


async def test_it_stops_in_time_whatever_is_left():
    async with serving(drain_seconds=0.2) as world, world.channel() as channel:
        waiting = asyncio.create_task(ask(channel, "Wait"))
        await until(lambda: world.echo.inside)
        started = time.monotonic()
        await world.server.__aexit__(None, None, None)
        assert time.monotonic() - started < 3.0
        assert (await waiting)[0] in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
        await until(lambda: world.echo.ended == ["cancelled"])
    await until(lambda: api_threads() == 0)


async def test_tokens_are_known_by_their_whole():
    async with serving(TokenAccess(good="alice", goo="bob")) as world:
        assert [await world.ask("Who", token=token) for token in ("good", "goo")] == [
            (OK, b"alice"),
            (OK, b"bob"),
        ]
        assert await world.ask("Who", token="go") == NOT_AUTHENTICATED
