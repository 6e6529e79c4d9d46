"""Servers that speak no Vault: one thread that does to each connection what a test says."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from backends.clients.surroundings import Surroundings


def surroundings(**environ: str) -> Surroundings:
    return Surroundings(folder=Path("/"), environ=environ)


Act = Callable[[socket.socket, bytes], None]


@contextmanager
def stranger(act: Act, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that does this on each connection, with the request it read."""
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def serve() -> None:
        while not done.is_set():
            with suppress(OSError):
                connection, _ = listener.accept()
                with (
                    connection,
                    tls.wrap_socket(connection, server_side=True) if tls else connection as talking,
                ):
                    act(talking, request_from(talking))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        done.set()
        with suppress(OSError):
            socket.create_connection(listener.getsockname(), timeout=5).close()
        listener.close()
        thread.join(10)


def request_from(connection: socket.socket) -> bytes:
    connection.settimeout(5)
    found = b""
    while b"\r\n\r\n" not in found:
        piece = connection.recv(65536)
        if not piece:
            break
        found += piece
    return found


def http(status: str, body: str = "", *headers: str, length: int | None = None) -> bytes:
    head = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(body) if length is None else length}",
        "Connection: close",
    ]
    return ("\r\n".join([*head, *headers]) + "\r\n\r\n" + body).encode()


def sends(content: bytes) -> Act:
    return lambda connection, _: connection.sendall(content)


def resets(connection: socket.socket, _: bytes) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
