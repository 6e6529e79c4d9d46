"""Whatever is sent to the API, it answers with a status that was meant, leaks nothing and goes on answering.

Random requests from a seed, which is printed: API_FUZZ_SEED repeats them, API_FUZZ_REQUESTS makes them more
than 2,000. The process is watched from outside: memory, files, log. Excludes faults of database and cluster.
"""

from __future__ import annotations

import os
import random
import re
import socket
import ssl
import string
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from syncer.api._generated.installation.v1alpha1 import installation_pb2 as porters
from syncer.api._generated.porter.outputs.v1alpha1 import porter_bundle_pb2 as ours
from tests.functional.api_site import (
    LISTS,
    OURS,
    OUTPUTS,
    PORTERS,
    RUNS,
    SENSITIVE,
    ApiSite,
    Plain,
    Told,
    call,
    quickstart_served,
)
from tests.unit.api.api_world import RawPeer, frame

CODES = grpc.StatusCode
REQUESTS = int(os.environ.get("API_FUZZ_REQUESTS", "2000"))  # noqa: TID251  # a run by hand asks for more
SEED = os.environ.get("API_FUZZ_SEED") or str(random.SystemRandom().getrandbits(32))  # noqa: TID251
WARM_UP = 600
ROUND = 200
"""Requests of one connection, with a storm at its end."""
GROWTH = 64 * 1024 * 1024
"""Bytes that the process may have grown by since it was warm. Each of a request's kilobytes that was kept
would come to more than that in a run by hand, a thread that was kept to its stack."""
SPARE_FILES = 8
SEALED = b"battery staple"
"""A sensitive value."""

MEANT = {
    CODES.OK,
    CODES.INVALID_ARGUMENT,
    CODES.PERMISSION_DENIED,
    CODES.UNAUTHENTICATED,
    CODES.NOT_FOUND,
    CODES.FAILED_PRECONDITION,
    CODES.RESOURCE_EXHAUSTED,
    CODES.UNIMPLEMENTED,
    CODES.ABORTED,
}
IN_A_STORM = MEANT | {CODES.CANCELLED, CODES.DEADLINE_EXCEEDED, CODES.UNAVAILABLE}

