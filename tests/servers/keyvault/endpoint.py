"""A thread with an event loop, and HTTP(S) servers in it that a test can close and open again.

What is answered is not known here. Everything public may be called from any thread but the loop's own.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from aiohttp import web

from tests.servers.connections import all_closed
from tests.servers.keyvault.faults import Action, Answer, Call, Delay, Drop, Hold

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
T = TypeVar("T")

_SECONDS = 30


class LoopThread:
    """An event loop of its own in a daemon thread."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs it there and waits for its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(_SECONDS)

    def stop(self) -> None:
        """Ends what still runs there, then the thread."""
        self.run(_cancel_others())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_SECONDS)
        self.loop.close()


class Endpoint:
    """One address; the port is chosen when it is first opened, and stays."""

    def __init__(self, thread: LoopThread, handler: Handler, tls: ssl.SSLContext | None) -> None:
        self.port = 0
        self._thread = thread
        self._handler = handler
        self._tls = tls
        self._runner: web.ServerRunner | None = None
        self.open()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def open(self) -> None:
        """Listens, again after a `close`."""
        if self._runner is None:
            self._thread.run(self._open())

    def close(self) -> None:
        """Breaks every connection; from now on new ones are refused."""
        if self._runner is not None:
            self._thread.run(self._close())

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Inside the block nobody listens."""
        self.close()
        try:
            yield
        finally:
            self.open()

    async def _open(self) -> None:
        server = web.Server(self._handler, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=0.05)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=self._tls)
        await site.start()
        self._runner, self.port = runner, runner.addresses[0][1]

    async def _close(self) -> None:
        assert self._runner is not None
        runner, self._runner = self._runner, None
        await runner.cleanup()


async def answered(
    request: web.BaseRequest, action: Action | None, apply: Callable[[], web.Response]
) -> web.Response | None:
    """The answer to a request that a fault may strike; None when its connection was dropped."""
    match action:
        case Answer():
            return _written(action)
        case Drop(applied=False):
            _drop(request)
            return None
        case Delay(seconds):
            await asyncio.sleep(seconds)
        case Hold(applied=False):
            await _released(action)
        case Call(function, applied=False):
            function()
    response = apply()
    match action:
        case Drop(applied=True):
            _drop(request)
            return None
        case Hold(applied=True):
            await _released(action)
        case Call(function, applied=True):
            function()
    return response


def _written(answer: Answer) -> web.Response:
    headers = dict(answer.headers)
    if isinstance(answer.body, str):
        return web.Response(
            status=answer.status, text=answer.body, content_type=answer.content_type, headers=headers
        )
    return web.json_response(answer.body, status=answer.status, headers=headers)


def _drop(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _released(hold: Hold) -> None:
    hold.reached.set()
    await asyncio.shield(asyncio.wrap_future(hold.released))


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await all_closed()
