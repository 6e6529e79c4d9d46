"""What stands before every service: who is it, is there room, is there time; what is told of failures.

Everything but health checks needs a known caller, and needs one before its request is even read. What a
caller may is asked by the services themselves. Statuses have constant texts: an exception's own could quote
a value.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NoReturn, cast

import grpc
import structlog

from syncer.api.access import Access, AccessUnavailable
from syncer.api.bridge import DeadlinePassed, Errand, Gone
from syncer.api.callers import Caller
from syncer.api.credentials import Malformed, read_credentials
from syncer.api.observer import ApiObserver

DENIED: Final = "not allowed, or not there"
"""The one text for both."""
_UNKNOWN: Final = "not authenticated"
_HEALTH: Final = "/grpc.health.v1.Health/"
_COMPLAINT_SECONDS: Final = 10.0
HEALTH_CHECKS: Final = 16
"""Answered at the same time; apart from the requests of callers, so that neither can crowd out the other."""


_Tls = Mapping[str, Sequence[bytes]]
"""What `auth_context` gives; the library's types have it wrong."""


class Refusal(Exception):
    """Ends a request with this status. The text goes to the client as it is."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class RequestContext:
    """What a service gets as its context: in place of gRPC's own, of which it is a part."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    async def abort(self, code: grpc.StatusCode, details: str = "") -> NoReturn:
        """End the request with this status."""
        raise Refusal(code, details)


def caller_of(context: object) -> Caller:
    """Who makes the request that a service was given this context for."""
    if not isinstance(context, RequestContext):
        raise TypeError("the request did not come through the interceptor")
    return context.caller


async def deny(context: grpc.aio.ServicerContext[Any, Any]) -> NoReturn:
    """End the request for want of a right, or of the thing that was asked for: both look alike."""
    await context.abort(grpc.StatusCode.PERMISSION_DENIED, DENIED)
    raise AssertionError  # abort always raises


@dataclass(frozen=True, slots=True, kw_only=True)
class _Method:
    name: str
    handler: grpc.RpcMethodHandler[Any, Any]

    @property
    def is_open(self) -> bool:
        return self.name.startswith(_HEALTH)

    @property
    def behaviour(self) -> Callable[[Any, Any], Any]:
        one = self.handler
        found = one.unary_unary or one.unary_stream or one.stream_unary or one.stream_stream
        assert found is not None
        return found


class AccessInterceptor(grpc.ServerInterceptor):
    """Lets known callers through to services whose methods are coroutines of `loop`.

    NB: every method is served as one that takes and gives streams, whatever it is. The wire shows no
    difference, and so the caller is known, and the clock runs, before a message is waited for.
    """

    def __init__(
        self,
        access: Access,
        observer: ApiObserver,
        loop: asyncio.AbstractEventLoop,
        *,
        requests: int,
        request_seconds: float,
    ) -> None:
        self._access = access
        self._observer = observer
        self._loop = loop
        self._request_seconds = request_seconds
        self._next_complaint = 0.0
        self._rooms = {False: _Room(requests), True: _Room(HEALTH_CHECKS)}
        self._log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("syncer.api")

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        method = _Method(name=handler_call_details.method, handler=handler)
        return grpc.stream_stream_rpc_method_handler(
            partial(self._serve, method), response_serializer=handler.response_serializer
        )

    def _serve(
        self, method: _Method, messages: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[Any]:
        """One request, from its first to its last moment, in a thread of its own."""
        started = time.monotonic()
        code = grpc.StatusCode.CANCELLED  # as it stays where the client is gone
        try:
            yield from self._answers(method, messages, context)
            code = context.code() or grpc.StatusCode.OK  # type: ignore[attr-defined]  # untyped upstream
        except Gone:
            return
        except Exception as error:  # noqa: BLE001  # its text could quote anything
            refusal = self._refusal(method, error)
            code = refusal.code
            # NB: it leads back here, and a request that is kept until garbage is collected keeps its place
            # on the connection, too: gRPC refuses whatever comes there after `Limits.streams` of them.
            error.__traceback__ = None
            context.abort(refusal.code, refusal.text)
        finally:
            self._observer.request(method.name, code.name, time.monotonic() - started)

    def _answers(
        self, method: _Method, messages: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[Any]:
        with (
            self._rooms[method.is_open].taken(),
            Errand(self._loop, context, seconds=self._request_seconds) as errand,
        ):
            caller = None if method.is_open else errand.run(self._admitted(context))
            request: Any = _parsed(method, messages)
            if not method.handler.request_streaming:
                request = _only(request, context, errand)
            if inspect.iscoroutinefunction(method.behaviour):
                assert caller is not None
                yield errand.run(method.behaviour(request, RequestContext(caller)))
            elif method.handler.response_streaming:
                yield from method.behaviour(request, context)
            else:
                yield method.behaviour(request, context)
            if errand.is_cut:
                raise Gone

    async def _admitted(self, context: grpc.ServicerContext) -> Caller:
        try:
            tls = cast("_Tls", context.auth_context())
            credentials = read_credentials(context.invocation_metadata() or (), tls)
        except Malformed:
            raise Refusal(grpc.StatusCode.UNAUTHENTICATED, _UNKNOWN) from None
        caller = await self._access.caller(credentials)
        if caller is None:
            raise Refusal(grpc.StatusCode.UNAUTHENTICATED, _UNKNOWN)
        return caller

    def _refusal(self, method: _Method, error: Exception) -> Refusal:
        match error:
            case Refusal():
                return error
            case DeadlinePassed():
                return Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "it took too long")
            case AccessUnavailable():
                self._complain(error.reason)
                return Refusal(grpc.StatusCode.UNAVAILABLE, "access cannot be checked right now")
            case _:
                self._log.error("request failed", method=method.name, exc_type=type(error).__name__)
                return Refusal(grpc.StatusCode.INTERNAL, "failed; the log of the server says more")

    def _complain(self, reason: str) -> None:
        """Not of each request: whoever likes can send many."""
        now = time.monotonic()
        if now >= self._next_complaint:
            self._next_complaint = now + _COMPLAINT_SECONDS
            self._log.warning("access cannot be checked", reason=reason)


class _Room:
    """For so many requests at a time."""

    def __init__(self, places: int) -> None:
        self._places = threading.BoundedSemaphore(places)

    @contextmanager
    def taken(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests at the same time")
        try:
            yield
        finally:
            self._places.release()


def _parsed(method: _Method, messages: Iterator[bytes]) -> Iterator[Any]:
    parse = method.handler.request_deserializer or bytes
    while True:
        try:
            message = next(messages, None)
        except grpc.RpcError:  # so it is when the client went, or was cut off
            raise Gone from None
        if message is None:
            return
        try:
            request = parse(message)
        except Exception:  # noqa: BLE001  # whatever a library says of what is no message
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "the request cannot be read") from None
        yield request


def _only(requests: Iterator[Any], context: grpc.ServicerContext, errand: Errand) -> Any:
    """The one message of a request that has one."""
    for request in requests:
        return request
    if errand.is_cut or not context.is_active():
        raise Gone
    raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "the request has no message")
