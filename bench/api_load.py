"""Callers of the API, and the same questions put to the database without it: a process of its own.

`python -m bench.api_load LOAD`, a `Load` in JSON, prints how many requests it made and how long each of them
took. The bare queries are those that an ideal reader needs: no check of the schema, no second look whether
anything changed meanwhile, nothing decided about documents that are not as they should be.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import grpc
from pymongo import ASCENDING, DESCENDING, AsyncMongoClient
from pymongo.read_concern import ReadConcern

from bench.workload import NAMESPACES, OUTPUTS
from syncer.api._generated.porter.outputs.v1alpha1 import porter_bundle_pb2 as api
from syncer.api._generated.porter.outputs.v1alpha1.porter_bundle_pb2_grpc import PorterBundleStub
from syncer.sources.porter.store import TOLERANT

PAGE = 100
WHOLE = 1000

_PLAIN = sum(not sensitive for sensitive in OUTPUTS.values())
_SHOWN = dict.fromkeys(
    (
        "schemaVersion",
        "id",
        "name",
        "namespace",
        "uninstalled",
        "bundle",
        "labels",
        "credentialSets",
        "parameterSets",
        "status",
    ),
    True,
) | {"_id": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """So many callers, each with one request at a time."""

    query: str
    """A method of `Asker`."""
    clients: int
    seconds: float
    warm_up: float
    """Seconds before those, which do not count: connections, caches, what else the first request pays for."""
    installations: int
    """How many there are: a multiple of `NAMESPACES`."""
    url: str
    """`mongodb://...`, or host and port of the API."""
    ca_file: str | None = None
    """Of the API's certificate; None: plain text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What came of it."""

    requests: int
    """All of them, those of the warm-up as well."""
    seconds: float
    """In which the `latencies` were measured."""
    latencies: list[float] = field(repr=False)


class Asker(Protocol):
    """Each method makes the requests of one whole answer, and yields how many items each of them brought."""

    def page(self) -> AsyncIterator[int]: ...

    def namespace(self) -> AsyncIterator[int]: ...

    def walk(self) -> AsyncIterator[int]: ...

    def outputs(self) -> AsyncIterator[int]: ...


class Caller:
    """An `Asker` of the API."""

    def __init__(self, channel: grpc.aio.Channel, installations: int) -> None:
        self._stub: Any = PorterBundleStub(channel)
        self._installations = installations

    async def page(self) -> AsyncIterator[int]:
        answer = await self._stub.ListInstallations(api.ListInstallationsRequest(page_size=PAGE))
        yield len(answer.installations)

    async def namespace(self) -> AsyncIterator[int]:
        namespace, _ = _any(self._installations)
        request = api.ListInstallationsRequest(namespace=namespace, page_size=PAGE)
        answer = await self._stub.ListInstallations(request)
        yield len(answer.installations)

    async def walk(self) -> AsyncIterator[int]:
        token = ""
        while True:
            request = api.ListInstallationsRequest(page_size=WHOLE, page_token=token)
            answer = await self._stub.ListInstallations(request)
            yield len(answer.installations)
            if not (token := answer.next_page_token):
                return

    async def outputs(self) -> AsyncIterator[int]:
        namespace, installation = _any(self._installations)
        request = api.ListInstallationRunOutputsRequest(namespace=namespace, installation=installation)
        answer = await self._stub.ListInstallationRunOutputs(request)
        yield sum(output.HasField("value") for output in answer.outputs)


