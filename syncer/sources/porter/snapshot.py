"""Puts one installation together from its documents.

Pure, in steps, because what to read next shows only in what was read before: `heads` are the
results that count, `draft` takes those that are asked for, `finish` makes the `Installation`, and
`settled` tells whether older results could still matter. Each answers with a reason (`str`)
instead where a document cannot be trusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from syncer.core.model import Declaration, Installation, Result
from syncer.core.ulid import ulid_seconds
from syncer.sources.porter.bundle import STANDARD_ACTIONS, Bundle
from syncer.sources.porter.documents import (
    InstallationRecord,
    ResultHead,
    describe,
    parse_head,
    parse_outputs,
)
from syncer.sources.porter.store import Document

FUTURE_LIMIT: Final = 366 * 24 * 3600
"""Seconds by which an id may be ahead of our clock: what is newer was made by a clock that is wrong."""

_LOGS: Final = frozenset({"io.cnab.outputs.invocationImageLogs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An installation of which bundles and unrecorded output names are still missing."""

    record: InstallationRecord
    results: Sequence[ResultHead]
    """Those whose run is there, highest id first."""
    outputs: Mapping[str, dict[str, str | None] | None]
    """Of each result, name to digest; None where Porter recorded none."""
    actions: Mapping[str, str]
    """Of each run, by its id."""

    @property
    def bundle_runs(self) -> Sequence[str]:
        """Runs whose bundles decide what is declared: down to the newest that surely modifies."""
        needed: list[str] = []
        for result in self.results:
            needed.append(result.run_id)
            if self.actions[result.run_id] in STANDARD_ACTIONS:
                break
        return needed

    @property
    def unrecorded(self) -> Sequence[str]:
        """Results that do not say which outputs they have."""
        return [result.id for result in self.results if self.outputs[result.id] is None]


def heads(
    record: InstallationRecord, results: Iterable[Document], *, now: float
) -> Sequence[ResultHead] | str:
    """The succeeded results of this life, highest id first; `now` in seconds since 1970."""
    found: list[ResultHead] = []
    for document in results:
        head = parse_head(document)
        if isinstance(head, str):
            return head
        if head is not None and _this_life(record, head):
            found.append(head)
    found.sort(key=_by_id, reverse=True)
    newest = max([record.id, *(head.id for head in found[:1])])
    if ulid_seconds(newest) > now + FUTURE_LIMIT:
        return f"{newest} is an id of the far future, so the order of its results cannot be told"
    return found


def draft(
    record: InstallationRecord,
    wanted: Sequence[ResultHead],
    results: Mapping[str, Document],
    runs: Mapping[str, Document],
) -> Draft | str:
    """`results` and `runs` by id; a result whose run is missing, or another installation's, is ignored."""
    actions: dict[str, str] = {}
    outputs: dict[str, dict[str, str | None] | None] = {}
    for head in wanted:
        run = runs.get(head.run_id)
        if run is None or not _belongs(record, run):
            continue
        action, result = run.get("action"), results.get(head.id)
        if type(action) is not str:
            return f"{describe('runs', run)}: its action is no text"
        if result is None:
            return f"results document {head.id!r} was removed while it was read"
        digests = parse_outputs(result)
        if isinstance(digests, str):
            return digests
        actions[head.run_id], outputs[head.id] = action, digests
    chosen = [head for head in wanted if head.id in outputs]
    return Draft(record=record, results=chosen, outputs=outputs, actions=actions)


def finish(
    draft: Draft, bundles: Mapping[str, Bundle | str], names: Mapping[str, Iterable[str]]
) -> Installation | str:
    """`bundles` by run id, `names` of the outputs of `draft.unrecorded` by result id."""
    newest: Bundle | None = None
    modifying: set[str] = set()
    for run_id in draft.bundle_runs:
        bundle = bundles.get(run_id, "the bundle is missing")
        if isinstance(bundle, str):
            return f"runs document {run_id!r}: {bundle}"
        if bundle.modifies(draft.actions[run_id]):
            modifying.add(run_id)
            newest = newest or bundle
    declared: Mapping[str, Declaration] = newest.declared if newest else {}
    hidden = _LOGS | newest.internal if newest else _LOGS
    record = draft.record
    return Installation(
        key=record.key,
        id=record.id,
        labels=record.labels,
        state=record.state,
        results=tuple(_result(head, draft, modifying, hidden, names) for head in draft.results),
        declared=declared,
        last_run_failed=record.last_run_failed,
    )


def settled(installation: Installation) -> bool:
    """Whether no result older than those it has could be selected any more.

    So it is once a result modifies, and either has everything that is declared, or uninstalls:
    nothing is carried across that.
    """
    if not installation.results or not installation.results[0].modifies:
        return False
    newest = installation.results[0]
    return newest.action == "uninstall" or installation.declared.keys() <= newest.outputs.keys()


def _result(
    head: ResultHead,
    draft: Draft,
    modifying: set[str],
    hidden: frozenset[str],
    names: Mapping[str, Iterable[str]],
) -> Result:
    """NB: of custom actions older than the newest that modifies nobody asks whether they modify."""
    action, outputs = draft.actions[head.run_id], draft.outputs[head.id]
    if outputs is None:
        outputs = dict.fromkeys(names.get(head.id, ()))
    return Result(
        id=head.id,
        run_id=head.run_id,
        action=action,
        modifies=action in STANDARD_ACTIONS or head.run_id in modifying,
        outputs={name: digest for name, digest in outputs.items() if name not in hidden},
    )


def _this_life(record: InstallationRecord, head: ResultHead) -> bool:
    """NB: documents of a deleted installation of the same name may still be there."""
    return head.id >= record.id or head.id == record.result_id


def _belongs(record: InstallationRecord, run: Document) -> bool:
    return run.get("namespace") == record.key.namespace and run.get("installation") == record.key.name


def _by_id(head: ResultHead) -> str:
    return head.id
