"""Porter's documents in MongoDB: the primary, majority-committed, read to the end, never written.

What pymongo raises leaves this module as a `SourceError` whose text holds no credentials.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qsl

import bson.errors
from pymongo import ASCENDING, DESCENDING, AsyncMongoClient
from pymongo.asynchronous.command_cursor import AsyncCommandCursor
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    ConfigurationError,
    InvalidName,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from backends.contract import Finding, FindingLevel
from syncer.core.errors import SourceError, SourceRefused, SourceUnavailable
from syncer.sources.porter.store import TOLERANT, Document, Query

SELECTION_TIMEOUT: Final = 5.0
"""Seconds until a server that does not answer counts as unreachable."""
OPERATION_TIMEOUT: Final = 60.0
"""Seconds one query may take, all its batches included."""
AWAIT: Final = 10.0
"""Seconds the server waits for a write before it says that there was none."""
DEFAULT_DATABASE: Final = "porter"

_WRITE_ACTIONS: Final = frozenset({"insert", "update", "remove", "dropCollection", "dropDatabase"})
_SUBJECT: Final = "MongoDB"
_AUTHENTICATION_FAILED: Final = 18
_NO_STREAMS: Final = frozenset({40573, 40324, 59, 115, 238})
"""No replica set, no such stage, command, or feature: how a server says that it has no change streams."""

_Stream = AsyncCommandCursor[dict[str, object]]


class MongoStore:
    """`store.Store` over MongoDB; making one connects nowhere.

    Raises `SourceRefused` for a URL that cannot be used, or that asks for other reads than
    majority-committed ones of the primary.
    """

    def __init__(self, url: str, *, ca_file: str | None = None) -> None:
        hosts, database, options = _split(url)
        _refuse_other_reads(options)
        _keep_commands_out_of_logs()
        self._url = url
        self._tls: dict[str, Any] = {} if ca_file is None else {"tls": True, "tlsCAFile": ca_file}
        self._hosts = hosts
        self._name = database
        self._client: AsyncMongoClient[dict[str, object]] | None = None

    @property
    def identity(self) -> str:
        """Hosts and database."""
        return f"mongodb:{','.join(sorted(self._hosts))}/{self._name}"

    async def find(self, query: Query) -> Sequence[Document]:
        projection = dict.fromkeys(query.fields, True) | {"_id": "_id" in query.fields}
        with _translated():
            async with asyncio.timeout(OPERATION_TIMEOUT):
                collection = (await self._primary())[query.collection]
                found = collection.find(_filter(query), projection)
                if query.newest:
                    found = found.sort("_id", DESCENDING).limit(1)
                elif query.page is not None:
                    order = [("namespace", ASCENDING), (query.name_field, ASCENDING)]
                    found = found.sort(order).limit(query.page.size).batch_size(query.page.size)
                return await found.to_list()

    async def watch(self, collection: str, fields: tuple[str, ...], /) -> AsyncIterator[Document]:
        """NB: an aggregation, not pymongo's `watch`, which would go on from a token behind our back."""
        stream = await self._stream(collection, fields)
        if stream is None:
            return
        try:
            yield {}
            while stream.alive:
                change = await _next(stream)
                if change is not None:
                    document = change.get("fullDocument")
                    yield document if isinstance(document, dict) else {}
        finally:
            with suppress(PyMongoError, TimeoutError):
                async with asyncio.timeout(SELECTION_TIMEOUT):
                    await stream.close()
        raise SourceUnavailable(f"the change stream of {collection} was ended")

    async def check(self) -> tuple[Finding, ...]:
        try:
            with _translated():
                async with asyncio.timeout(OPERATION_TIMEOUT):
                    await self._database().command("ping")
        except SourceError as error:
            return (Finding(level=FindingLevel.ERROR, subject=_SUBJECT, detail=error.reason),)
        reached = f"database {self._name!r} at {', '.join(self._hosts)}"
        return Finding(level=FindingLevel.OK, subject=_SUBJECT, detail=reached), await self._rights()

    async def __aenter__(self) -> Self:
        self._database()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _database(self) -> AsyncDatabase[dict[str, object]]:
        if self._client is None:
            with _translated(), warnings.catch_warnings():
                # pymongo warns of an option it does not take, quotes it, and goes on without
                warnings.simplefilter("error")
                self._client = AsyncMongoClient(
                    self._url,
                    appname="porter-outputs-syncer",
                    serverSelectionTimeoutMS=int(SELECTION_TIMEOUT * 1000),
                    connectTimeoutMS=int(SELECTION_TIMEOUT * 1000),
                    **self._tls,
                )
        return self._client.get_database(
            self._name,
            codec_options=TOLERANT,
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("majority"),
        )

    async def _primary(self) -> AsyncDatabase[dict[str, object]]:
        """NB: with `directConnection` pymongo reads from whatever server that is."""
        database = self._database()
        if not await database.client.is_primary:
            raise SourceRefused("the MongoDB URL leads to a server that is not the primary")
        return database

    async def _stream(self, collection: str, fields: tuple[str, ...]) -> _Stream | None:
        """None where the server has no such thing.

        Of a collection: a stream of the whole database is silent on servers that only imitate MongoDB.
        The projection happens on the server: no value travels, and `_id` is the token it insists on.
        """
        projection = {f"fullDocument.{name}": True for name in fields}
        pipeline: list[Mapping[str, object]] = [{"$changeStream": {}}, {"$project": projection}]
        with _translated():
            try:
                async with asyncio.timeout(OPERATION_TIMEOUT):
                    watched = (await self._primary())[collection]
                    return await watched.aggregate(pipeline, maxAwaitTimeMS=int(AWAIT * 1000))
            except OperationFailure as error:
                if error.code in _NO_STREAMS:
                    return None
                raise

    async def _rights(self) -> Finding:
        try:
            async with asyncio.timeout(OPERATION_TIMEOUT):
                status = await self._database().command("connectionStatus", showPrivileges=True)
        except (PyMongoError, TimeoutError):
            detail = "the server does not tell which rights this user has"
            return Finding(level=FindingLevel.WARNING, subject=_SUBJECT, detail=detail)
        return _judge_rights(status.get("authInfo"))


