"""Writes to a database as Porter 1.6 does, step by step, so that a test can stop, or do something else, in between.

The documents are those of a real Porter (examples/quickstart), as far as anybody reads them; sensitive
values go to a folder, as Porter's filesystem plugin puts them. Leaves out bundles' parameters and
credentials, and whatever Porter checks before it runs something: any action is done that is asked for.
Two of these on one database are two machines, each with its own clock.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Self

from pymongo import ASCENDING, DESCENDING
from pymongo.database import Database

Document = dict[str, Any]

LOGS = "io.cnab.outputs.invocationImageLogs"
"""What Porter itself adds to the outputs of a run."""

_SCHEMA = {"credentials": "1.0.1", "parameters": "1.1.0", "installations": "1.0.2"}
_OWNER = [("namespace", ASCENDING), ("installation", ASCENDING)]
_INDEXES = {
    "installations": [([("namespace", ASCENDING), ("name", ASCENDING)], True)],
    "runs": [(_OWNER, False)],
    "results": [(_OWNER, False), ([("runId", ASCENDING)], False)],
    "outputs": [
        ([*_OWNER, ("resultId", DESCENDING)], False),
        ([("resultId", ASCENDING), ("name", ASCENDING)], True),
        ([*_OWNER, ("name", ASCENDING), ("resultId", DESCENDING)], False),
    ],
}
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Steps(Iterator[str]):
    """Work of Porter's: each `next` does one step of it, and tells which."""

    def __init__(self, steps: Iterator[str]) -> None:
        self._steps = steps

    def __next__(self) -> str:
        return next(self._steps)

    def until(self, step: str) -> Self:
        """Do everything up to this step, and that."""
        if step not in self:
            raise LookupError(f"there was no step {step!r}")
        return self

    def finish(self) -> Self:
        """Do the rest."""
        for _ in self:
            pass
        return self


