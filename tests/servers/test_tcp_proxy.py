"""The TCP proxy, with both of its ends in the test's own hands; and before a real API server, through TLS."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.servers.kube_client import KubeClient
from tests.servers.kubernetes import KubeCluster
from tests.servers.processes import free_port
from tests.servers.tcp_proxy import TcpProxy

SECONDS = 10
LARGE = bytes(range(256)) * 8192


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(SECONDS)
        yield listening


@pytest.fixture
def proxy(server: socket.socket) -> Iterator[TcpProxy]:
    proxy = TcpProxy.start("127.0.0.1", server.getsockname()[1])
    yield proxy
    proxy.stop()


def connect(proxy: TcpProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=SECONDS)


@contextmanager
def joined(proxy: TcpProxy, server: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client, and the server's end of its connection."""
    with connect(proxy) as client:
        peer, _ = server.accept()
        peer.settimeout(SECONDS)
        # The proxy may not know yet that the server has taken it.
        eventually(lambda: all(connection.server for connection in tuple(proxy._connections)))
        with peer:
            yield client, peer


def read(source: socket.socket, count: int | None = None) -> bytes:
    """So many bytes, or all to the end."""
    found = b""
    while (count is None or len(found) < count) and (piece := source.recv(65536)):
        found += piece
    return found


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def has_nothing(source: socket.socket) -> bool:
    """Neither bytes nor a hang-up have come."""
    source.setblocking(False)
    try:
        source.recv(1)
    except BlockingIOError:
        return True
    finally:
        source.settimeout(SECONDS)
    return False


def is_reset(source: socket.socket) -> bool:
    try:
        source.recv(1)
    except ConnectionResetError:
        return True
    return False


def resets_newcomers(proxy: TcpProxy) -> bool:
    try:
        with connect(proxy) as client:
            return is_reset(client)
    except ConnectionResetError:  # quicker than `connect` returned
        return True