async def _next(stream: _Stream) -> dict[str, object] | None:
    """The next change, or None when the server had none to tell for a while."""
    with _translated():
        async with asyncio.timeout(AWAIT + OPERATION_TIMEOUT):
            return await stream.try_next()


def _split(url: str) -> tuple[tuple[str, ...], str, Mapping[str, str]]:
    """Hosts, database and options (lower-case names) of a URL."""
    scheme, found, rest = url.partition("://")
    if not found or scheme not in {"mongodb", "mongodb+srv"}:
        raise SourceRefused("the MongoDB URL does not begin with mongodb:// or mongodb+srv://")
    rest, _, query = rest.partition("?")
    authority, _, database = rest.rpartition("@")[2].partition("/")
    port = "" if scheme == "mongodb+srv" else ":27017"
    hosts = tuple(
        host.lower() if ":" in host.rpartition("]")[2] else f"{host.lower()}{port}"
        for host in authority.split(",")
    )
    options = {name.lower(): value for name, value in parse_qsl(query, separator="&")}
    return hosts, database or DEFAULT_DATABASE, options


def _refuse_other_reads(options: Mapping[str, str]) -> None:
    only = {"readpreference": "primary", "readconcernlevel": "majority"}
    for name, value in only.items():
        if options.get(name, value) != value:
            raise SourceRefused(
                f"the MongoDB URL sets {name}={options[name]}; only {value} reads are complete and lasting"
            )


def _filter(query: Query) -> dict[str, object]:
    conditions: dict[str, dict[str, object]] = {
        name: {"$in": list(values)} for name, values in query.any_of.items()
    }
    for name, text in query.after.items():
        conditions.setdefault(name, {})["$gt"] = text
    groups = _groups(query)
    if groups is None:
        return {**conditions}
    return {**conditions, **(groups[0] if len(groups) == 1 else {"$or": groups})}


def _groups(query: Query) -> list[dict[str, object]] | None:
    """What must be true of namespace and name, one or the other; None: they may be any."""
    if query.keys is not None:
        grouped = query.names_by_namespace.items()
        return [{"namespace": namespace, query.name_field: {"$in": names}} for namespace, names in grouped]
    if query.page is None or query.page.beyond is None:
        return None
    beyond = query.page.beyond
    later: dict[str, object] = {"namespace": {"$gt": beyond.namespace}}
    return [{"namespace": beyond.namespace, query.name_field: {"$gt": beyond.name}}, later]


def _judge_rights(info: object) -> Finding:
    found = info if isinstance(info, dict) else {}
    if not found.get("authenticatedUsers"):
        detail = "no login is asked for: whoever reaches the server may write"
        return Finding(level=FindingLevel.WARNING, subject=_SUBJECT, detail=detail)
    writes = any(
        not _WRITE_ACTIONS.isdisjoint(privilege.get("actions", ()))
        for privilege in found.get("authenticatedUserPrivileges", ())
    )
    if not writes:
        return Finding(level=FindingLevel.OK, subject=_SUBJECT, detail="this user may only read")
    roles = ", ".join(
        f"{role.get('role')}@{role.get('db')}" for role in found.get("authenticatedUserRoles", ())
    )
    detail = f"this user may write ({roles}); reading is all that is needed"
    return Finding(level=FindingLevel.WARNING, subject=_SUBJECT, detail=detail)


@contextmanager
def _translated() -> Iterator[None]:
    """NB: `from None`: pymongo's texts may quote the URL, its errors the server's whole answer."""
    try:
        yield
    except (InvalidURI, ConfigurationError, InvalidName) as error:
        raise SourceRefused(
            f"the MongoDB URL or its options cannot be used ({type(error).__name__})"
        ) from None
    except OperationFailure as error:
        raise SourceUnavailable(_refused(error.code)) from None
    except TimeoutError:
        raise SourceUnavailable(f"MongoDB did not answer within {OPERATION_TIMEOUT:.0f} s") from None
    except (PyMongoError, bson.errors.BSONError) as error:
        raise SourceUnavailable(f"MongoDB cannot be read ({type(error).__name__})") from None
    except (OSError, ValueError, TypeError, UserWarning) as error:
        raise SourceRefused(
            f"the MongoDB URL or its options cannot be used ({type(error).__name__})"
        ) from None


def _refused(code: int | None) -> str:
    if code == _AUTHENTICATION_FAILED:
        return "MongoDB refused the login"
    return f"MongoDB refused a query (code {code})"


def _no_commands(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


def _keep_commands_out_of_logs() -> None:
    """Drop what pymongo logs at DEBUG, whatever level is set later: commands, answers, and so values."""
    logging.getLogger("pymongo.command").addFilter(_no_commands)
