"""A whole installation of the product for acceptance tests: a database, two sinks, and users with few rights.

Simulates Porter only by the documents it would leave. Excludes the command line: a pass is `app.run_pass`.
"""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bson

from syncer.app import run_pass
from syncer.config.loading import load_config
from syncer.config.model import Config
from syncer.engine.reconciler import Mode
from syncer.engine.report import Entry, Report
from tests.servers import mongodump
from tests.servers.kubernetes import KubeCluster
from tests.servers.mongodb import MongoServer

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"
SECRETS = {"kind": "filesystem", "path": str(QUICKSTART / "secrets")}
WRITER, READER = "syncer", "reader"
"""Users of the cluster, with a Role in each namespace and nothing else."""

Document = dict[str, Any]
Documents = dict[str, list[Document]]
Edit = Callable[[Document], None]

_RIGHTS = {WRITER: ["get", "list", "create", "update", "delete"], READER: ["get", "list"]}


class Watcher:
    """An observer that remembers, and can act while a pass runs."""

    def __init__(self, on_progress: Callable[[], None] = lambda: None) -> None:
        self.failures: list[tuple[str, str]] = []
        self.told: list[object] = []
        self._on_progress = on_progress

    def progress(self, what: str, done: int, total: int) -> None:
        self._on_progress()

    def entry(self, entry: object) -> None:
        self.told.append(entry)

    def failed(self, sink: str, reason: str) -> None:
        self.failures.append((sink, reason))


# --- databases -----------------------------------------------------------------------------


def porter_documents() -> Documents:
    """What a real Porter wrote, by collection."""
    found: Documents = {}
    for path in sorted((QUICKSTART / "dump").glob("*.bson")):
        with path.open("rb") as stream:
            found[path.stem] = list(bson.decode_file_iter(stream))
    return found


def before_the_uninstall(documents: Documents) -> None:
    """Take back what the uninstall of shop/storefront left."""
    run = next(
        one["_id"]
        for one in documents["runs"]
        if (one["installation"], one["action"]) == ("storefront", "uninstall")
    )
    documents["runs"] = [one for one in documents["runs"] if one["_id"] != run]
    for name in ("results", "outputs"):
        documents[name] = [one for one in documents[name] if one["runId"] != run]
    storefront = next(one for one in documents["installations"] if one["name"] == "storefront")
    last = max(one["_id"] for one in documents["results"] if one["installation"] == "storefront")
    storefront["status"] |= {"uninstalled": None, "action": "install", "resultId": last}


def remove_from_dump(dump: Path, *names: str) -> None:
    """What a dump would be after `porter installations delete`."""
    for collection in ("installations", "runs", "results", "outputs"):
        field_name = "name" if collection == "installations" else "installation"
        path = dump / f"{collection}.bson"
        kept = [one for one in bson.decode_all(path.read_bytes()) if one[field_name] not in names]
        path.write_bytes(b"".join(map(bson.encode, kept)))


@dataclass(frozen=True, kw_only=True)
class MongoDatabase:
    """A database on the MongoDB-wire server."""

    server: MongoServer
    url: str
    kind: str = "mongodb"

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def settings(self) -> Document:
        return {"kind": "mongodb", "url": self.url}

    @property
    def collections(self) -> Any:
        return self.server.client[self.name]

    def publish(self, documents: Mapping[str, Sequence[Document]]) -> None:
        """Make the database hold exactly these."""
        for name, content in documents.items():
            self.collections[name].delete_many({})
            if content:
                self.collections[name].insert_many([dict(one) for one in content])

    def delete(self, collection: str, namespace: str, name: str) -> None:
        """One step of `porter installations delete`."""
        field_name = "name" if collection == "installations" else "installation"
        self.collections[collection].delete_many({"namespace": namespace, field_name: name})


@dataclass(frozen=True, kw_only=True)
class DumpFolder:
    """The same as a mongodump folder."""

    folder: Path
    kind: str = "dump"

    @property
    def settings(self) -> Document:
        return {"kind": "dump", "path": str(self.folder)}

    def publish(self, documents: Mapping[str, Sequence[Document]]) -> None:
        for name, content in documents.items():
            mongodump.write(self.folder, name, content)


