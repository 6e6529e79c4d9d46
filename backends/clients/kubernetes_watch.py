"""Watching a list of the API server: what changes from now on, and when something was missed.

Metadata only. Where a watch goes wrong in any way (410, an error among the events, a line that is no
event, a connection that broke or fell silent) it begins anew and says so, instead of guessing what came
meanwhile. Keeps no objects: whoever wants to know what there is reads it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from backends.clients.kubernetes import Json, KubernetesClient
from backends.clients.kubernetes_errors import Call, no_answer, read_answer, refusal
from backends.errors import Forbidden, SinkError

_KEPT: Final = ("namespace", "name", "uid", "resourceVersion")
_TOO_SOON: Final = 0.5
"""Seconds: a watch that is ended sooner is not what was asked for, and would be asked for without end."""
_LONGEST_WAIT: Final = 300.0
"""Seconds that are waited at most where the server names the pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long one watch lasts, and how long to wait after a failure; the times are seconds."""

    lasting: float = 60.0
    """Then, a random part of up to a quarter sooner, the server ends it; the next one goes on from there."""
    margin: float = 10.0
    """What is waited longer than that; then the server counts as gone."""
    first_pause: float = 1.0
    """Doubles from one failure to the next; a random part of up to a half of a pause is left out."""
    longest_pause: float = 30.0
    """Also how long it has to go well before pauses begin short again."""
    disbelief: float = 15.0
    """How long a missing right has to be missing: a server that just started knows no roles yet."""
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random

    def seconds(self) -> int:
        """How long the next watch is to last."""
        return max(1, round(self.lasting * (1 - self.random() / 4)))


@dataclass(frozen=True, slots=True)
class Began:
    """From here on every change is told; of what came before, anything may be missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """An object was created or changed, or (`gone`) deleted or is no longer selected."""

    metadata: Mapping[str, str]
    """Its namespace, name, uid and resourceVersion; annotations may quote values, so none is kept."""
    gone: bool

    @property
    def version(self) -> str:
        return self.metadata["resourceVersion"]


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Nothing happened; the next watch may begin here."""

    version: str


class KubernetesWatch:
    """One list, watched. `params` are the query's (`labelSelector`)."""

    def __init__(
        self, client: KubernetesClient, path: str, params: Mapping[str, str], pace: Pace | None = None
    ) -> None:
        self._client = client
        self._call = Call("GET", path)
        self._params = params
        self._pace = pace or Pace()

    async def events(self) -> AsyncGenerator[Began | Happened, None]:
        """Without end: begins with `Began`, and again after every failure. Raises `Forbidden` only."""
        troubles = Troubles(self._pace)
        while True:
            try:
                async with aclosing(self._until_failure()) as events:
                    async for event in events:
                        if isinstance(event, Began):
                            troubles.over()
                        yield event
            except SinkError as error:
                await self._pace.sleep(troubles.pause(error))

    async def _until_failure(self) -> AsyncGenerator[Began | Happened, None]:
        version, begun = await self._client.list_version(self._call.path, self._params), False
        while True:
            started = self._pace.clock()
            async with self._watch(version) as lines:
                if not begun:
                    yield Began()
                begun = True
                async for line in lines:
                    event = read_event(self._call, line)
                    version = event.version
                    if isinstance(event, Happened):
                        yield event
            if self._pace.clock() - started < _TOO_SOON:
                raise no_answer(self._call, sent=True, why="the watch was ended at once")

    @asynccontextmanager
    async def _watch(self, version: str) -> AsyncIterator[AsyncIterator[Json]]:
        """One watch from this version on."""
        seconds = self._pace.seconds()
        asked = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(seconds)}
        query = {**self._params, **asked, "resourceVersion": version}
        try:
            async with self._client.watch(
                self._call.path, query, seconds=seconds + self._pace.margin
            ) as lines:
                yield lines
        except Forbidden:
            raise Forbidden(f"the right to watch {self._call.scope} is missing") from None


class Troubles:
    """The failures of one watch, one after another."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._count = 0
        self._well_since: float | None = None
        self._denied_since: float | None = None

    def over(self) -> None:
        """It works again."""
        self._well_since, self._denied_since = self._pace.clock(), None

    def pause(self, error: SinkError) -> float:
        """How long to wait after this failure; raises it where it is to be believed."""
        now, pace = self._pace.clock(), self._pace
        if isinstance(error, Forbidden):
            self._denied_since = now if self._denied_since is None else self._denied_since
            if now - self._denied_since >= pace.disbelief:
                raise error
        else:
            self._denied_since = None
        if self._well_since is not None and now - self._well_since > pace.longest_pause:
            self._count = 0
        self._well_since = None
        usual = min(pace.longest_pause, pace.first_pause * 2.0 ** min(self._count, 30))
        self._count += 1
        return max(usual * (1 - pace.random() / 2), min(_LONGEST_WAIT, error.retry_after or 0.0))


def read_event(call: Call, line: Json) -> Bookmark | Happened:
    """What one line of a watch says. Raises a `SinkError` for an error among the events, and for no event."""
    match line:
        case {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(version)}}} if version:
            return Bookmark(version)
        case {"type": "ADDED" | "MODIFIED" | "DELETED" as kind, "object": {"metadata": {**metadata}}}:
            kept = {name: text for name in _KEPT if (text := metadata.get(name)) and isinstance(text, str)}
            if len(kept) == len(_KEPT):
                return Happened(metadata=kept, gone=kind == "DELETED")
        case {"type": "ERROR", "object": {"code": int(code), **rest}}:
            raise refusal(call, read_answer(code, {"code": code, **rest}, None))
    raise no_answer(call, sent=True, why="a line of the watch is no event")