class Run(Steps):
    """The steps of an action: installation, run, running, result, status, then `output NAME` for each output in
    random order, for a sensitive one `secret NAME` before it.

    An action that does not modify has no step `status`. The ids are "" before their document is written.
    """

    def __init__(self, porter: Porter, action: Action) -> None:
        self.run_id = ""
        self.result_id = ""
        super().__init__(self._perform(porter, action))

    def _perform(self, porter: Porter, action: Action) -> Iterator[str]:
        database = porter.database
        installation = porter.touch(action)
        yield "installation"
        self.run_id = porter.ulid()
        database["runs"].insert_one(action.run(self.run_id, porter.ulid(), porter.moment()))
        yield "run"
        database["results"].insert_one(action.result(porter.ulid(), self.run_id, porter.moment(), "running"))
        yield "running"
        self.result_id, now = porter.ulid(), porter.moment()
        database["results"].insert_one(action.result(self.result_id, self.run_id, now, action.status))
        yield "result"
        if action.modifies:
            action.apply(installation["status"], self.run_id, self.result_id, now)
            database["installations"].replace_one({"_id": installation["_id"]}, installation)
            yield "status"
        yield from self._save_outputs(porter, action)

    def _save_outputs(self, porter: Porter, action: Action) -> Iterator[str]:
        names = [name for name in action.saved if name not in action.missing]
        porter.random.shuffle(names)
        for name in names:
            document = action.output(name, self.run_id, self.result_id)
            if document["key"] and name not in action.dangling:
                porter.store(document["key"], action.outputs[name])
                yield f"secret {name}"
            porter.database["outputs"].insert_one(document)
            yield f"output {name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What Porter is asked to run, how that ends, and the documents it leaves."""

    namespace: str
    name: str
    action: str
    outputs: Mapping[str, bytes] = field(default_factory=dict)
    """What the bundle produces."""
    sensitive: Collection[str] = ()
    declared: Collection[str] = ()
    """Outputs the bundle declares beside those it produces."""
    status: str = "succeeded"
    """How it ends: succeeded, failed, canceled."""
    modifies: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of an installation that this action creates."""
    missing: Collection[str] = ()
    """Outputs that are listed, and whose documents never come."""
    dangling: Collection[str] = ()
    """Sensitive outputs that the secret store did not take: their keys lead nowhere."""
    lost: Collection[str] = ()
    """Outputs with neither value nor key: Porter could not tell whether they are sensitive."""

    @property
    def saved(self) -> Mapping[str, bytes]:
        """The outputs, and what Porter adds to those of an action that did not fail."""
        own = {} if self.status == "failed" else {LOGS: f"running {self.action}\n".encode()}
        return {**self.outputs, **own}

    @property
    def _owner(self) -> Document:
        return {"namespace": self.namespace, "installation": self.name, "schemaVersion": "1.0.2"}

    def run(self, run_id: str, revision: str, now: str) -> Document:
        return {
            **self._owner,
            "_id": run_id,
            "action": self.action,
            "revision": revision,
            "created": now,
            "modified": now,
            "bundle": json.dumps(self._bundle(), sort_keys=True, separators=(",", ":")),
            "bundleReference": "",
            "bundleDigest": "",
            "custom": None,
        }

    def result(self, result_id: str, run_id: str, now: str, status: str) -> Document:
        document = {**self._owner, "_id": result_id, "runId": run_id, "created": now, "status": status}
        if status == "running":
            return {**document, "outputs": None}
        if status == "failed":
            document["message"] = "1 error occurred:\n\t* the bundle failed\n\n"
        return {**document, "outputs": {name: _listed(name, value) for name, value in self.saved.items()}}

    def output(self, name: str, run_id: str, result_id: str) -> Document:
        key, value = "", base64.b64encode(self.saved[name]).decode()
        return {
            **self._owner,
            "name": name,
            "runId": run_id,
            "resultId": result_id,
            "key": f"{run_id}-{name}" if name in self.sensitive else key,
            "value": None if name in self.sensitive or name in self.lost else value,
        }

    def apply(self, status: Document, run_id: str, result_id: str, now: str) -> None:
        """What the status of an installation says after it."""
        status.update(runId=run_id, action=self.action, resultId=result_id, resultStatus=self.status)
        status["bundleVersion"] = "1.2.3"
        if self.status == "succeeded" and self.action in {"install", "uninstall"}:
            status[f"{self.action}ed"] = now

    def _bundle(self) -> Document:
        names = sorted({*self.outputs, *self.declared})
        own = {"install", "upgrade", "uninstall"}
        return {
            "schemaVersion": "1.2.0",
            "name": "mysql",
            "version": "1.2.3",
            "actions": {} if self.action in own else {self.action: {"modifies": self.modifies}},
            "definitions": {f"def-{name}": self._definition(name) for name in names},
            "outputs": {
                name: {"definition": f"def-{name}", "path": f"/cnab/app/outputs/{name}"} for name in names
            },
            "custom": {"sh.porter": {"version": "v1.6.1", "manifest": "", "manifestDigest": "d0"}},
        }

    def _definition(self, name: str) -> Document:
        return {"type": "string", "writeOnly": True} if name in self.sensitive else {"type": "string"}


@dataclass(kw_only=True)
class Porter:
    """One machine that runs Porter. Options of an action are the fields of `Action`."""

    database: Database[Document]
    secrets: Path
    """The folder of Porter's secret store."""
    clock: Callable[[], float] = time.time
    """Seconds since 1970 on this machine."""
    random: Random = field(default_factory=Random)
    _last: int = 0

    def __post_init__(self) -> None:
        """Migrate the database, as any command of Porter's does."""
        self.secrets.mkdir(parents=True, exist_ok=True)
        self.database["config"].update_one({"_id": "schema"}, {"$set": _SCHEMA}, upsert=True)
        for collection, indexes in _INDEXES.items():
            for keys, unique in indexes:
                self.database[collection].create_index(keys, unique=unique)

    def install(
        self, namespace: str, name: str, outputs: Mapping[str, bytes] | None = None, **options: Any
    ) -> Run:
        return self._run(namespace, name, "install", outputs, options)

    def upgrade(
        self, namespace: str, name: str, outputs: Mapping[str, bytes] | None = None, **options: Any
    ) -> Run:
        return self._run(namespace, name, "upgrade", outputs, options)

    def invoke(
        self,
        namespace: str,
        name: str,
        action: str,
        outputs: Mapping[str, bytes] | None = None,
        *,
        modifies: bool = False,
        **options: Any,
    ) -> Run:
        return self._run(namespace, name, action, outputs, {**options, "modifies": modifies})

    def uninstall(
        self, namespace: str, name: str, outputs: Mapping[str, bytes] | None = None, **options: Any
    ) -> Run:
        """The record stays."""
        return self._run(namespace, name, "uninstall", outputs, options)

    def delete(self, namespace: str, name: str) -> Steps:
        """Four deletes: installations, runs, results, outputs. Secrets stay."""
        return Steps(self._delete(namespace, name))

    def relabel(self, namespace: str, name: str, labels: Mapping[str, str]) -> None:
        """As `porter installations apply` does."""
        installation = self._find(namespace, name)
        assert installation is not None
        installation["labels"] = dict(labels)
        self._modify(installation)

    def ulid(self) -> str:
        """By this machine's clock, and rising within a millisecond."""
        made = int(self.clock() * 1000) << 80 | self.random.getrandbits(79)
        self._last = self._last + 1 if made >> 80 == self._last >> 80 else made
        return "".join(_DIGITS[self._last >> shift & 31] for shift in range(125, -1, -5))

    def moment(self) -> str:
        """Now, as Go prints it: zeros at the end are trimmed."""
        text = datetime.fromtimestamp(self.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
        return f"{text.rstrip('0').rstrip('.')}Z"

    def store(self, key: str, value: bytes) -> None:
        (self.secrets / key).write_bytes(value)

    def touch(self, action: Action) -> Document:
        """The installation as it is when an action begins: made by `install`, and modified by every other one.

        NB: at its end the action writes this document back, whatever became of it meanwhile.
        """
        found = self._find(action.namespace, action.name)
        if found is not None:
            return self._modify(found)
        if action.action != "install":
            raise LookupError(f"there is no installation {action.namespace}/{action.name}")
        installation = self._new(action)
        self.database["installations"].insert_one(installation)
        return installation

    def _run(
        self,
        namespace: str,
        name: str,
        action: str,
        outputs: Mapping[str, bytes] | None,
        options: Mapping[str, Any],
    ) -> Run:
        asked = Action(namespace=namespace, name=name, action=action, outputs=outputs or {}, **options)
        return Run(self, asked)

    def _delete(self, namespace: str, name: str) -> Iterator[str]:
        for collection in ("installations", "runs", "results", "outputs"):
            name_field = "name" if collection == "installations" else "installation"
            self.database[collection].delete_many({"namespace": namespace, name_field: name})
            yield collection

    def _find(self, namespace: str, name: str) -> Document | None:
        return self.database["installations"].find_one({"namespace": namespace, "name": name})

    def _modify(self, installation: Document) -> Document:
        installation["status"]["modified"] = self.moment()
        self.database["installations"].replace_one({"_id": installation["_id"]}, installation)
        return installation

    def _new(self, action: Action) -> Document:
        now = self.moment()
        unset = (
            "runId",
            "action",
            "resultId",
            "resultStatus",
            "bundleReference",
            "bundleVersion",
            "bundleDigest",
        )
        return {
            "schemaType": "Installation",
            "schemaVersion": "1.0.2",
            "id": self.ulid(),
            "namespace": action.namespace,
            "name": action.name,
            "bundle": {},
            "labels": dict(action.labels),
            "status": {
                **dict.fromkeys(unset, ""),
                "created": now,
                "modified": now,
                "installed": None,
                "uninstalled": None,
            },
        }


def _listed(name: str, value: bytes) -> Document:
    """An output's entry in a result; an empty one has no digest."""
    by = {"generatedByBundle": "false" if name == LOGS else "true"}
    return {"contentDigest": f"sha256:{hashlib.sha256(value).hexdigest()}", **by} if value else by
