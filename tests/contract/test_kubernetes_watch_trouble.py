"""A watch of a server that answers nonsense, refuses or falls silent, on virtual time.

The server is a few lines that answer lists with a version and watches as each test says, over plain
HTTP: no API server can be made to answer so. What a real one does is in `test_kubernetes_watch.py`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from backends.clients.kubernetes_watch import Pace
from backends.contract import Owner, Seen, Version
from backends.errors import Forbidden
from backends.kubernetes_secret.options import KubernetesSinkOptions
from backends.kubernetes_secret.sink import KubernetesSecretSink
from tests.contract.test_kubernetes_client import http, kubeconfig

SECONDS = 30
EVERYTHING = Seen(address=None)
ENDED, CUT, SILENT = b"0\r\n\r\n", b"", None
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Watched:
    """How one watch is answered: bytes in pieces, and then it is ended, cut, or nothing comes any more."""

    pieces: tuple[bytes, ...] = ()
    ending: bytes | None = SILENT
    head: bytes = HEAD


class Server:
    """Answers the watches in turn; the one after the last is silent."""

    def __init__(self, watches: tuple[Watched, ...]) -> None:
        self._watches = iter(watches)
        self.asked: list[dict[str, str]] = []
        """The queries of the watches."""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            target = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            return writer.close()  # a client that has lost interest
        query = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
        if "watch" in query:
            self.asked.append(query)
            await self._watch(next(self._watches, Watched()), reader, writer)
        else:
            writer.write(
                http("200 OK", '{"kind": "PartialObjectMetadataList", "metadata": {"resourceVersion": "7"}}')
            )
        return writer.close()

    async def _watch(
        self, watched: Watched, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(watched.head)
        for piece in watched.pieces:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if watched.ending is None:
            await reader.read()
        else:
            writer.write(watched.ending)


class Time:
    """A clock on which sleeping takes no time and everything else takes `step`."""

    def __init__(self, step: float = 1.0) -> None:
        self.now, self.step = 1000.0, step
        self.pauses: list[float] = []
        self.enough = asyncio.Event()

    def clock(self) -> float:
        self.now += self.step
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)
        if len(self.pauses) >= 8:
            self.enough.set()
        await asyncio.sleep(0)

    @property
    def pace(self) -> Pace:
        return Pace(sleep=self.sleep, clock=self.clock, random=lambda: 0.0)


@asynccontextmanager
async def watching(
    folder: Path, *watches: Watched, pace: Pace | None = None
) -> AsyncIterator[tuple[AsyncIterator[Seen], Server]]:
    fake = Server(watches)
    async with await asyncio.start_server(fake.answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        login = kubeconfig(folder / "config", url, {}).kubeconfig
        options = KubernetesSinkOptions(kubeconfig=login)
        sink = KubernetesSecretSink(options, watch_pace=pace or Time().pace)
        async with sink, aclosing(sink.watch(Owner(instance="i", source="s"))) as changes:
            yield changes, fake


async def told(changes: AsyncIterator[Seen], count: int) -> list[Seen]:
    async with asyncio.timeout(SECONDS):
        return [await anext(changes) for _ in range(count)]


def line(kind: str, version: str = "8", **metadata: object) -> bytes:
    found = {"namespace": "shop", "name": "orders", "uid": "u", "resourceVersion": version} | metadata
    return json.dumps({"type": kind, "object": {"metadata": found}}).encode() + b"\n"


def error(**status: object) -> bytes:
    return json.dumps({"type": "ERROR", "object": {"kind": "Status", **status}}).encode() + b"\n"


def seen(version: str) -> Seen:
    return Seen(address="shop/orders", version=Version(f"u/{version}"))


# --- what is no watch is a gap


NONSENSE = {
    "forgotten": error(code=410, reason="Expired"),
    "failed": error(code=500),
    "a code that is none": error(code="410"),
    "no code": error(),
    "a page": b"<html>log in first</html>\n",
    "empty": b"\n",
    "a list": b"[]\n",
    "nothing": b"null\n",
    "no text": b"\xff\xfe\n",
    "too deep": b"[" * 100_000 + b"\n",
    "no event": b"{}\n",
    "unknown": line("REPLACED"),
    "no name": line("MODIFIED", name=None),
    "an odd uid": line("MODIFIED", uid=["u"]),
    "no namespace": line("DELETED", namespace=""),
    "a bookmark of nothing": line("BOOKMARK", version=""),
    "a line without end": b"x" * (4 * 1024 * 1024 + 1),
}


@pytest.mark.fault(29)
@pytest.mark.parametrize(
    ("nonsense", "ending"),
    [*((each, SILENT) for each in NONSENSE.values()), (line("ADDED", "9")[:-20], ENDED)],
    ids=[*NONSENSE, "cut"],
)
async def test_a_line_that_is_no_event_is_a_gap(tmp_path, nonsense, ending):
    first = Watched((line("ADDED"), nonsense), ending)
    async with watching(tmp_path, first, Watched((line("MODIFIED", "9"),))) as (changes, server):
        assert await told(changes, 1) == [EVERYTHING]
        found = await told(changes, 1)
        if found == [seen("8")]:  # otherwise the gap came before anybody had read it
            found = await told(changes, 1)
        assert found == [EVERYTHING]
        assert await told(changes, 1) == [seen("9")]
        assert [query["resourceVersion"] for query in server.asked] == ["7", "7"]


@pytest.mark.fault(29)
@pytest.mark.parametrize(
    "answer",
    [
        http("410 Gone", '{"kind": "Status", "reason": "Expired"}'),
        http("404 Not Found", "<html></html>"),
        http("400 Bad Request", ""),
        http("302 Found", "", "Location: http://127.0.0.1:1/login"),
        http("503 Service Unavailable", ""),
        http("200 OK", '{"kind": "SecretList"}'),
        b"",
        HEAD + b"zz\r\n",
    ],
)
async def test_a_watch_that_is_refused_begins_anew(tmp_path, answer):
    refused = Watched(head=answer, ending=CUT)
    working = Watched((line("ADDED"),))
    async with watching(tmp_path, refused, refused, working) as (changes, server):
        found = await told(changes, 2)
        while found[-1] == EVERYTHING:  # one that is opened and breaks then has been one
            found += await told(changes, 1)
        assert found[0] == EVERYTHING
        assert found[-1] == seen("8")
        assert len(server.asked) == 3


@pytest.mark.fault(29)
@pytest.mark.parametrize("pieces", [(), (line("ADDED"),)])
async def test_a_connection_that_is_cut_is_a_gap(tmp_path, pieces):
    async with watching(tmp_path, Watched(pieces, CUT), Watched((line("ADDED", "9"),))) as (changes, _):
        found = await told(changes, 2)
        while found[-1] != seen("9"):
            found += await told(changes, 1)
        assert [one for one in found if one != seen("8")] in (
            [EVERYTHING, EVERYTHING, seen("9")],
            [EVERYTHING, seen("9")],  # both gaps before anybody had read the first
        )


@pytest.mark.fault(29)
@pytest.mark.parametrize("head", [HEAD, b""])
async def test_a_silent_server_is_given_up_a_little_after_the_watch_was_to_end(tmp_path, head):
    pace = replace(Time().pace, lasting=1, margin=0.1)
    began = asyncio.get_running_loop().time()
    async with watching(tmp_path, Watched(head=head), Watched((line("ADDED"),)), pace=pace) as (changes, _):
        found = await told(changes, 2)
        while found[-1] != seen("8"):
            found += await told(changes, 1)
        assert found == ([EVERYTHING, EVERYTHING, seen("8")] if head else [EVERYTHING, seen("8")])
    assert 1.1 <= asyncio.get_running_loop().time() - began < 10


# --- what is one


async def test_the_next_watch_begins_where_the_last_one_ended(tmp_path):
    watches = (
        Watched((line("ADDED", "9"),), ENDED),
        Watched((line("BOOKMARK", "50"),), ENDED),
        Watched((), ENDED),
        Watched(
            (line("DELETED", "51"), line("ADDED", "52", name="other")),
        ),
    )
    async with watching(tmp_path, *watches) as (changes, server):
        found = await told(changes, 4)
        assert found == [
            EVERYTHING,
            seen("9"),
            Seen(address="shop/orders"),
            Seen(address="shop/other", version=Version("u/52")),
        ]
        assert [query["resourceVersion"] for query in server.asked] == ["7", "9", "50", "50"]
        common = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": "60"}
        selector = {"labelSelector": "outputs.porter.sh/instance=i"}
        assert {name: server.asked[0][name] for name in common | selector} == common | selector


async def test_lines_may_be_large_and_come_in_any_pieces(tmp_path):
    large = line("ADDED", annotations={"large": "x" * 1_000_000})
    both = large + line("MODIFIED", "9", name="other")
    pieces = tuple(both[at : at + 99_991] for at in range(0, len(both), 99_991))
    async with watching(tmp_path, Watched(pieces)) as (changes, _):
        other = Seen(address="shop/other", version=Version("u/9"))
        assert await told(changes, 3) == [EVERYTHING, seen("8"), other]


# --- how soon it is tried again


async def test_pauses_double_up_to_the_longest(tmp_path):
    time = Time(step=0.0)
    refusing = [Watched(head=http("503 Service Unavailable", ""), ending=CUT)] * 8
    async with watching(tmp_path, *refusing, pace=time.pace) as (changes, _):
        assert await told(changes, 1) == [EVERYTHING]
    assert time.pauses == [1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize("pieces", [(), (line("ADDED"),)])
async def test_a_watch_that_is_ended_at_once_is_not_asked_for_without_pause(tmp_path, pieces):
    time = Time(step=0.0)
    async with watching(tmp_path, *([Watched(pieces, ENDED)] * 8), pace=time.pace) as (changes, server):
        waiting = asyncio.ensure_future(told(changes, 100))
        async with asyncio.timeout(SECONDS):
            await time.enough.wait()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert len(server.asked) in (8, 9)
    assert time.pauses == [1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.fault(26)
@pytest.mark.parametrize(("asked", "pause"), [("7", 7.0), ("0", 1.0), ("86400", 300.0)])
async def test_it_waits_as_long_as_the_server_asks_within_reason(tmp_path, asked, pause):
    time = Time()
    throttled = Watched(head=http("429 Too Many Requests", "", f"Retry-After: {asked}"), ending=CUT)
    async with watching(tmp_path, throttled, pace=time.pace) as (changes, _):
        assert await told(changes, 1) == [EVERYTHING]
    assert time.pauses == [pause]


# --- rights


DENIED = http(
    "403 Forbidden", '{"kind": "Status", "reason": "Forbidden", "details": {"kind": "secrets"}, "code": 403}'
)


@pytest.mark.fault(35)
async def test_a_right_that_is_missing_for_a_moment_is_not_missed(tmp_path):
    """A server that has just started has not read its roles."""
    time = Time(step=0.0)
    denying = [Watched(head=DENIED, ending=CUT)] * 4
    async with watching(tmp_path, *denying, Watched((line("ADDED"),)), pace=time.pace) as (changes, _):
        assert await told(changes, 2) == [EVERYTHING, seen("8")]
    assert time.pauses == [1, 2, 4, 8]


@pytest.mark.fault(35)
async def test_a_right_that_stays_missing_ends_it(tmp_path):
    time = Time(step=0.0)
    denying = [Watched(head=DENIED, ending=CUT)] * 5
    async with watching(tmp_path, *denying, pace=time.pace) as (changes, server):
        with pytest.raises(Forbidden, match=r"^the right to watch secrets is missing$"):
            await told(changes, 1)
        with pytest.raises(StopAsyncIteration):
            await anext(changes)
    assert (len(server.asked), sum(time.pauses)) == (5, 15)