class Bare:
    """An `Asker` of the database."""

    def __init__(self, client: AsyncMongoClient[dict[str, Any]], installations: int) -> None:
        concern = ReadConcern("majority")
        self._database = client.get_database("porter", codec_options=TOLERANT, read_concern=concern)
        self._installations = installations

    async def page(self) -> AsyncIterator[int]:
        yield len((await self._found(PAGE, {}))[:PAGE])

    async def namespace(self) -> AsyncIterator[int]:
        namespace, _ = _any(self._installations)
        yield len((await self._found(PAGE, {"namespace": namespace}))[:PAGE])

    async def walk(self) -> AsyncIterator[int]:
        where: dict[str, Any] = {}
        while True:
            found = await self._found(WHOLE, where)
            page = found[:WHOLE]
            yield len(page)
            if len(found) <= WHOLE:
                return
            where = {"$or": _behind(page[-1])}

    async def outputs(self) -> AsyncIterator[int]:
        namespace, name = _any(self._installations)
        database, where = self._database, {"namespace": namespace, "installation": name}
        owner = await database.installations.find_one({"namespace": namespace, "name": name}, {"id": True})
        assert owner is not None
        newest = database.results.find({**where, "status": "succeeded"}, {"outputs": True, "runId": True})
        [result] = await newest.sort("_id", DESCENDING).limit(1).to_list()
        # NB: not part of the query: with it the database of the tests reads every result there is.
        assert result["_id"] >= owner["id"]
        run = await database.runs.find_one({"_id": result["runId"]}, {"action": True, "bundle": True})
        assert run is not None
        names = [name for name in _plain(run["bundle"]) if name in result["outputs"]]
        values = database.outputs.find({"resultId": result["_id"], "name": {"$in": names}}, {"_id": False})
        yield len(await values.to_list())

    async def _found(self, size: int, where: dict[str, Any]) -> list[dict[str, Any]]:
        """A page, and one installation more, which tells that there is another."""
        found = self._database.installations.find(where, _SHOWN)
        return await found.sort([("namespace", ASCENDING), ("name", ASCENDING)]).limit(size + 1).to_list()


def _behind(last: Mapping[str, str]) -> list[dict[str, Any]]:
    namespace, name = last["namespace"], last["name"]
    return [{"namespace": namespace, "name": {"$gt": name}}, {"namespace": {"$gt": namespace}}]


@lru_cache
def _plain(bundle: str) -> tuple[str, ...]:
    read = json.loads(bundle)
    return tuple(
        name
        for name, output in read["outputs"].items()
        if not read["definitions"][output["definition"]].get("writeOnly")
    )


def _any(installations: int) -> tuple[str, str]:
    number = random.randrange(installations)
    return f"team-{number % NAMESPACES}", f"app-{number:05}"


async def loaded(load: Load) -> Loaded:
    """Raises `RuntimeError` where an answer is not the whole one."""
    async with AsyncExitStack() as stack:
        asker = await _asker(load, stack)
        warm = await _until(load, asker, time.perf_counter() + load.warm_up)
        begun = time.perf_counter()
        latencies = await _until(load, asker, begun + load.seconds)
        seconds = time.perf_counter() - begun
    return Loaded(requests=len(warm) + len(latencies), seconds=seconds, latencies=latencies)


async def _asker(load: Load, stack: AsyncExitStack) -> Asker:
    if load.url.startswith("mongodb://"):
        client = AsyncMongoClient[dict[str, Any]](load.url)
        return Bare(await stack.enter_async_context(client), load.installations)
    return Caller(await stack.enter_async_context(_channel(load)), load.installations)


def _channel(load: Load) -> grpc.aio.Channel:
    if load.ca_file is None:
        return grpc.aio.insecure_channel(load.url)
    authority = Path(load.ca_file).read_bytes()
    return grpc.aio.secure_channel(load.url, grpc.ssl_channel_credentials(authority))


async def _until(load: Load, asker: Asker, deadline: float) -> list[float]:
    latencies: list[float] = []
    async with asyncio.TaskGroup() as group:
        for _ in range(load.clients):
            group.create_task(_client(load, asker, deadline, latencies))
    return latencies


async def _client(load: Load, asker: Asker, deadline: float, latencies: list[float]) -> None:
    everything = _everything(load)
    while time.perf_counter() < deadline:
        count = 0
        async with aclosing(getattr(asker, load.query)()) as answers:
            begun = time.perf_counter()
            async for items in answers:
                latencies.append(time.perf_counter() - begun)
                begun = time.perf_counter()
                count += items
        if count != everything:
            raise RuntimeError(f"{load.query}: {count} items instead of {everything}")


def _everything(load: Load) -> int:
    """How many items a whole answer has."""
    whole = {
        "page": min(PAGE, load.installations),
        "namespace": min(PAGE, load.installations // NAMESPACES),
        "walk": load.installations,
        "outputs": _PLAIN,
    }
    return whole[load.query]


def main() -> None:
    load = Load(**json.loads(sys.argv[1]))
    print(json.dumps(asdict(asyncio.run(loaded(load)))))


if __name__ == "__main__":
    main()
