"""A folder that `mongodump` wrote, read as the database it came from.

For the embedded default, and to try rules on a backup. Keeps where each document is and reads
documents when they are asked for; a file that changed is indexed anew. Files may be compressed
(`.bson.gz`; those are held in memory). A file that is missing or cut refuses the whole folder.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import zlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import bson
from bson.errors import BSONError

from backends.contract import Finding, FindingLevel
from syncer.core.errors import SourceError, SourceRefused, SourceUnavailable
from syncer.core.model import InstallationKey
from syncer.sources.porter import store
from syncer.sources.porter.documents import parse_key
from syncer.sources.porter.store import COLLECTIONS, TOLERANT, Document, Page, Query

_KEY: Final = "(namespace, installation)"
_INDEXED: Final[Mapping[str, tuple[str, ...]]] = {
    store.CONFIG: ("_id",),
    store.INSTALLATIONS: (_KEY,),
    store.RUNS: (_KEY, "_id"),
    store.RESULTS: (_KEY, "_id"),
    store.OUTPUTS: (_KEY, "resultId"),
}
_LENGTH: Final = 4
_SMALLEST: Final = 5

_Signature = tuple[int, int, int]
_Span = tuple[int, int]


@dataclass(slots=True)
class _File:
    """One collection: where its documents are."""

    path: Path
    signature: _Signature
    content: bytes | None
    """All of it, where it is compressed."""
    spans: list[_Span] = field(default_factory=list)
    index: dict[str, dict[object, list[_Span]]] = field(default_factory=dict)


class DumpStore:
    """`store.Store` over a mongodump folder. Making one reads nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, _File] = {}
        self._lock = asyncio.Lock()

    @property
    def identity(self) -> str:
        """The folder's absolute path: a newer dump in its place is the same source."""
        return f"dump:{os.path.realpath(self._folder)}"

    async def find(self, query: Query) -> Sequence[Document]:
        async with self._lock:
            return await asyncio.to_thread(self._find, query)

    async def watch(self, _collection: str, _fields: tuple[str, ...], /) -> AsyncIterator[Document]:
        """A folder tells nothing: it has to be asked."""
        nothing: tuple[Document, ...] = ()
        for document in nothing:
            yield document

    async def check(self) -> tuple[Finding, ...]:
        try:
            async with self._lock:
                for collection in COLLECTIONS:
                    await asyncio.to_thread(self._opened, collection)
        except SourceError as error:
            return (Finding(level=FindingLevel.ERROR, subject="dump", detail=error.reason),)
        return (Finding(level=FindingLevel.OK, subject="dump", detail=f"{self._folder} is complete"),)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.clear()

    def _find(self, query: Query) -> list[Document]:
        file = self._opened(query.collection)
        fields = frozenset(name.partition(".")[0] for name in query.fields)
        satisfies = _condition(query)
        found: list[Document] = [
            {name: value for name, value in document.items() if name in fields}
            for document in _documents(file, _candidates(file, query))
            if satisfies(document)
        ]
        if self._opened(query.collection) is not file:
            raise SourceUnavailable(f"{file.path} was changed while it was read")
        return found if query.page is None else _stretch(found, query.name_field, query.page)

    def _opened(self, collection: str) -> _File:
        path = self._path(collection)
        try:
            status = path.stat()
            signature = (status.st_ino, status.st_size, status.st_mtime_ns)
            file = self._files.get(collection)
            if file is None or file.path != path or file.signature != signature:
                file = _indexed(path, signature, _INDEXED[collection], collection)
                self._files[collection] = file
        except (OSError, EOFError, zlib.error) as error:
            raise SourceUnavailable(f"{path} cannot be read ({_why(error)})") from None
        return file

    def _path(self, collection: str) -> Path:
        if not self._folder.is_dir():
            raise SourceUnavailable(f"{self._folder} is no folder")
        for name in (f"{collection}.bson", f"{collection}.bson.gz"):
            if (self._folder / name).exists():
                return self._folder / name
        raise SourceRefused(
            f"{self._folder} is no complete dump of Porter's database: {collection}.bson is missing"
        )


