"""Porter's database as lists of documents, and a hand that writes into it as Porter does.

Simulates what a query finds and which fields come back, MongoDB's matching of lists included.
Leaves out everything a server adds: order, batches, faults. Every document may be bent
afterwards: that is what it is for.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Self

from backends.contract import Finding
from backends.secret_value import SecretValue
from syncer.core.errors import SourceUnavailable
from syncer.core.model import Installation, InstallationKey, Loaded, OutputRef, OutputState, Quarantined
from syncer.sources.porter.source import PorterSource
from syncer.sources.porter.store import COLLECTIONS, Document, Query

DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
NOW = 1_795_000_000.0
"""Seconds since 1970 on the clock of these tests."""
DB = InstallationKey("shop", "db")


def ulid(count: int, *, seconds: float = NOW - 86_400) -> str:
    """The count-th id made at that time."""
    number = int(seconds * 1000) << 80 | count
    return "".join(DIGITS[number >> shift & 31] for shift in range(125, -1, -5))


def bundle(**outputs: Mapping[str, object]) -> dict[str, Any]:
    """A bundle that declares outputs by the schema of each."""
    return {
        "name": "mysql",
        "version": "1.2.3",
        "actions": {"ping": {}, "rotate": {"modifies": True}},
        "outputs": {name: {"definition": f"def-{name}"} for name in outputs},
        "definitions": {f"def-{name}": dict(schema) for name, schema in outputs.items()},
    }


PLAIN = {"type": "string"}
SENSITIVE = {"type": "string", "writeOnly": True}


class World:
    """The five collections, as a `Store`; counts what it is asked."""

    identity = "world"

    def __init__(self) -> None:
        self.documents: dict[str, list[dict[str, Any]]] = {name: [] for name in COLLECTIONS}
        self.documents["config"].append({"_id": "schema", "installations": "1.0.2"})
        self.queries: list[Query] = []
        self.before_query: Callable[[Query], None] = lambda query: None
        self._count = 0

    def new_id(self) -> str:
        self._count += 1
        return ulid(self._count)

    def installation(self, key: InstallationKey = DB, **status: object) -> dict[str, Any]:
        document = {
            "_id": f"object-{self._count}",
            "id": self.new_id(),
            "namespace": key.namespace,
            "name": key.name,
            "labels": {"team": "db"},
            "status": {"modified": "2026-11-24T00:10:00.1Z", "resultId": "", **status},
        }
        self.documents["installations"].append(document)
        return document

    def run(
        self,
        outputs: Mapping[str, bytes] | None = None,
        *,
        key: InstallationKey = DB,
        action: str = "install",
        status: str = "succeeded",
        declares: Mapping[str, Any] | str | None = None,
    ) -> dict[str, dict[str, Any]]:
        """A run to its end; the documents it wrote by `run`, `result` and the names of its outputs."""
        outputs = outputs or {}
        if declares is None:
            declares = bundle(**dict.fromkeys(outputs, PLAIN))
        where = {"namespace": key.namespace, "installation": key.name}
        text = declares if isinstance(declares, str) else json.dumps(declares)
        run = {"_id": self.new_id(), "action": action, "bundle": text, **where}
        listed = {
            name: {
                "contentDigest": f"sha256:{hashlib.sha256(value).hexdigest()}",
                "generatedByBundle": "true",
            }
            if value
            else {"generatedByBundle": "true"}
            for name, value in outputs.items()
        }
        result = {"_id": self.new_id(), "runId": run["_id"], "status": status, "outputs": listed, **where}
        self.documents["runs"].append(run)
        self.documents["results"].append(result)
        documents = {name: self._output(name, value, run, result, where) for name, value in outputs.items()}
        return {"run": run, "result": result, **documents}

    def _output(
        self, name: str, value: bytes, run: Document, result: Document, where: Document
    ) -> dict[str, Any]:
        document = {
            "name": name,
            "runId": run["_id"],
            "resultId": result["_id"],
            "key": "",
            "value": base64.b64encode(value).decode(),
            **where,
        }
        self.documents["outputs"].append(document)
        return document

    async def find(self, query: Query) -> Sequence[Document]:
        self.before_query(query)
        self.queries.append(query)
        return [
            _projected(document, query.fields)
            for document in self.documents[query.collection]
            if _matches(document, query)
        ]

    async def check(self) -> tuple[Finding, ...]:
        return ()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...


class Secrets:
    """A secret store as a dictionary; remembers which keys it was asked for."""

    def __init__(self, content: Mapping[str, bytes] | None = None, *, fails: bool = False) -> None:
        self.content = dict(content or {})
        self.fails = fails
        self.asked: list[str] = []
        self.calls = 0

    async def resolve(self, keys: Collection[str]) -> Mapping[str, SecretValue | str]:
        self.calls += 1
        self.asked += keys
        if self.fails:
            raise SourceUnavailable("the store is sealed")
        return {
            key: SecretValue(self.content[key]) if key in self.content else "not in the store" for key in keys
        }

    async def check(self) -> tuple[Finding, ...]:
        return ()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...


def source(world: World, secrets: Secrets | None = None) -> PorterSource:
    return PorterSource(world, secrets or Secrets(), clock=lambda: NOW)


async def load(world: World, key: InstallationKey = DB) -> Loaded | None:
    return (await source(world).load([key])).get(key)


async def history(world: World, key: InstallationKey = DB) -> Installation:
    """The snapshot with every result of this life."""
    found = await source(world).history(key)
    assert isinstance(found, Installation), found
    return found


async def loaded(world: World, key: InstallationKey = DB) -> Installation:
    found = await load(world, key)
    assert isinstance(found, Installation), found
    return found


async def quarantined(world: World, key: InstallationKey = DB) -> str:
    """The reason why nothing follows from this installation."""
    found = await load(world, key)
    assert isinstance(found, Quarantined), found
    return found.reason


def refs(installation: Installation) -> dict[str, OutputRef]:
    """The newest result's outputs, by name."""
    result = installation.results[0]
    return {
        name: OutputRef(installation.key, result.run_id, result.id, name, digest)
        for name, digest in result.outputs.items()
    }


async def values(
    world: World, secrets: Secrets | None = None, key: InstallationKey = DB
) -> dict[str, OutputState]:
    """What becomes of each output of the newest result."""
    porter = source(world, secrets)
    found = (await porter.load([key]))[key]
    assert isinstance(found, Installation), found
    wanted = refs(found)
    states = await porter.values(wanted.values())
    return {name: states[ref] for name, ref in wanted.items()}


def _matches(document: Document, query: Query) -> bool:
    if query.keys is not None and not any(
        _is(document.get("namespace"), {key.namespace}) and _is(document.get(query.name_field), {key.name})
        for key in query.keys
    ):
        return False
    return all(_is(document.get(name), wanted) for name, wanted in query.any_of.items())


def _is(value: object, wanted: Collection[str]) -> bool:
    if isinstance(value, list):
        return any(_is(item, wanted) for item in value)
    return type(value) is str and value in wanted


def _projected(document: Document, fields: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in fields:
        name, _, inner = path.partition(".")
        if name not in document:
            continue
        if not inner:
            found[name] = document[name]
        elif isinstance(document[name], dict):
            found.setdefault(name, {}).update(_projected(document[name], [inner]))
    return found
