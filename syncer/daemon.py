"""`syncer run` and `syncer api` as processes: signals, reloading the configuration, and an end in good order.

What is done while it runs is `engine.terms`' business.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from syncer.config.errors import ConfigError
from syncer.config.model import Config
from syncer.engine.garbage import seldom_collected

_LOOK: Final = 5.0
"""Seconds between two looks whether the configuration's files have changed."""


class Served(Protocol):
    """What a process does for ever."""

    async def serve(self, config: Config) -> None:
        """With one configuration, until it is cancelled."""
        ...

    def reloaded(self, refusal: str | None) -> None:
        """The configuration was read anew: it is taken, or (with a reason) the old one stays."""
        ...


class Daemon:
    """`load` reads the configuration anew, and raises `ConfigError`."""

    def __init__(self, served: Served, config: Config, load: Callable[[], Config]) -> None:
        self._served = served
        self._config = config
        self._load = load
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; a second one ends the process at once."""
        self._take_signals()
        with seldom_collected():
            while not self._stop.is_set():
                await self._serve(self._config)

    async def _serve(self, config: Config) -> None:
        """With one configuration: until there is another one, or the end has come."""
        work = asyncio.create_task(self._served.serve(config))
        others = [asyncio.create_task(self._stop.wait()), asyncio.create_task(self._changed(config))]
        await asyncio.wait([work, *others], return_when=asyncio.FIRST_COMPLETED)
        for task in (work, *others):
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        with suppress(asyncio.CancelledError):
            await work

    async def _changed(self, config: Config) -> None:
        """Returns once there is another configuration, and a good one."""
        before = await asyncio.to_thread(_digest, config.files)
        while True:
            await self._a_while()
            now = await asyncio.to_thread(_digest, config.files)
            if now != before or self._reload.is_set():
                self._reload.clear()
                before = now
                if await self._loaded():
                    return

    async def _loaded(self) -> bool:
        try:
            self._config = await asyncio.to_thread(self._load)
        except ConfigError as error:
            self._served.reloaded(str(error))
            return False
        self._served.reloaded(None)
        return True

    async def _a_while(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK):
                await self._reload.wait()

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)

    def _end(self, number: int) -> None:
        if self._stop.is_set():
            os._exit(128 + number)
        self._stop.set()


def _digest(files: Sequence[Path]) -> str:
    """Changes with the content of these files; of folders, and of what cannot be read, with nothing."""
    digest = hashlib.sha256()
    for path in files:
        content = b""
        if path.is_file():
            with suppress(OSError):
                content = path.read_bytes()
        digest.update(f"{path}\0{len(content)}\0".encode("utf-8", "surrogateescape"))
        digest.update(content)
    return digest.hexdigest()
