"""How Porter's collections are asked for documents, and watched: one question, however they are stored.

Holds the question, the list of queries the source needs, and nothing of what the documents
mean. A query names the fields it wants, so that big ones (`custom`, `parameters`) never travel,
and asks for many things at once: the number of queries grows with batches.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

from bson.codec_options import CodecOptions, DatetimeConversion

from backends.contract import Finding
from syncer.core.model import InstallationKey

Document = Mapping[str, object]
"""A document as it was stored: every value may be of any BSON type, or missing."""

TOLERANT: Final[CodecOptions[dict[str, object]]] = CodecOptions(
    document_class=dict,
    unicode_decode_error_handler="surrogateescape",
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
"""How BSON is decoded: one field that is broken must not take the rest of an answer along."""

CONFIG: Final = "config"
INSTALLATIONS: Final = "installations"
RUNS: Final = "runs"
RESULTS: Final = "results"
OUTPUTS: Final = "outputs"
COLLECTIONS: Final = (CONFIG, INSTALLATIONS, RUNS, RESULTS, OUTPUTS)

BATCH: Final = 500
"""Installations, results or ids in one query."""
BUNDLE_BATCH: Final = 100
"""Runs whose bundles (30 kB each, and more) are in memory at once."""

IDENTITY_FIELDS: Final = ("_id", "namespace", "name", "id")
LIST_FIELDS: Final = (*IDENTITY_FIELDS, "labels", "status.resultId", "status.modified")
STAMP_FIELDS: Final = ("namespace", "name", "id", "status.resultId", "status.modified")
INSTALLATION_FIELDS: Final = (
    *IDENTITY_FIELDS,
    "labels",
    "status.resultId",
    "status.resultStatus",
    "status.modified",
    "status.installed",
    "status.uninstalled",
)
NEWS_FIELDS: Final = ("_id", "namespace", "installation")
HEAD_FIELDS: Final = ("_id", "namespace", "installation", "runId", "status")
RUN_FIELDS: Final = ("_id", "namespace", "installation", "action")
VALUE_FIELDS: Final = ("resultId", "name", "namespace", "installation", "runId", "key", "value")

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A stretch of a collection, in the order of namespace and name, bytewise."""

    size: int
    beyond: InstallationKey | None = None
    """It begins behind this one; None: at the beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """All documents of a collection that satisfy every condition given."""

    collection: str
    fields: tuple[str, ...]
    """Dotted paths of what is wanted; nothing else is in the answer."""
    keys: Collection[InstallationKey] | None = None
    """Of one of these installations. None: of any."""
    any_of: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Field to the strings of which it must be one."""
    after: Mapping[str, str] = field(default_factory=dict)
    """Field to a text that it must be greater than, bytewise."""
    newest: bool = False
    """Of those whose `_id` satisfies `after`, only the one with the greatest."""
    page: Page | None = None
    """Only this stretch, in its order. None: all, in no order."""

    @property
    def name_field(self) -> str:
        """The field that, with `namespace`, names the installation."""
        return name_field(self.collection)

    @property
    def names_by_namespace(self) -> Mapping[str, Sequence[str]]:
        """`keys` grouped as Porter's indexes want them."""
        grouped: dict[str, list[str]] = {}
        for key in self.keys or ():
            grouped.setdefault(key.namespace, []).append(key.name)
        return grouped


class Store(Protocol):
    """Porter's documents, read-only."""

    @property
    def identity(self) -> str:
        """What tells this database from every other one, for as long as it lives; no credentials in it."""
        ...

    async def find(self, query: Query) -> Sequence[Document]:
        """Every document that satisfies the query, in no particular order but its page's.

        Raises `SourceUnavailable` or `SourceRefused` where the answer would not be complete.
        """
        ...

    def watch(self, collection: str, fields: tuple[str, ...], /) -> AsyncIterator[Document]:
        """Documents of a collection as they are written, with these fields only.

        An empty one first, as soon as it listens, and for whatever was written otherwise (deleted, say).
        Ends at once where the store cannot tell. Raises as `find` does where it cannot any more.
        """
        ...

    async def check(self) -> tuple[Finding, ...]:
        """Reachable, and no more rights than reading. Raises as `find` does."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def name_field(collection: str) -> str:
    """The field of its documents that, with `namespace`, names the installation."""
    return "name" if collection == INSTALLATIONS else "installation"


def batches(items: Iterable[_Item], size: int = BATCH) -> Iterator[tuple[_Item, ...]]:
    """`items` in order, `size` at a time."""
    remaining = iter(items)
    while batch := tuple(islice(remaining, size)):
        yield batch


def schema() -> Query:
    return Query(collection=CONFIG, fields=("_id", "installations"), any_of={"_id": ("schema",)})


def all_identities() -> Query:
    return Query(collection=INSTALLATIONS, fields=IDENTITY_FIELDS)


def all_installations() -> Query:
    """NB: asked every few seconds, so nothing big is in it."""
    return Query(collection=INSTALLATIONS, fields=LIST_FIELDS)


def installations(keys: Collection[InstallationKey]) -> Query:
    return Query(collection=INSTALLATIONS, fields=INSTALLATION_FIELDS, keys=keys)


def stamps(keys: Collection[InstallationKey]) -> Query:
    """What changes when an installation does: read again after everything else."""
    return Query(collection=INSTALLATIONS, fields=STAMP_FIELDS, keys=keys)


def succeeded_results(keys: Collection[InstallationKey]) -> Query:
    return Query(collection=RESULTS, fields=HEAD_FIELDS, keys=keys, any_of={"status": ("succeeded",)})


def newest_result() -> Query:
    return Query(collection=RESULTS, fields=("_id",), after={"_id": ""}, newest=True)


def results_after(result_id: str) -> Query:
    """Whatever their status; by the index every collection has."""
    return Query(collection=RESULTS, fields=NEWS_FIELDS, after={"_id": result_id})


def result_outputs(result_ids: Collection[str]) -> Query:
    return Query(collection=RESULTS, fields=("_id", "outputs"), any_of={"_id": result_ids})


def runs(run_ids: Collection[str]) -> Query:
    return Query(collection=RUNS, fields=RUN_FIELDS, any_of={"_id": run_ids})


def bundles(run_ids: Collection[str]) -> Query:
    return Query(collection=RUNS, fields=("_id", "bundle"), any_of={"_id": run_ids})


def output_names(result_ids: Collection[str]) -> Query:
    return Query(collection=OUTPUTS, fields=("resultId", "name"), any_of={"resultId": result_ids})


def output_values(result_ids: Collection[str], names: Collection[str]) -> Query:
    """NB: every combination of the two; whoever asks picks the pairs that were meant."""
    return Query(
        collection=OUTPUTS,
        fields=VALUE_FIELDS,
        any_of={"resultId": result_ids, "name": names},
    )
