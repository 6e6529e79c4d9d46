"""Porter's data at size: installations with their history, as Porter writes them, and their secrets.

Every run keeps its bundle of 30 kB; a few dozen bundles are shared by all. Values differ between
installations and runs. The same numbers make the same data, save that the ids begin a month ago.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from pymongo import ASCENDING, DESCENDING
from pymongo.database import Database

NAMESPACES = 20
OUTPUTS = {"host": False, "port": False, "database": False, "admin-password": True, "client-key": True}
"""Name to whether it is sensitive."""

_BUNDLES = 50
_BUNDLE_BYTES = 30_000
_LOGS = "io.cnab.outputs.invocationImageLogs"
_MONTH = 30 * 24 * 3600
_DAY = 24 * 3600
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_BATCH = 500
_INDEXES = {
    "installations": [[("namespace", ASCENDING), ("name", ASCENDING)]],
    "runs": [[("namespace", ASCENDING), ("installation", ASCENDING)]],
    "results": [[("namespace", ASCENDING), ("installation", ASCENDING)], [("runId", ASCENDING)]],
    "outputs": [
        [("resultId", ASCENDING), ("name", ASCENDING)],
        [("namespace", ASCENDING), ("installation", ASCENDING), ("resultId", DESCENDING)],
    ],
}

Document = dict[str, Any]
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """So many installations, with so many succeeded runs each."""

    installations: int
    runs: int
    start: float = field(default_factory=lambda: time.time() - _MONTH)
    """When the first installation was made, in seconds since 1970."""

    def load(self, database: Database[Document]) -> Iterator[int]:
        """Fill an empty database; yields how many installations are there."""
        database["config"].insert_one(
            {"_id": "schema", "credentials": "1.0.1", "parameters": "1.1.0", "installations": "1.0.2"}
        )
        for collection, indexes in _INDEXES.items():
            for keys in indexes:
                database[collection].create_index(keys)
        bundles = [_bundle(number) for number in range(_BUNDLES)]
        done = 0
        for numbers in _chunks(range(self.installations), 50):
            for number in numbers:
                self._load_one(database, number, bundles)
            done += len(numbers)
            yield done

    def write_secrets(self, folder: Path) -> None:
        """The sensitive values of every newest run; nobody reads older ones."""
        folder.mkdir()
        for number in range(self.installations):
            for name in (name for name, sensitive in OUTPUTS.items() if sensitive):
                key = f"{self._id(number, self.runs - 1, 'run')}-{name}"
                (folder / key).write_bytes(_value(number, self.runs - 1, name))

    def _load_one(self, database: Database[Document], number: int, bundles: list[str]) -> None:
        owner = {"namespace": f"team-{number % NAMESPACES}", "installation": f"app-{number:05}"}
        ids = [(self._id(number, run, "run"), self._id(number, run, "result")) for run in range(self.runs)]
        bundle = bundles[number % _BUNDLES]
        runs = [{**owner, **_run(run_id, at, bundle)} for at, (run_id, _) in enumerate(ids)]
        results = [
            {**owner, "_id": result_id, "runId": run_id, **_result(number, at)}
            for at, (run_id, result_id) in enumerate(ids)
        ]
        outputs = [
            {**owner, "runId": run_id, "resultId": result_id, **document}
            for at, (run_id, result_id) in enumerate(ids)
            for document in _outputs(number, at, run_id)
        ]
        installation = _installation(owner, self._id(number, 0, "installation"), *ids[-1])
        for collection, documents in (("runs", runs), ("results", results), ("outputs", outputs)):
            database[collection].insert_many(documents)
        database["installations"].insert_one(installation)

    def _id(self, number: int, run: int, kind: str) -> str:
        """A ULID: runs are a day apart, and a result ends a second after its run began."""
        # Spread over the day: else all of them would be news at once, and to every poll.
        days = run + number / self.installations
        seconds = self.start + days * _DAY + ("installation", "run", "result").index(kind)
        return _encoded(int(seconds * 1000), 10) + _encoded(number << 10 | run, 16)


def _installation(owner: Document, identity: str, run_id: str, result_id: str) -> Document:
    now = _moment()
    status = {"runId": run_id, "resultId": result_id, "resultStatus": "succeeded", "action": "upgrade"}
    return {
        "schemaType": "Installation",
        "schemaVersion": "1.0.2",
        "id": identity,
        "namespace": owner["namespace"],
        "name": owner["installation"],
        "labels": {"tier": "backend"},
        "status": {**status, "created": now, "modified": now, "installed": now, "uninstalled": None},
    }


def _run(run_id: str, at: int, bundle: str) -> Document:
    action = "install" if at == 0 else "upgrade"
    now = _moment()
    return {"_id": run_id, "action": action, "bundle": bundle, "created": now, "schemaVersion": "1.0.2"}


def _result(number: int, at: int) -> Document:
    digests = {
        name: {
            "contentDigest": f"sha256:{hashlib.sha256(_value(number, at, name)).hexdigest()}",
            "generatedByBundle": "true",
        }
        for name in (*OUTPUTS, _LOGS)
    }
    return {"status": "succeeded", "outputs": digests, "created": _moment(), "schemaVersion": "1.0.2"}


def _outputs(number: int, at: int, run_id: str) -> Iterator[Document]:
    for name, sensitive in {**OUTPUTS, _LOGS: False}.items():
        value = base64.b64encode(_value(number, at, name)).decode()
        where = {"key": f"{run_id}-{name}", "value": None} if sensitive else {"key": "", "value": value}
        yield {"name": name, "schemaVersion": "1.0.2", **where}


def _value(number: int, at: int, name: str) -> bytes:
    seed = f"{name} of {number} after run {at}".encode()
    return hashlib.sha512(seed).hexdigest().encode() * (8 if name == "client-key" else 1)


def _bundle(number: int) -> str:
    definitions = {name: {"type": "string", "writeOnly": secret} for name, secret in OUTPUTS.items()}
    bundle: Document = {
        "schemaVersion": "1.2.0",
        "name": f"app-{number}",
        "version": "1.0.0",
        "definitions": definitions,
        "outputs": {name: {"definition": name, "path": f"/cnab/app/outputs/{name}"} for name in OUTPUTS},
        "custom": {"sh.porter": {"version": "v1.6.1", "manifest": ""}},
    }
    missing = _BUNDLE_BYTES - len(json.dumps(bundle))
    bundle["custom"]["sh.porter"]["manifest"] = "m" * missing
    return json.dumps(bundle)


def _moment() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _encoded(value: int, length: int) -> str:
    return "".join(_DIGITS[value >> 5 * place & 31] for place in reversed(range(length)))


def _chunks(items: Iterable[_Item], size: int) -> Iterator[tuple[_Item, ...]]:
    iterator = iter(items)
    while chunk := tuple(islice(iterator, size)):
        yield chunk