METHODS: Mapping[str, Any] = {
    f"{OURS}/ListInstallations": ours.ListInstallationsRequest,
    f"{OURS}/ListInstallationRuns": ours.ListInstallationRunsRequest,
    f"{OURS}/ListInstallationRunOutputs": ours.ListInstallationRunOutputsRequest,
    f"{PORTERS}/ListInstallations": porters.ListInstallationsRequest,
    f"{PORTERS}/ListInstallationLatestOutputs": porters.ListInstallationLatestOutputRequest,
}
REAL = ("", "shop", "prod", "orders-db", "api", "odd-names", "latest", "host", "admin-password")
HOSTILE = (
    *("nobody", "\0", "a\0b", "$ne", "$where"),
    *(
        "../../etc/passwd",
        "..",
        "/",
        "*",
        ".*",
        "(a+)+$",
        "^",
        "[",
        "\\",
        "%s%n",
        "{0}",
        "{namespace}",
        "';--",
    ),
    *("\N{GRINNING FACE}", "\ufffd", "\u202e", "é", "\r\n", "null", "true", "system:masters", "-1", "1e999"),
    *("(unreadable installation document 1)", "x" * 64, "x" * 1024, "x" * 1025, "é" * 100_000, "A" * 900_000),
)
SIZES = (0, 1, 2, 3, 1000, 1001, -1, -(2**31), 2**31 - 1)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One request."""

    method: str
    content: bytes
    who: str
    metadata: Sequence[tuple[str, str | bytes]] = ()


class Fuzzer:
    """Makes requests; the same ones for the same seed. `tokens` of pages were given to `sensitive`."""

    def __init__(self, seed: str, page_tokens: Sequence[str]) -> None:
        self._random = random.Random(seed)
        self._page_tokens = page_tokens

    def sent(self) -> Sent:
        method = self._random.choice(tuple(METHODS))
        who = self._random.choice(("sensitive", "sensitive", "reader", "stranger", "nobody", "garbage"))
        kinds = (self._message, self._message, self._message, self._mutant, self._garbage, self._huge)
        content = self._random.choice(kinds)(METHODS[method])
        if self._random.random() < 0.1:
            method = self._other_method(method)
        metadata = self._metadata() if self._random.random() < 0.1 else ()
        return Sent(method=method, content=content, who=who, metadata=metadata)

    def _message(self, kind: Any) -> bytes:
        message = kind()
        for field in message.DESCRIPTOR.fields:
            if self._random.random() < 0.6:
                self._fill(message, field)
        content: bytes = message.SerializeToString()
        return content

    def _fill(self, message: Any, field: Any) -> None:
        match field.name:
            case "page_size":
                message.page_size = self._random.choice(SIZES)
            case "page_token":
                message.page_token = self._page_token()
            case "skip" | "limit":
                setattr(message, field.name, self._random.choice((0, 1, -1, 2**63 - 1, -(2**63))))
            case "labels":
                message.labels.update(
                    {self._text(): self._text() for _ in range(self._random.choice((1, 50)))}
                )
            case "names":
                message.names.extend(self._text() for _ in range(self._random.choice((1, 300))))
            case "include_custom" | "include_sensitive" | "all_namespaces":
                setattr(message, field.name, True)
            case _:
                setattr(message, field.name, self._text())

    def _text(self) -> str:
        chance = self._random.random()
        if chance < 0.4:
            return self._random.choice(REAL)
        if chance < 0.9:
            return self._random.choice(HOSTILE[:-2])
        return self._random.choice((HOSTILE[-1], "".join(map(chr, self._random.choices(range(0xD800), k=9)))))

    def _page_token(self) -> str:
        token = self._random.choice((*self._page_tokens, "", "x", "A" * 24, "=" * 8))
        letters = list(token)
        for _ in range(self._random.choice((0, 1, 3))):
            if letters:
                at = self._random.randrange(len(letters))
                letters[at] = self._random.choice(string.ascii_letters + "-_=\0é")
        return "".join(letters)

    def _mutant(self, kind: Any) -> bytes:
        content = bytearray(self._message(kind)[:5000] or b"\n\1x")
        for _ in range(self._random.randint(1, 5)):
            at = self._random.randrange(len(content))
            content[at] = self._random.randrange(256)
        return bytes(content[: self._random.randrange(len(content)) + 1])

    def _garbage(self, _: Any) -> bytes:
        return self._random.randbytes(self._random.choice((1, 10, 100, 10_000)))

    def _huge(self, _: Any) -> bytes:
        size = self._random.choice((1_000_000, 1_048_570, 1_048_577, 3_000_000))
        return b"\x12" + size.to_bytes(3, "little") + b"x" * size

    def _other_method(self, method: str) -> str:
        others = ("x", f"{method}x", f"{OURS}/", "//", f"{PORTERS}/Delete", "\N{SNOWMAN}/x", "grpc.x/y" * 100)
        return self._random.choice(others)

    def _metadata(self) -> Sequence[tuple[str, str | bytes]]:
        words = ("x", "", "Bearer x", "a,b", "x" * 4000)
        names = (
            "authorization",
            "x-forwarded-for",
            "grpc-previous-rpc-attempts",
            "x-any",
            "content-encoding",
        )
        ordinary = [(self._random.choice(names), self._random.choice(words)) for _ in range(3)]
        return [*ordinary, ("any-bin", self._random.randbytes(50))]


# --- the process, from outside -------------------------------------------------------------


@dataclass(frozen=True)
class Footprint:
    bytes: int
    files: int

    @classmethod
    def of(cls, pid: int) -> Footprint:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
        return cls(kilobytes * 1024, len(list(Path(f"/proc/{pid}/fd").iterdir())))


@pytest.fixture(scope="module")
def site(kube_cluster, mongo_server, tmp_path_factory) -> Iterator[ApiSite]:
    folder = tmp_path_factory.mktemp("api")
    with quickstart_served(kube_cluster, mongo_server, folder, "api_fuzz") as site:
        yield site


@pytest.fixture(scope="module")
def tokens(site) -> Mapping[str, str | None]:
    return {
        "sensitive": site.account("sensitive", [*LISTS, *RUNS, *OUTPUTS, *SENSITIVE]),
        "reader": site.account("reader", [*LISTS, *RUNS, *OUTPUTS], spaces=("shop",)),
        "stranger": site.account("stranger"),
        "nobody": None,
        "garbage": "garbage",
    }


@dataclass
class Attack:
    """Rounds of requests, and what came of them."""

    site: ApiSite
    tokens: Mapping[str, str | None]
    fuzzer: Fuzzer
    random: random.Random
    codes: Counter[CODES]
    wrong: list[tuple[Sent, Told]]

    def round(self, requests: int) -> None:
        """Several at a time over one connection, then a storm, then peers that know no gRPC."""
        sent = [self.fuzzer.sent() for _ in range(requests)]
        with self.site.channel() as channel, ThreadPoolExecutor(8) as threads:
            for one, told in zip(sent, threads.map(lambda one: self._told(channel, one), sent), strict=True):
                self.codes[told.code] += 1
                leaked = one.who != "sensitive" and SEALED in (told.answer or b"")
                if told.code not in MEANT or leaked:
                    self.wrong.append((one, told))
            self._storm(channel)
        self._strangers()

    def _told(self, channel: grpc.Channel, one: Sent) -> Told:
        token = self.tokens[one.who]
        return call(channel, one.method, one.content, Plain, token=token, metadata=one.metadata)

    def _storm(self, channel: grpc.Channel) -> None:
        """Hundreds at once, most of them cancelled at once."""
        wanted = ours.ListInstallationsRequest().SerializeToString()
        ask = channel.unary_unary(f"/{OURS}/ListInstallations")
        login = (("authorization", f"Bearer {self.tokens['sensitive']}"),)
        calls = [ask.future(wanted, metadata=login, timeout=20) for _ in range(300)]
        for one in calls:
            if self.random.random() < 0.8:
                one.cancel()
        codes = {one.code() for one in calls}
        assert codes <= IN_A_STORM, codes

    def _strangers(self) -> None:
        """Connections that speak something else, or nothing."""
        content = (
            b"",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            self.random.randbytes(500),
            RawPeer.PREFACE,
            RawPeer.PREFACE + frame(4, 0, 0, b"") + frame(1, 4, 1, self.random.randbytes(40)),
            RawPeer.PREFACE + frame(4, 0, 0, b"") + _plain_request(b"application/json"),
            RawPeer.PREFACE + frame(4, 0, 0, b"") + _plain_request(b"application/grpc+json"),
            RawPeer.PREFACE + frame(4, 0, 0, b"") + frame(3, 0, 1, b"\0\0\0\x08") * 50,
        )
        for one in content:
            self._connected(one, encrypted=True)
            self._connected(one, encrypted=False)
        idle = [socket.create_connection(("127.0.0.1", self.site.port)) for _ in range(20)]
        for connection in idle:
            connection.close()

    def _connected(self, content: bytes, *, encrypted: bool) -> None:
        with socket.create_connection(("127.0.0.1", self.site.port), timeout=5) as plain, suppress(OSError):
            if not encrypted:
                plain.sendall(content)
                return
            context = ssl.create_default_context(cafile=str(self.site.ca_file))
            context.set_alpn_protocols(["h2"])
            with context.wrap_socket(plain, server_hostname="localhost") as connection:
                connection.sendall(content)
                connection.settimeout(0.05)
                connection.recv(4096)


def _plain_request(content_type: bytes) -> bytes:
    path = f"/{OURS}/ListInstallations".encode()
    names = [(b":method", b"POST"), (b":scheme", b"https"), (b":path", path), (b":authority", b"x")]
    block = b"".join(
        b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
        for name, value in (*names, (b"content-type", content_type), (b"te", b"trailers"))
    )
    return frame(1, 4, 1, block) + frame(0, 1, 1, b"\0\0\0\0\0")


@pytest.fixture
def normal(site, tokens) -> Callable[[], Told]:
    """A request as it should be, on a connection of its own."""
    request = ours.ListInstallationRunOutputsRequest(
        namespace="shop", installation="orders-db", include_sensitive=True
    )

    def ask() -> Told:
        with site.channel() as channel:
            method = f"{OURS}/ListInstallationRunOutputs"
            return call(channel, method, request, Plain, token=tokens["sensitive"])

    return ask


def page_tokens(site: ApiSite, token: str) -> list[str]:
    """Real ones, as far as a caller has them."""
    requests = [ours.ListInstallationsRequest(page_size=size) for size in (1, 2)]
    with site.channel() as channel:
        answers = [
            call(channel, f"{OURS}/ListInstallations", one, ours.ListInstallationsResponse, token=token)
            for one in requests
        ]
    return [one.answer.next_page_token for one in answers]


def tracebacks(output: str, *, database: int) -> list[str]:
    """Each with the line before it; but for sockets to the database that were left to Python to close.

    A request that is cancelled while pymongo connects for it leaves one (pymongo 4.20, pool_shared).
    """
    left = re.compile(rf"Exception ignored in: <socket\.socket .*raddr=\('127\.0\.0\.1', {database}\)>")
    found = re.findall(r"(.*)\n(Traceback .*(?:\n .*)*\n.*)", output)
    return [f"{before}\n{text}" for before, text in found if not left.match(before)]


@pytest.mark.timeout(120 + REQUESTS // 10)
def test_whatever_is_sent_the_server_stays_what_it_is(site, tokens, normal, mongo_server):
    print(f"API_FUZZ_SEED={SEED}")  # noqa: T201  # pytest shows it where the test fails
    before = normal()
    assert before.code is CODES.OK
    assert SEALED in before.answer
    fuzzer = Fuzzer(SEED, page_tokens(site, tokens["sensitive"]))
    attack = Attack(site, tokens, fuzzer, random.Random(SEED), Counter(), [])
    for _ in range(WARM_UP // ROUND):
        attack.round(ROUND)
    pid = site.syncer.pid
    site.syncer.until(lambda: Footprint.of(pid).files < 100)
    warm = Footprint.of(pid)
    for _ in range(max(REQUESTS - WARM_UP, ROUND) // ROUND):
        attack.round(ROUND)
    assert attack.wrong == []
    assert set(attack.codes) >= {
        CODES.OK,
        CODES.INVALID_ARGUMENT,
        CODES.PERMISSION_DENIED,
        CODES.UNAUTHENTICATED,
        CODES.RESOURCE_EXHAUSTED,
        CODES.UNIMPLEMENTED,
    }
    assert normal() == before
    site.syncer.until(lambda: Footprint.of(pid).files <= warm.files + SPARE_FILES)
    assert Footprint.of(pid).bytes < warm.bytes + GROWTH
    assert site.syncer.logged("request failed") == []
    assert tracebacks(site.syncer.output, database=mongo_server.port) == []
    levels = Counter(line["level"] for line in site.syncer.log)
    assert not levels["error"] + levels["critical"]
    print(attack.codes, warm, Footprint.of(pid))  # noqa: T201  # for a run by hand


def test_a_traceback_is_found_whatever_stands_before_it():
    socket_left = "Exception ignored in: <socket.socket fd=9, raddr=('127.0.0.1', {})>"
    text = "\nTraceback (most recent call last):\n  File\n    ^^^\nResourceWarning: unclosed\n"
    output = f"{{}}\n{socket_left.format(1)}{text}{socket_left.format(2)}{text}else{text}"
    assert [one.partition("\n")[0] for one in tracebacks(output, database=1)] == [
        socket_left.format(2),
        "else",
    ]


def test_requests_are_the_same_for_the_same_seed():
    def some(seed: str) -> list[Sent]:
        fuzzer = Fuzzer(seed, ["token"])
        return [fuzzer.sent() for _ in range(50)]

    assert some("1") == some("1")
    assert some("1") != some("2")
