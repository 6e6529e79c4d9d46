"""The source: complete snapshots of installations, and the values of their outputs.

Fetches in batches and puts together; what documents mean is decided in the pure modules beside
it. Answers whole or raises: a read that was cut, a database that is not Porter's, or one of a
version unknown here is never an empty answer.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from backends.contract import Finding, FindingLevel
from backends.secret_value import SecretValue
from syncer.core.errors import SourceError, SourceRefused
from syncer.core.model import (
    InstallationKey,
    InstallationRef,
    Loaded,
    OutputRef,
    OutputState,
    Quarantined,
    Unresolved,
)
from syncer.core.ports import ValueResolver
from syncer.sources.porter import store as ask
from syncer.sources.porter.changes import PorterChanges
from syncer.sources.porter.documents import (
    InstallationRecord,
    parse_identity,
    parse_installation,
    parse_schema,
    stamp,
    unreadable,
)
from syncer.sources.porter.reader import grouped, read_outputs, read_snapshots
from syncer.sources.porter.store import Document, Query, Store, batches
from syncer.sources.porter.values import Sealed, judge, unsealed

ATTEMPTS: Final = 3
"""How often an installation that changes meanwhile is read before it is given up for now."""
STORE_UNAVAILABLE: Final = "secret store unavailable"
"""How the reason of an output begins that may resolve when it is asked for again."""

_FINGERPRINT_DIGITS: Final = 16
_LIST_SERVES: Final = 600.0
"""Seconds for which a list tells which ids are shared, to a process that needs none for anything else."""


class PorterSource:
    """`core.ports.Source` over a store of Porter's documents and a resolver for sensitive values.

    An async context manager that opens and closes both. `source_id` replaces the fingerprint
    made from the store's identity; `clock` gives seconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        resolver: ValueResolver,
        *,
        source_id: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._resolver = resolver
        self._clock = clock
        self._changes = PorterChanges(store, clock=clock)
        self._fingerprint = source_id or _fingerprint(store.identity)
        self._shared_ids: frozenset[str] = frozenset()
        self._listed_at = -math.inf

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def changes(self) -> PorterChanges:
        """What is new in the same store."""
        return self._changes

    @property
    def store(self) -> Store:
        """For `listing`, which reads the same documents as Porter's commands do."""
        return self._store

    @property
    def resolver(self) -> ValueResolver:
        return self._resolver

    async def __aenter__(self) -> Self:
        await self._store.__aenter__()
        try:
            await self._resolver.__aenter__()
        except BaseException:
            await self._store.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._resolver.__aexit__(kind, error, trace)
        finally:
            await self._store.__aexit__(kind, error, trace)

    async def check(self) -> tuple[Finding, ...]:
        """Database, its version, rights, and the secret store; what fails is a finding, too."""
        findings = await self._store.check()
        if all(finding.level is not FindingLevel.ERROR for finding in findings):
            findings = *findings, await self._check_schema()
        return *findings, *await self._resolver.check()

    async def list(self) -> Sequence[InstallationRef]:
        """Every installation; one whose document does not say its id has the id "".

        An installation whose document does not even say its name is listed under a made-up key
        that names the document, and `load` answers that it is quarantined.
        """
        await self._refuse_unknown_schema()
        return await self._list()

    async def load(self, keys: Collection[InstallationKey]) -> Mapping[InstallationKey, Loaded]:
        """Reads every installation that changed meanwhile again, `ATTEMPTS` times in all.

        Results that nothing can be selected from any more are left out: those older than
        a result that has every declared output.
        """
        await self._refuse_unknown_schema()
        await self._list_if_old()
        answer: dict[InstallationKey, Loaded] = {}
        for batch in batches(sorted(set(keys), key=_order)):
            answer |= await self._load_batch(batch, whole=False)
        return answer

    async def history(self, key: InstallationKey) -> Loaded | None:
        """As `load`, with every result there is of this life; None for one that does not exist."""
        await self._refuse_unknown_schema()
        await self._list_if_old()
        return (await self._load_batch([key], whole=True)).get(key)

    async def exists(self, key: InstallationKey) -> bool:
        """Whether there is an installation of this name."""
        await self._refuse_unknown_schema()
        return bool(grouped([key], await self._find(ask.stamps([key])), "name").get(key))

    async def values(self, wanted: Collection[OutputRef]) -> Mapping[OutputRef, OutputState]:
        """Values that come out of the secret store are asked for in one batch.

        Where that store cannot be asked, only they are unresolved (`STORE_UNAVAILABLE`).
        """
        answer: dict[OutputRef, OutputState] = {}
        sealed: dict[OutputRef, str] = {}
        for batch in batches(dict.fromkeys(wanted)):
            documents = await read_outputs(self._store, batch)
            for ref in batch:
                match judge(ref, documents[ref.result_id, ref.name]):
                    case Sealed(key):
                        sealed[ref] = key
                    case state:
                        answer[ref] = state
        return answer | await self._unseal(sealed)

    async def _list_if_old(self) -> None:
        if not 0 <= self._clock() - self._listed_at < _LIST_SERVES:
            await self._list()

    async def _list(self) -> Sequence[InstallationRef]:
        identities = [parse_identity(document) for document in await self._find(ask.all_installations())]
        owners: dict[str, InstallationKey] = {}
        shared: set[str] = set()
        for identity in identities:
            if identity.id and owners.setdefault(identity.id, identity.key) != identity.key:
                shared.add(identity.id)
        self._shared_ids = frozenset(shared)
        self._listed_at = self._clock()
        return [InstallationRef(one.key, one.id, one.stamp) for one in identities]

    async def _load_batch(
        self, keys: Collection[InstallationKey], *, whole: bool
    ) -> dict[InstallationKey, Loaded]:
        answer: dict[InstallationKey, Loaded] = {
            key: Quarantined(key=key, reason="its namespace, its name or their types cannot be read")
            for key in keys
            if unreadable(key)
        }
        pending: Sequence[InstallationKey] = [key for key in keys if key not in answer]
        for _ in range(ATTEMPTS):
            if not pending:
                break
            loaded, changed = await self._read(pending, whole=whole)
            answer |= loaded
            pending = changed
        for key in pending:
            answer[key] = Quarantined(key=key, reason="it is changing while it is read")
        return answer

    async def _read(
        self, keys: Collection[InstallationKey], *, whole: bool
    ) -> tuple[Mapping[InstallationKey, Loaded], Sequence[InstallationKey]]:
        """What was the same before and after, and the keys of what was not."""
        documents = grouped(keys, await self._find(ask.installations(keys)), "name")
        records = {key: self._record(key, found) for key, found in documents.items()}
        before = {key: _stamps(found) for key, found in documents.items()}
        del documents
        good = [one for one in records.values() if not isinstance(one, str)]
        snapshots = await read_snapshots(self._store, good, now=self._clock(), whole=whole)
        after = grouped(keys, await self._find(ask.stamps(keys)), "name")
        changed = [key for key in keys if before.get(key, []) != _stamps(after.get(key, ()))]
        loaded: dict[InstallationKey, Loaded] = {
            key: Quarantined(key=key, reason=record) if isinstance(record, str) else snapshots[key]
            for key, record in records.items()
        }
        for key in changed:
            loaded.pop(key, None)
        return loaded, changed

    def _record(self, key: InstallationKey, found: Sequence[Document]) -> InstallationRecord | str:
        if len(found) > 1:
            return "there are two installation documents of this name"
        record = parse_installation(key, found[0])
        if not isinstance(record, str) and record.id in self._shared_ids:
            return f"another installation has the same id {record.id}"
        return record

    async def _unseal(self, sealed: Mapping[OutputRef, str]) -> dict[OutputRef, OutputState]:
        if not sealed:
            return {}
        answers: Mapping[str, SecretValue | str]
        try:
            answers = await self._resolver.resolve(frozenset(sealed.values()))
        except SourceError as error:
            failure = Unresolved(f"{STORE_UNAVAILABLE}: {error.reason}")
            return dict.fromkeys(sealed, failure)
        return {ref: unsealed(ref, answers.get(key, "no answer")) for ref, key in sealed.items()}

    async def _check_schema(self) -> Finding:
        try:
            refusal = await self._schema_refusal()
        except SourceError as error:
            refusal = error.reason
        level = FindingLevel.OK if refusal is None else FindingLevel.ERROR
        return Finding(level=level, subject="Porter database", detail=refusal or "known schema")

    async def _schema_refusal(self) -> str | None:
        documents = await self._find(ask.schema())
        if not documents and not await self._find(ask.all_identities()):
            return None
        return parse_schema(documents[0] if documents else None)

    async def _refuse_unknown_schema(self) -> None:
        refusal = await self._schema_refusal()
        if refusal is not None:
            raise SourceRefused(f"Porter's database: {refusal}")

    async def _find(self, query: Query) -> Sequence[Document]:
        return await self._store.find(query)


def _fingerprint(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:_FINGERPRINT_DIGITS]


def _order(key: InstallationKey) -> tuple[str, str]:
    return key.namespace, key.name


def _stamps(documents: Iterable[Document]) -> list[object]:
    return [stamp(document) for document in documents]
