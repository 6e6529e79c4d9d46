"""What Porter's own commands list, row by row, with Porter's rules instead of ours.

Behind `--porter-semantics`: outputs of whichever status, the last run's bundle, everything or
nothing. The outputs this project publishes come out of `source`; how rows are printed
is in `compat`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from backends.secret_value import SecretValue
from syncer.core.errors import NoSuchRun, SourceRefused
from syncer.core.model import Found, InstallationKey, InstallationState, Missing, OutputRef, Unresolved
from syncer.core.ports import ValueResolver
from syncer.core.rows import InstallationFilter, InstallationPage, InstallationRow, OutputRow, RunPage, RunRow
from syncer.sources.porter import store as ask
from syncer.sources.porter.bundle import Bundle
from syncer.sources.porter.documents import is_name, parse_key, state_of
from syncer.sources.porter.reader import read_bundles, read_outputs
from syncer.sources.porter.store import Document, Page, Query, Store, batches
from syncer.sources.porter.times import nanoseconds, normalised
from syncer.sources.porter.values import Sealed, judge, unsealed

_FIELDS: Final = (
    "schemaVersion",
    "id",
    "name",
    "namespace",
    "uninstalled",
    "bundle",
    "custom",
    "labels",
    "credentialSets",
    "parameterSets",
    "status",
)
_OUTPUT_FIELDS: Final = ("name", "resultId", "runId")
_BUNDLE_PARTS: Final = ("repository", "version", "digest", "tag")
_ONE_OR_TWO: Final = (1, 2)
"""Results of an ordinary run: running, and how it ended."""
_LONG_STRETCH: Final = {False: 500, True: 20}
"""Installations in one query that goes on looking for those that match; with custom data they are few."""
_RUNNING: Final = {"install": "installing", "upgrade": "upgrading", "uninstall": "uninstalling"}


async def list_installations(store: Store, wanted: InstallationFilter) -> Sequence[InstallationRow]:
    """Newest change first. Raises `SourceRefused` for a name that is no regular expression."""
    chosen = _chosen(await store.find(_wanted(wanted)), wanted)
    return sorted(chosen, key=lambda row: nanoseconds(row.status["modified"]) or 0, reverse=True)


async def page_installations(
    store: Store, wanted: InstallationFilter, *, size: int, beyond: InstallationKey | None
) -> InstallationPage:
    """By namespace and name, `size` at most, behind `beyond`. Those without a proper name are left out."""
    rows: list[InstallationRow] = []
    more, stretch = True, size + 1
    while more and len(rows) <= size:  # one beyond the page tells that there is another
        page = Page(size=stretch, beyond=beyond)
        documents = await store.find(replace(_wanted(wanted), page=page))
        named = {key: found for found in documents if (key := parse_key(found, "name")) is not None}
        rows += _chosen(named.values(), wanted)
        more = len(documents) == stretch
        beyond = next(reversed(named), beyond)
        # Few match, or none here has a name to go on behind.
        stretch *= 2 if not named or stretch < _LONG_STRETCH[wanted.custom] else 1
    last = rows[size - 1] if len(rows) > size else None
    behind = None if last is None else InstallationKey(last.namespace, last.name)
    return InstallationPage(rows=rows[:size], next=behind)


async def list_runs(store: Store, key: InstallationKey) -> Sequence[RunRow]:
    """Last started first."""
    return await _with_versions(store, await _runs(store, key))


async def page_runs(store: Store, key: InstallationKey, *, size: int, beyond: str | None) -> RunPage:
    """Last started first, `size` at most, behind the run `beyond`. Raises `NoSuchRun` where that is gone.

    Bundles, which weigh most, are read of the page alone.
    """
    rows = await _runs(store, key)
    if beyond is not None:
        behind = [number for number, row in enumerate(rows, 1) if row.id == beyond]
        if not behind:
            raise NoSuchRun(f"installation {key} has no run {beyond}")
        rows = rows[behind[0] :]
    return RunPage(rows=await _with_versions(store, rows[:size]), more=len(rows) > size)


async def _runs(store: Store, key: InstallationKey) -> Sequence[RunRow]:
    """Without the versions of their bundles."""
    fields = ("_id", "created", "action", "bundleReference")
    runs = await store.find(Query(collection=ask.RUNS, fields=fields, keys=(key,)))
    fields = ("_id", "runId", "created", "status")
    results = await store.find(Query(collection=ask.RESULTS, fields=fields, keys=(key,)))
    by_run: dict[str, list[Document]] = {}
    for result in sorted(results, key=_id):
        by_run.setdefault(_text(result.get("runId")), []).append(result)
    rows = [_run(run, by_run.get(_id(run), [])) for run in sorted(runs, key=_id)]
    return sorted(rows, key=lambda row: nanoseconds(row.started) or 0, reverse=True)


async def _with_versions(store: Store, rows: Sequence[RunRow]) -> Sequence[RunRow]:
    bundles = await read_bundles(store, [row.id for row in rows])
    read = {run_id: bundle.version for run_id, bundle in bundles.items() if isinstance(bundle, Bundle)}
    return [replace(row, version=read.get(row.id, "")) for row in rows]


async def list_outputs(
    store: Store, resolver: ValueResolver, key: InstallationKey, *, sensitive: bool = True
) -> Sequence[OutputRow]:
    """Of every output the newest there is, described by the bundle of the last run.

    Without `sensitive` no value is read but of outputs that are shown and plain.

    Raises `SourceRefused` if there is no run yet, or if one output cannot be resolved.
    """
    runs = await store.find(Query(collection=ask.RUNS, fields=("_id",), keys=(key,)))
    if not runs:
        raise SourceRefused(f"installation {key} has no run")
    listed = await store.find(Query(collection=ask.OUTPUTS, fields=_OUTPUT_FIELDS, keys=(key,)))
    return await _outputs(store, resolver, listed, key=key, run_id=max(map(_id, runs)), sensitive=sensitive)


async def list_run_outputs(store: Store, resolver: ValueResolver, run_id: str) -> Sequence[OutputRow]:
    """What one run left behind, described by its own bundle. Raises as `list_outputs`."""
    key = await run_owner(store, run_id)
    query = Query(collection=ask.OUTPUTS, fields=_OUTPUT_FIELDS, keys=(key,), any_of={"runId": (run_id,)})
    return await _outputs(store, resolver, await store.find(query), key=key, run_id=run_id)


async def run_owner(store: Store, run_id: str) -> InstallationKey:
    """The installation a run belongs to. Raises `SourceRefused` if there is no such run."""
    query = Query(collection=ask.RUNS, fields=ask.RUN_FIELDS, any_of={"_id": (run_id,)})
    keys = [parse_key(run, "installation") for run in await store.find(query)]
    if not keys or keys[0] is None:
        raise SourceRefused(f"there is no run {run_id}")
    return keys[0]


async def _outputs(
    store: Store,
    resolver: ValueResolver,
    listed: Iterable[Document],
    *,
    key: InstallationKey,
    run_id: str,
    sensitive: bool = True,
) -> Sequence[OutputRow]:
    """Of the outputs listed the newest of each name, as the bundle of the run declares them."""
    bundle = (await read_bundles(store, [run_id])).get(run_id)
    if not isinstance(bundle, Bundle):
        raise SourceRefused(f"run {run_id}: {bundle or 'the run is missing'}")
    ordered = sorted(listed, key=lambda document: _text(document.get("resultId")))
    latest = {_text(document.get("name")): document for document in ordered}
    shown = {name: declared for name in latest if (declared := bundle.shown(name)) is not None}
    plain = {name for name, declared in shown.items() if not declared.sensitive}
    # NB: with those that are hidden, as Porter does: one of them that does not resolve fails everything.
    read = [document for name, document in latest.items() if sensitive or name in plain]
    values = await _values(store, resolver, key, read)
    return [
        OutputRow(name=name, type=declared.type, sensitive=declared.sensitive, value=values.get(name))
        for name, declared in sorted(shown.items(), key=lambda item: item[0].encode())
    ]


async def _values(
    store: Store, resolver: ValueResolver, key: InstallationKey, listed: Iterable[Document]
) -> Mapping[str, SecretValue]:
    refs = [_ref(key, document) for document in listed]
    values: dict[str, SecretValue] = {}
    sealed: dict[str, OutputRef] = {}
    for batch in batches(refs):
        found = await read_outputs(store, batch)
        for ref in batch:
            match _judged(ref, found[ref.result_id, ref.name]):
                case Sealed(secret):
                    sealed[secret] = ref
                case state:
                    values[ref.name] = _value(ref, state)
    answers = await resolver.resolve(sealed.keys()) if sealed else {}
    for secret, ref in sealed.items():
        values[ref.name] = _value(ref, unsealed(ref, answers.get(secret, "no answer")))
    return values


def _judged(ref: OutputRef, found: Sequence[Document]) -> Found | Missing | Unresolved | Sealed:
    """NB: unlike us, Porter prints a value that was lost as an empty one."""
    if len(found) == 1 and found[0].get("value") is None and not found[0].get("key"):
        return Found(SecretValue(b""))
    return judge(ref, found)


def _value(ref: OutputRef, state: Found | Missing | Unresolved) -> SecretValue:
    match state:
        case Found(value):
            return value
        case Missing():
            raise SourceRefused(f"output {ref.name!r} was removed while it was read")
        case Unresolved(reason):
            raise SourceRefused(f"output {ref.name!r} {reason}")


def _ref(key: InstallationKey, document: Document) -> OutputRef:
    name, run_id, result_id = (document.get(part) for part in ("name", "runId", "resultId"))
    if not is_name(name) or not is_name(run_id) or not is_name(result_id):
        raise SourceRefused(f"installation {key} has an output document without name, run or result")
    return OutputRef(key, run_id, result_id, name, None)


def _wanted(wanted: InstallationFilter) -> Query:
    any_of = {} if wanted.namespace is None else {"namespace": (wanted.namespace,)}
    fields = _FIELDS if wanted.custom else tuple(name for name in _FIELDS if name != "custom")
    return Query(collection=ask.INSTALLATIONS, fields=fields, any_of=any_of)


def _chosen(documents: Iterable[Document], wanted: InstallationFilter) -> list[InstallationRow]:
    matches = _name_pattern(wanted.name)
    rows = map(_installation, documents)
    return [
        row
        for row in rows
        if matches.search(row.name)
        and wanted.text in row.name
        and wanted.labels.items() <= row.labels.items()
    ]


def _name_pattern(name: str | None) -> re.Pattern[str]:
    try:
        return re.compile(name or "")
    except re.error as error:
        raise SourceRefused(f"{name!r} is no regular expression: {error}") from None


def _installation(document: Document) -> InstallationRow:
    status, bundle, labels = (_map(document.get(part)) for part in ("status", "bundle", "labels"))
    return InstallationRow(
        schema_version=_text(document.get("schemaVersion")),
        id=_text(document.get("id")),
        name=_text(document.get("name")),
        namespace=_text(document.get("namespace")),
        uninstalled=document.get("uninstalled") is True,
        bundle={part: _text(bundle.get(part)) for part in _BUNDLE_PARTS},
        custom=document.get("custom"),
        labels={name: value for name, value in labels.items() if type(value) is str},
        credential_sets=_texts(document.get("credentialSets")),
        parameter_sets=_texts(document.get("parameterSets")),
        status=_status(status),
        state=state_of(status) or InstallationState.DEFINED,
        display_status=_display_status(_text(status.get("resultStatus")), _text(status.get("action"))),
    )


def _status(status: Document) -> Mapping[str, str | None]:
    texts = {name: _text(status.get(name)) for name in ("runId", "action", "resultId", "resultStatus")}
    times = {name: normalised(status.get(name)) for name in ("created", "modified")}
    moments = {
        name: None if status.get(name) is None else normalised(status.get(name))
        for name in ("installed", "uninstalled")
    }
    bundle = {name: _text(status.get(name)) for name in ("bundleReference", "bundleVersion", "bundleDigest")}
    return {**texts, **times, **moments, **bundle}


def _display_status(status: str, action: str) -> str:
    if status == "running":
        return _RUNNING.get(action, f"running {action}")
    return status if status in {"succeeded", "failed"} else ""


def _run(run: Document, results: Sequence[Document]) -> RunRow:
    created = [normalised(result.get("created")) for result in results]
    return RunRow(
        id=_id(run),
        bundle=_text(run.get("bundleReference")),
        version="",
        action=_text(run.get("action")),
        started=created[0] if len(created) in _ONE_OR_TWO else normalised(run.get("created")),
        stopped=created[-1] if len(created) > 1 else None,
        status=_text(results[-1].get("status")) if results else "",
    )


def _id(document: Document) -> str:
    return _text(document.get("_id"))


def _text(value: object) -> str:
    return value if type(value) is str else ""


def _texts(values: object) -> tuple[str, ...]:
    return tuple(value for value in values if type(value) is str) if isinstance(values, list) else ()


def _map(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