def break_off(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_bytes_and_hang_ups_pass_both_ways_and_are_counted(proxy: TcpProxy, server: socket.socket) -> None:
    with joined(proxy, server) as (client, peer):
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert read(peer) == b"question"
        peer.sendall(LARGE[:100_000])
        peer.close()
        assert read(client) == LARGE[:100_000]
    eventually(lambda: proxy.open == 0)
    counts = proxy.counts
    assert (counts.connections, counts.to_server, counts.to_client, counts.lost) == (1, 8, 100_000, 0)


def test_a_client_that_breaks_off_breaks_the_servers_connection(
    proxy: TcpProxy, server: socket.socket
) -> None:
    with joined(proxy, server) as (client, peer):
        break_off(client)
        assert is_reset(peer)


def test_a_black_hole_swallows_what_comes_from_either_side(proxy: TcpProxy, server: socket.socket) -> None:
    with joined(proxy, server) as (client, peer), joined(proxy, server) as (idle, idle_peer):
        with proxy.black_hole():
            client.sendall(b"question")
            peer.sendall(b"answer")
            eventually(lambda: proxy.counts.lost == 14)
        assert has_nothing(client)
        assert has_nothing(peer)
        client.sendall(b"again")
        eventually(lambda: proxy.counts.lost == 19)
        assert has_nothing(peer)
        idle.sendall(b"question")
        assert read(idle_peer, 8) == b"question"


def test_a_black_hole_accepts_whoever_comes_and_never_answers(proxy: TcpProxy, server: socket.socket) -> None:
    server.settimeout(0)
    with proxy.black_hole(), connect(proxy) as client:
        client.sendall(b"question")
        eventually(lambda: proxy.counts.lost == 8)
        with pytest.raises(BlockingIOError):
            server.accept()
    eventually(lambda: proxy.open == 0)


@pytest.mark.parametrize("leave", [socket.socket.close, break_off])
def test_in_a_black_hole_nobody_sees_the_other_leave(
    proxy: TcpProxy, server: socket.socket, leave: Callable[[socket.socket], None]
) -> None:
    with joined(proxy, server) as (client, peer), joined(proxy, server) as (other, other_peer):
        with proxy.black_hole():
            leave(client)
            other_peer.sendall(b"last")
            other_peer.close()
            peer.sendall(b"answer")
            eventually(lambda: proxy.counts.lost == 10)
        assert has_nothing(peer)
        assert has_nothing(other)
        assert proxy.open == 2


@pytest.mark.parametrize("leave", [socket.socket.close, break_off])
def test_half_open_the_server_is_never_told_that_a_client_left(
    proxy: TcpProxy, server: socket.socket, leave: Callable[[socket.socket], None]
) -> None:
    with joined(proxy, server) as (client, peer):
        with proxy.half_open():
            client.sendall(b"question")
            assert read(peer, 8) == b"question"
            peer.sendall(b"answer")
            assert read(client, 6) == b"answer"
            leave(client)

            def swallowed() -> bool:
                peer.sendall(b"more")
                return proxy.counts.lost > 0

            eventually(swallowed)
        assert has_nothing(peer)
        assert proxy.open == 1
    eventually(lambda: proxy.open == 0)


def test_delayed_pieces_take_so_long(proxy: TcpProxy, server: socket.socket) -> None:
    with joined(proxy, server) as (client, peer), proxy.delayed(0.2):
        began = time.monotonic()
        client.sendall(b"question")
        assert read(peer, 8) == b"question"
        assert time.monotonic() - began >= 0.2
        peer.sendall(b"answer")
        assert read(client, 6) == b"answer"
        assert time.monotonic() - began >= 0.4


def test_delayed_pieces_come_when_the_delay_ends(proxy: TcpProxy, server: socket.socket) -> None:
    with joined(proxy, server) as (client, peer):
        with proxy.delayed(3600):
            client.sendall(b"question")
            with joined(proxy, server):
                assert has_nothing(peer)
        assert read(peer, 8) == b"question"


def test_answers_are_cut_after_so_many_bytes_of_each_connection(
    proxy: TcpProxy, server: socket.socket
) -> None:
    with joined(proxy, server) as (old, old_peer):
        old_peer.sendall(b"before")
        assert read(old, 6) == b"before"
        with proxy.cut_after(70_000):
            old_peer.sendall(LARGE[:69_999])
            assert read(old, 69_999) == LARGE[:69_999]
            assert has_nothing(old)
            old_peer.sendall(b"xyz")
            assert read(old) == b"x"
            with joined(proxy, server) as (new, new_peer):
                new.sendall(b"question")
                assert read(new_peer, 8) == b"question"
                new_peer.sendall(LARGE[:70_001])
                assert read(new) == LARGE[:70_000]


def test_all_connections_can_be_reset_once(proxy: TcpProxy, server: socket.socket) -> None:
    with joined(proxy, server) as (client, peer):
        proxy.reset_connections()
        assert is_reset(client)
        assert is_reset(peer)
    with joined(proxy, server) as (client, peer):
        client.sendall(b"question")
        assert read(peer, 8) == b"question"


def test_while_it_resets_everybody_is_reset(proxy: TcpProxy, server: socket.socket) -> None:
    with joined(proxy, server) as (client, peer):
        with proxy.resetting():
            assert is_reset(client)
            assert is_reset(peer)
            assert resets_newcomers(proxy)
        with joined(proxy, server):
            assert proxy.open == 1


def test_while_it_refuses_nobody_listens_and_then_the_same_port_does(
    proxy: TcpProxy, server: socket.socket
) -> None:
    port = proxy.port
    with joined(proxy, server) as (client, peer), proxy.refusing():
        assert is_reset(client)
        assert is_reset(peer)
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
    with joined(proxy, server) as (client, peer):
        assert client.getpeername()[1] == port
        client.sendall(b"question")
        assert read(peer, 8) == b"question"


def test_after_a_mode_comes_the_one_before_it(proxy: TcpProxy, server: socket.socket) -> None:
    with proxy.cut_after(3):
        with proxy.delayed(0), joined(proxy, server) as (client, peer):
            peer.sendall(b"answer")
            assert read(client, 6) == b"answer"
        with joined(proxy, server) as (client, peer):
            peer.sendall(b"answer")
            assert read(client) == b"ans"


def test_an_upstream_that_is_not_there_breaks_the_connection() -> None:
    proxy = TcpProxy.start("127.0.0.1", free_port())
    assert resets_newcomers(proxy)
    proxy.stop()


def test_it_stops_with_connections_in_every_state(server: socket.socket) -> None:
    proxy = TcpProxy.start("127.0.0.1", server.getsockname()[1])
    with joined(proxy, server) as (client, peer), joined(proxy, server) as (slow, slow_peer):
        slow_peer.settimeout(0)
        with pytest.raises(BlockingIOError):  # the slow client reads nothing
            slow_peer.sendall(LARGE * 32)
        with proxy.delayed(3600):
            client.sendall(b"question")
            proxy.stop()
        assert is_reset(client)
        assert is_reset(peer)
        with pytest.raises(ConnectionResetError):
            read(slow)


def test_tls_passes_through_to_kubernetes(kube_cluster: KubeCluster) -> None:
    proxy = TcpProxy.start("127.0.0.1", kube_cluster.port)
    client = KubeClient(f"https://127.0.0.1:{proxy.port}", kube_cluster.ca_file, kube_cluster.tokens["admin"])
    found = client.get("v1", "Namespace", "default")
    assert found is not None
    assert found["metadata"]["name"] == "default"
    assert proxy.counts.to_client > 1000
    proxy.stop()
