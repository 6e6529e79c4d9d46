"""The gRPC server: its address, its limits, health checks, reflection, and how it stops.

Knows no service but those two; `Service`s are handed in. Encryption is left out only on a loopback address.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from syncer.api.access import Access
from syncer.api.certificates import CertificateAccess
from syncer.api.interceptor import HEALTH_CHECKS, AccessInterceptor
from syncer.api.loopback import LoopbackAccess
from syncer.api.observer import ApiObserver
from syncer.api.options import ApiOptions, CannotServe, Limits
from syncer.api.tls import TlsUnusable, server_credentials

_Option = tuple[str, int]

_KEEPALIVE_MS: Final = 60_000
_KEEPALIVE_TIMEOUT_MS: Final = 20_000
_PING_INTERVAL_MS: Final = 30_000
_PING_STRIKES: Final = 2
_HANDSHAKE_MS: Final = 10_000
_IDLE_MS: Final = 300_000
_METADATA_BYTES: Final = 24 * 1024
"""Room for the longest token, so that its refusal is ours, and the same as that of any other."""
_METADATA_MOST_BYTES: Final = 32 * 1024
_IDENTITY_ONLY: Final = 1
"""A bit set of compressions: a small request must not become a big one."""
_CUT_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service that is offered. Its methods are coroutines that take one message and give one."""

    name: str
    """With its package, as health checks and reflection call it."""
    register: Callable[[Any], None]
    """Adds it to a server: `lambda server: add_XServicer_to_server(x, server)`."""


class ApiServer:
    """Serves while it is entered; entering raises `CannotServe`."""

    def __init__(
        self, options: ApiOptions, services: Sequence[Service], *, access: Access, observer: ApiObserver
    ) -> None:
        self._options = options
        self._services = services
        self._access = access
        self._observer = observer
        self._health = health.HealthServicer(experimental_non_blocking=False)
        self._threads: ThreadPoolExecutor
        self._server: grpc.Server
        self.port: int
        """The port it listens on."""

    async def __aenter__(self) -> Self:
        _silence_library()
        address = _address(self._options, self._access)
        limits = self._options.limits
        interceptor = AccessInterceptor(
            self._access,
            self._observer,
            asyncio.get_running_loop(),
            requests=limits.requests,
            request_seconds=limits.request_seconds,
        )
        self._threads = ThreadPoolExecutor(limits.requests + HEALTH_CHECKS, thread_name_prefix="api")
        self._server = grpc.server(
            self._threads,
            interceptors=[interceptor],
            options=_channel_options(limits),
            # NB: no more than there are threads: what waited for one would wait without a deadline.
            maximum_concurrent_rpcs=limits.requests + HEALTH_CHECKS,
        )
        self._register()
        self.port = self._listen(address)
        self._server.start()
        self.serving(True)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Says that it goes, lets what is being answered finish for a while, and cuts off the rest."""
        drain = self._options.limits.drain_seconds
        self._health.enter_graceful_shutdown()
        stopped = self._server.stop(drain)
        await asyncio.to_thread(stopped.wait, drain + _CUT_SECONDS)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def serving(self, yes: bool) -> None:  # noqa: FBT001  # a fact, not an option
        """What health checks say from now on, until the server stops."""
        status = health_pb2.HealthCheckResponse
        for name in ("", *(service.name for service in self._services)):
            self._health.set(name, status.SERVING if yes else status.NOT_SERVING)

    def _register(self) -> None:
        for service in self._services:
            service.register(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if self._options.reflection:
            names = [*(service.name for service in self._services), health.SERVICE_NAME]
            reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], self._server)

    def _listen(self, address: str) -> int:
        tls = self._options.tls
        try:
            if tls is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, server_credentials(tls))
        except TlsUnusable as error:
            raise CannotServe(str(error)) from None
        except RuntimeError:
            raise CannotServe(f"cannot listen on {self._options.listen}: in use, or not ours") from None


def _address(options: ApiOptions, access: Access) -> str:
    """What to listen on, as gRPC takes it. Raises `CannotServe` where that would not be safe."""
    host, _, port = options.listen.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and int(port) < 2**16):
        raise CannotServe(f"cannot listen on {options.listen}: not of the form host:port")
    host = host.removeprefix("[").removesuffix("]")
    try:
        # NB: a name could mean any address by tomorrow; of this one alone everybody knows which it means.
        ip = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise CannotServe(f"cannot listen on {options.listen}: {host} is not an IP address") from None
    if isinstance(access, CertificateAccess) and (options.tls is None or options.tls.client_ca is None):
        raise CannotServe("access by `certificates` needs an authority for those of clients (tls)")
    if not ip.is_loopback:
        if options.tls is None:
            raise CannotServe(f"{options.listen} is not a loopback address: a certificate is needed (tls)")
        if isinstance(access, LoopbackAccess):
            raise CannotServe(f"{options.listen} is not a loopback address: access must not be `loopback`")
    return f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"  # noqa: PLR2004


def _channel_options(limits: Limits) -> list[_Option]:
    """What gRPC does by itself. Times are in milliseconds."""
    age = round(limits.connection_seconds * 1000)
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.enable_channelz", 0),
        ("grpc.max_receive_message_length", limits.receive_bytes),
        ("grpc.max_send_message_length", limits.send_bytes),
        ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_ONLY),
        ("grpc.max_metadata_size", _METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", _METADATA_MOST_BYTES),
        ("grpc.max_concurrent_streams", limits.streams),
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        ("grpc.max_connection_idle_ms", _IDLE_MS),
        ("grpc.max_connection_age_ms", age),
        ("grpc.max_connection_age_grace_ms", round(limits.request_seconds * 1000)),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", _PING_INTERVAL_MS),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _PING_INTERVAL_MS),
        ("grpc.http2.max_ping_strikes", _PING_STRIKES),
    ]


def _silence_library() -> None:
    """Keep grpc from logging: it logs metadata that is no UTF-8 with its value, errors with their text."""
    logging.getLogger("grpc").setLevel(logging.CRITICAL + 1)
