"""What a pass came to, as data and as text: `plan`, `once`, `adopt`, `gc` and `status`. Pure.

The shapes of the data are documented, and compared by tests: scripts depend on them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Final

from syncer.cli.errors import CHANGES, FAILED, HELD, OK
from syncer.cli.formats import Data, printable, table
from syncer.core.changes import KeyChangeKind, State
from syncer.core.ulid import is_ulid, ulid_seconds
from syncer.engine.report import Action, Entry, Report, applied

ACTIONS: Final[tuple[Action, ...]] = ("create", "update", "keep", "delete", "conflict", "hold")
_WRITES: Final[tuple[Action, ...]] = ("create", "update", "delete")
_DONE: Final[Mapping[Action, str]] = {"create": "created", "update": "updated", "delete": "deleted"}
_SIGNS: Final = {KeyChangeKind.ADD: "+", KeyChangeKind.CHANGE: "~", KeyChangeKind.REMOVE: "-"}


# --- exit codes ----------------------------------------------------------------------------


def once_code(report: Report) -> int:
    """0 all in sync, 1 something failed, 4 something is held or in conflict."""
    if report.failed:
        return FAILED
    return HELD if report.has("hold", "conflict") else OK


def plan_code(report: Report) -> int:
    """1 something failed, else 3 changes, else 4 something is held or in conflict, else 0."""
    if not report.failed and report.has(*_WRITES):
        return CHANGES
    return once_code(report)


# --- data ----------------------------------------------------------------------------------


def plan_data(report: Report) -> dict[str, Data]:
    """The shape of `plan -o json`."""
    return {
        "instance": report.instance,
        "source": report.source,
        "changes": [_change(entry) for entry in report.entries],
        "summary": _counts(report.entries),
    }


def _change(entry: Entry) -> Data:
    subject = entry.subject
    return {
        "action": entry.action,
        "sink": subject.sink,
        "address": subject.path or "",
        "rule": subject.rule,
        "installation": {"namespace": subject.key.namespace, "name": subject.key.name, "id": subject.id},
        "run": subject.run_id,
        "reason": entry.error or entry.reason,
        "keys": [{"key": key.key, "change": key.change.value} for key in entry.keys],
    }


def _counts(entries: Iterable[Entry]) -> dict[str, int]:
    found = Counter(entry.action for entry in entries)
    return {action: found[action] for action in ACTIONS}


def status_data(report: Report) -> Data:
    """The shape of `status -o json`: by installation, in order of namespace and name."""
    return [
        {"namespace": namespace, "name": name, "id": identity, "targets": [_target(one) for one in entries]}
        for (namespace, name, identity), entries in groupby(
            sorted(report.entries, key=_installation), key=_installation
        )
    ]


def _installation(entry: Entry) -> tuple[str, str, str]:
    return entry.subject.key.namespace, entry.subject.key.name, entry.subject.id


def _target(entry: Entry) -> Data:
    subject = entry.subject
    return {
        "sink": subject.sink,
        "address": subject.path or "",
        "rule": subject.rule,
        "state": entry.state.value,
        "run": subject.run_id,
        "revision": subject.revision,
        "since": since(subject.run_id),
        "reason": entry.error or entry.reason,
    }


def since(run_id: str) -> str:
    """When a run was started, by its id, in UTC; "" where the id does not tell."""
    if not is_ulid(run_id):
        return ""
    try:
        started = datetime.fromtimestamp(ulid_seconds(run_id), UTC)
    except (OverflowError, ValueError):
        return ""
    return started.strftime("%Y-%m-%dT%H:%M:%SZ")


def gc_data(report: Report) -> Data:
    """The shape of `gc -o json`: a plan, and the held sets with the hashes that release them."""
    held = [{"sink": sink.sink, "hash": sink.held_hash} for sink in report.sinks if sink.held_hash]
    return {**plan_data(report), "held": held}


def collected(report: Report) -> Report:
    """Of a pass that only deletes, what it is about: deletions, what is held, and orphans."""
    sinks = [
        replace(sink, entries=tuple(entry for entry in sink.entries if _concerns_gc(entry)))
        for sink in report.sinks
    ]
    return replace(report, sinks=tuple(sinks))


def _concerns_gc(entry: Entry) -> bool:
    return entry.action in ("delete", "hold") or entry.state is State.ORPHANED


# --- text ----------------------------------------------------------------------------------


def plan_text(report: Report, *, verbose: bool) -> str:
    """One line for each change, a summary, and how held deletions are released."""
    return _changes(_shown(report.entries, verbose=verbose)) + _ending(report)


def gc_text(report: Report) -> str:
    """As `plan_text`, of what nothing wants any more."""
    counts = _counts(report.entries)
    summary = f"{counts['delete']} to delete, {counts['hold']} held, {counts['keep']} orphaned\n"
    orphans = "Orphaned secrets stay. To delete them: syncer gc --prune\n" if counts["keep"] else ""
    return _changes(report.entries) + summary + _releases(report) + orphans


def once_text(report: Report, *, verbose: bool) -> str:
    """What was not written and why, then what was written where, and a summary."""
    done = applied(report.entries)
    text = _changes([one for one in _shown(report.entries, verbose=verbose) if one not in done])
    lines = "".join(f"{_DONE[one.action]} {printable(_where(one))}\n" for one in done)
    between = "\n" if text and lines else ""
    return text + between + lines + _done(report, done) + _releases(report)


def _where(entry: Entry) -> str:
    return f"{entry.subject.address} ({entry.subject.key})"


def _done(report: Report, done: Sequence[Entry]) -> str:
    written, counts = Counter(one.action for one in done), _counts(report.entries)
    failed = sum(1 for one in report.entries if one.error)
    figures = [f"{written[action]} {word}" for action, word in _DONE.items()]
    figures += [f"{counts['keep']} unchanged", f"{counts['conflict']} in conflict", f"{counts['hold']} held"]
    unfinished = ", ".join(sink.sink for sink in report.sinks if sink.failure)
    ending = f"; sinks not finished: {unfinished}\n" if unfinished else "\n"
    return ", ".join([*figures, f"{failed} failed"]) + ending


def status_text(report: Report) -> str:
    """A line for each installation and target."""
    header = ("NAMESPACE", "NAME", "ADDRESS", "RULE", "STATE", "RUN", "SINCE", "REASON")
    return table(header, [_status_row(entry) for entry in sorted(report.entries, key=_installation)])


def _status_row(entry: Entry) -> tuple[str, ...]:
    subject = entry.subject
    return (
        subject.key.namespace,
        subject.key.name,
        subject.address,
        subject.rule,
        entry.state.value,
        subject.run_id,
        since(subject.run_id),
        entry.error or entry.reason,
    )


def failures_text(report: Report) -> str:
    """A line for each sink that could not be finished."""
    return "".join(f"sink {sink.sink}: {sink.failure}\n" for sink in report.sinks if sink.failure)


def _shown(entries: Iterable[Entry], *, verbose: bool) -> list[Entry]:
    return [
        entry for entry in entries if verbose or entry.action != "keep" or entry.state is not State.IN_SYNC
    ]


def _changes(entries: Sequence[Entry]) -> str:
    if not entries:
        return ""
    header = ("ACTION", "ADDRESS", "INSTALLATION", "REASON", "KEYS")
    return table(header, [_change_row(entry) for entry in entries])


def _change_row(entry: Entry) -> tuple[str, ...]:
    action = f"{entry.action} failed" if entry.error else entry.action
    keys = " ".join(f"{_SIGNS[key.change]}{key.key}" for key in entry.keys)
    return action, entry.subject.address, str(entry.subject.key), entry.error or entry.reason, keys


def _ending(report: Report) -> str:
    figures = ", ".join(f"{count} {action}" for action, count in _counts(report.entries).items())
    return f"{figures}\n" + _releases(report)


def _releases(report: Report) -> str:
    return "".join(
        f"Deletions at {sink.sink} are held. To release them: syncer gc --approve {sink.held_hash}\n"
        for sink in report.sinks
        if sink.held_hash
    )