# --- a site --------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Site:
    """One configuration: sinks `cluster` and `files`, one rule `all`."""

    folder: Path
    cluster: KubeCluster
    prefix: str
    """Porter's namespace `shop` goes to the Kubernetes namespace `<prefix>-shop`, the global one to
    `<prefix>-platform`."""
    source: Mapping[str, object]
    spaces: Sequence[str] = ("shop",)
    settings: Document = field(default_factory=dict)
    """Top-level settings that replace the usual ones."""
    rule: Document = field(default_factory=dict)
    """Settings of the rule that replace the usual ones."""
    watcher: Watcher = field(default_factory=Watcher)

    def __post_init__(self) -> None:
        for space in self.spaces:
            self.cluster.admin.create_namespace(f"{self.prefix}-{space}")
            for user, verbs in _RIGHTS.items():
                rights = [{"apiGroups": [""], "resources": ["secrets"], "verbs": verbs}]
                self.cluster.grant(user, rights, f"{self.prefix}-{space}")

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def document(self, user: str = WRITER) -> Document:
        cluster = {
            "name": "cluster",
            "kind": "kubernetes",
            "kubeconfig": str(self.cluster.kubeconfig(user)),
            "namespaces": [f"{self.prefix}-{space}" for space in self.spaces],
        }
        targets = [
            {"sink": "cluster", "namespace": f"{self.prefix}-{{namespace}}"},
            {"sink": "files", "path": "{namespace}/{installation}"},
        ]
        return {
            "instance": "acceptance",
            "namespaces": {"": "platform"},
            "source": {"secrets": SECRETS, **self.source},
            "sinks": [cluster, {"name": "files", "kind": "file", "path": str(self.out)}],
            "rules": [{"name": "all", "targets": targets, **self.rule}],
            "guard": {"grace": "20ms"},
            **self.settings,
        }

    def config(self, user: str = WRITER) -> Config:
        path = self.folder / f"{user}.yaml"
        path.write_text(json.dumps(self.document(user)))
        return load_config(path, {})

    async def once(
        self,
        *,
        approved: Iterable[str] = (),
        only: Iterable[str] | None = None,
        adopt: bool = False,
        deletions_only: bool = False,
    ) -> Report:
        mode = Mode(
            apply=True,
            approved=frozenset(approved),
            only=None if only is None else frozenset(only),
            adopt=adopt,
            deletions_only=deletions_only,
        )
        return await run_pass(self.config(), mode, self.watcher)

    async def plan(self) -> Report:
        """As somebody who may only read."""
        return await run_pass(self.config(READER), Mode(apply=False), self.watcher)

    # --- what is in the sinks, under the names Porter has

    def secrets(self) -> dict[str, Document]:
        """Every Secret of this site, `shop/orders-db-outputs` to the object."""
        listed = (self.cluster.admin.list("v1", "Secret", f"{self.prefix}-{space}") for space in self.spaces)
        return {self.path(one["metadata"]): one for objects in listed for one in objects}

    def path(self, metadata: Mapping[str, str]) -> str:
        return f"{metadata['namespace'].removeprefix(f'{self.prefix}-')}/{metadata['name']}"

    def in_cluster(self) -> dict[str, dict[str, bytes]]:
        return {
            path: {key: base64.b64decode(text) for key, text in (one.get("data") or {}).items()}
            for path, one in self.secrets().items()
        }

    def in_files(self) -> dict[str, dict[str, bytes]]:
        """What applications open: everything reachable under a name of its own."""
        found: dict[str, dict[str, bytes]] = {}
        for path in sorted(self.out.rglob("*")):
            if path.is_file() and not any(part.startswith("..") for part in path.relative_to(self.out).parts):
                found.setdefault(str(path.parent.relative_to(self.out)), {})[path.name] = path.read_bytes()
        return found

    def versions(self) -> dict[str, str]:
        """What changes with any write into the cluster."""
        return {path: one["metadata"]["resourceVersion"] for path, one in self.secrets().items()}

    def stamps(self) -> dict[str, tuple[int, ...]]:
        """What changes with any write into the folder."""
        stamps = {str(path.relative_to(self.out)): path.lstat() for path in sorted(self.out.rglob("*"))}
        return {
            path: (one.st_ino, one.st_mode, one.st_size, one.st_mtime_ns, one.st_ctime_ns)
            for path, one in stamps.items()
            if not stat.S_ISSOCK(one.st_mode)
        }

    def state(self) -> tuple[object, ...]:
        """Everything in both sinks, writes of equal content included."""
        return self.versions(), self.stamps(), self.in_cluster(), self.in_files()

    # --- other people's hands

    def edit(self, path: str, edit: Edit) -> None:
        """Change a Secret as somebody with all rights would."""
        space, name = path.split("/")
        found = self.cluster.admin.secret(f"{self.prefix}-{space}", name)
        assert found is not None
        edit(found)
        url = f"/api/v1/namespaces/{self.prefix}-{space}/secrets/{name}"
        self.cluster.admin.request("PUT", url, found)

    def create(self, path: str, data: Mapping[str, bytes]) -> None:
        """A Secret of somebody else's."""
        space, name = path.split("/")
        self.cluster.admin.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"namespace": f"{self.prefix}-{space}", "name": name},
                "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
            }
        )

    def delete(self, path: str) -> None:
        space, name = path.split("/")
        assert self.cluster.admin.delete("v1", "Secret", name, f"{self.prefix}-{space}")

    def address(self, path: str) -> str:
        """How `plan` prints the address of a Secret."""
        return f"cluster:{self.prefix}-{path}"


def changes(report: Report) -> set[tuple[str, str]]:
    """What a pass came to: action and address."""
    return {(entry.action, entry.subject.address) for entry in report.entries}


def actions(report: Report) -> set[str]:
    return {entry.action for entry in report.entries}


def entry_at(report: Report, address: str) -> Entry:
    (found,) = (entry for entry in report.entries if entry.subject.address == address)
    return found


def held_hashes(report: Report) -> set[str]:
    return {sink.held_hash for sink in report.sinks if sink.held_hash}


def replace_file(path: Path, content: bytes) -> None:
    """Change a file behind its owner's back, the mode kept."""
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