def _indexed(path: Path, signature: _Signature, indexes: Collection[str], collection: str) -> _File:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else None
    file = _File(path=path, signature=signature, content=content)
    file.spans.extend(_spans(file))
    file.index = {name: {} for name in indexes}
    name_field = store.name_field(collection)
    for span, document in zip(file.spans, _documents(file, file.spans), strict=True):
        for name, entries in file.index.items():
            value = parse_key(document, name_field) if name == _KEY else document.get(name)
            if type(value) in {str, InstallationKey}:
                entries.setdefault(value, []).append(span)
    return file


def _spans(file: _File) -> Iterator[_Span]:
    """Where documents begin, and how long they are. Raises `SourceUnavailable` for a cut file."""
    with _Reader(file) as reader:
        offset = 0
        while offset < reader.size:
            length = int.from_bytes(reader.read(offset, _LENGTH), "little")
            if length < _SMALLEST or offset + length > reader.size:
                raise SourceUnavailable(f"{file.path} is cut or damaged at byte {offset}")
            yield offset, length
            offset += length


def _documents(file: _File, spans: Iterable[_Span]) -> Iterator[Document]:
    with _Reader(file) as reader:
        for offset, length in spans:
            try:
                document: dict[str, object] = bson.decode(reader.read(offset, length), TOLERANT)
            except BSONError:
                raise SourceUnavailable(f"{file.path} is damaged at byte {offset}") from None
            yield document


class _Reader:
    """Random access to the bytes of a file."""

    def __init__(self, file: _File) -> None:
        self._content = file.content
        self._path = file.path
        self._descriptor = -1
        self.size = len(file.content) if file.content is not None else file.signature[1]

    def __enter__(self) -> Self:
        if self._content is None:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        if self._content is None:
            os.close(self._descriptor)

    def read(self, offset: int, length: int) -> bytes:
        if self._content is not None:
            return self._content[offset : offset + length]
        return os.pread(self._descriptor, length, offset)


def _candidates(file: _File, query: Query) -> Iterable[_Span]:
    """Spans of at least the documents that satisfy the query, by the best index there is."""
    for name, values in query.any_of.items():
        if name in file.index:
            return [span for value in values for span in file.index[name].get(value, ())]
    for name, text in query.after.items():
        if name in file.index:
            values = [value for value in file.index[name] if isinstance(value, str) and value > text]
            wanted = [max(values, default="")] if query.newest else values
            return [span for value in wanted for span in file.index[name].get(value, ())]
    if query.keys is not None:
        return [span for key in query.keys for span in file.index[_KEY].get(key, ())]
    return file.spans


def _condition(query: Query) -> Callable[[Document], bool]:
    keys = None if query.keys is None else frozenset(query.keys)
    any_of = {name: frozenset(values) for name, values in query.any_of.items()}

    def satisfies(document: Document) -> bool:
        if keys is not None and parse_key(document, query.name_field) not in keys:
            return False
        for name, values in any_of.items():
            value = document.get(name)
            if type(value) is not str or value not in values:
                return False
        for name, text in query.after.items():
            value = document.get(name)
            if type(value) is not str or value <= text:
                return False
        return True

    return satisfies


def _stretch(found: Sequence[Document], name_field: str, page: Page) -> list[Document]:
    """As MongoDB orders and compares: text is greater than whatever is none."""

    def place(document: Document) -> tuple[bytes, bytes]:
        return _ordered(document.get("namespace")), _ordered(document.get(name_field))

    ordered = sorted(found, key=place)
    if page.beyond is not None:
        behind = (_ordered(page.beyond.namespace), _ordered(page.beyond.name))
        ordered = [document for document in ordered if place(document) > behind]
    return ordered[: page.size]


def _ordered(text: object) -> bytes:
    return b"\1" + text.encode("utf-8", "surrogateescape") if type(text) is str else b""


def _why(error: Exception) -> str:
    return (error.strerror or "error") if isinstance(error, OSError) else "it is cut or no gzip file"
