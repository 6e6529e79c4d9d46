"""Fetches what snapshots of many installations are made of, a few queries for all of them.

Which results count and what is declared is decided in `snapshot`; whether anything changed
meanwhile is the source's question.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from syncer.core.model import Installation, InstallationKey, Loaded, OutputRef, Quarantined
from syncer.sources.porter import store as ask
from syncer.sources.porter.bundle import Bundle, parse_bundle
from syncer.sources.porter.documents import InstallationRecord, ResultHead, is_name
from syncer.sources.porter.snapshot import Draft, draft, finish, heads, settled
from syncer.sources.porter.store import BUNDLE_BATCH, Document, Query, Store, batches

_History = tuple[InstallationRecord, Sequence[ResultHead]]


async def read_snapshots(
    store: Store, records: Collection[InstallationRecord], *, now: float, whole: bool
) -> Mapping[InstallationKey, Loaded]:
    """One for each record; `now` in seconds since 1970.

    Unless the `whole` history is asked for, only the newest result is read at first, and
    older ones of those installations alone for which they may matter.
    """
    if not records:
        return {}
    answer: dict[InstallationKey, Loaded] = {}
    histories: list[_History] = []
    for record, found in await _histories(store, records, now=now):
        if isinstance(found, str):
            answer[record.key] = Quarantined(key=record.key, reason=found)
        else:
            histories.append((record, found))
    if not whole:
        answer |= await _assembled(store, [(record, found[:1]) for record, found in histories])
        histories = [(record, found) for record, found in histories if _unsettled(answer[record.key], found)]
    answer |= await _assembled(store, histories)
    return answer


async def read_bundles(store: Store, run_ids: Iterable[str]) -> Mapping[str, Bundle | str]:
    """The bundle of each run, or why it cannot be read; a run that does not exist is missing."""
    bundles: dict[str, Bundle | str] = {}
    for batch in batches(run_ids, BUNDLE_BATCH):
        for document in await store.find(ask.bundles(batch)):
            bundles[str(document.get("_id"))] = parse_bundle(document.get("bundle"))
    return bundles


async def read_outputs(
    store: Store, refs: Collection[OutputRef]
) -> Mapping[tuple[str, str], Sequence[Document]]:
    """Documents with their values, by result id and name."""
    documents = {(ref.result_id, ref.name): list[Document]() for ref in refs}
    query = ask.output_values({ref.result_id for ref in refs}, {ref.name for ref in refs})
    for document in await store.find(query):
        result_id, name = document.get("resultId"), document.get("name")
        if type(result_id) is str and type(name) is str and (result_id, name) in documents:
            documents[result_id, name].append(document)
    return documents


def grouped(
    keys: Iterable[InstallationKey], documents: Iterable[Document], name_field: str = "installation"
) -> Mapping[InstallationKey, Sequence[Document]]:
    """Only what names one of these installations by text: a list that holds its name matches a query too."""
    by_name = {(key.namespace, key.name): (key, list[Document]()) for key in keys}
    for document in documents:
        namespace, name = document.get("namespace"), document.get(name_field)
        if type(namespace) is str and type(name) is str and (namespace, name) in by_name:
            by_name[namespace, name][1].append(document)
    return {key: found for key, found in by_name.values() if found}


async def _histories(
    store: Store, records: Collection[InstallationRecord], *, now: float
) -> Sequence[tuple[InstallationRecord, Sequence[ResultHead] | str]]:
    """NB: documents of all results there are; they end here, before bundles are in memory, too."""
    keys = [record.key for record in records]
    results = grouped(keys, await store.find(ask.succeeded_results(keys)))
    return [(record, heads(record, results.get(record.key, ()), now=now)) for record in records]


def _unsettled(loaded: Loaded, found: Sequence[ResultHead]) -> bool:
    return isinstance(loaded, Installation) and len(found) > 1 and not settled(loaded)


async def _assembled(store: Store, histories: Sequence[_History]) -> Mapping[InstallationKey, Loaded]:
    """Snapshots with exactly these results."""
    drafts = await _drafts(store, histories)
    good = [one for one in drafts.values() if not isinstance(one, str)]
    bundles = await read_bundles(store, [run_id for one in good for run_id in one.bundle_runs])
    names = await _output_names(store, [result_id for one in good for result_id in one.unrecorded])
    answer: dict[InstallationKey, Loaded] = {}
    for key, one in drafts.items():
        made = one if isinstance(one, str) else finish(one, bundles, names)
        answer[key] = Quarantined(key=key, reason=made) if isinstance(made, str) else made
    return answer


async def _drafts(store: Store, histories: Sequence[_History]) -> Mapping[InstallationKey, Draft | str]:
    wanted = [head for _, found in histories for head in found]
    results = await _by_id(store, ask.result_outputs, [head.id for head in wanted])
    runs = await _by_id(store, ask.runs, list(dict.fromkeys(head.run_id for head in wanted)))
    return {record.key: draft(record, found, results, runs) for record, found in histories}


async def _by_id(
    store: Store, query: Callable[[Collection[str]], Query], ids: Iterable[str]
) -> Mapping[str, Document]:
    return {
        str(document.get("_id")): document
        for batch in batches(ids)
        for document in await store.find(query(batch))
    }


async def _output_names(store: Store, result_ids: Iterable[str]) -> Mapping[str, Sequence[str]]:
    names: dict[str, list[str]] = {}
    for batch in batches(result_ids):
        for document in await store.find(ask.output_names(batch)):
            name = document.get("name")
            if is_name(name):
                names.setdefault(str(document.get("resultId")), []).append(name)
    return names
