"""Hand-made reports: what a pass could have come to, without one."""

from __future__ import annotations

from syncer.core.changes import KeyChange, KeyChangeKind, State, Subject
from syncer.core.model import InstallationKey
from syncer.engine.report import Action, Entry, Report, SinkReport

RUN = "01M85E6P1PW1HBWVSSGKJSVVJP"
STATES = {"keep": State.IN_SYNC, "conflict": State.CONFLICT, "hold": State.HELD}


def entry(
    action: Action,
    path: str | None = "shop/orders-db",
    *,
    sink: str = "local",
    reason: str = "because",
    error: str | None = None,
    state: State | None = None,
    keys: tuple[KeyChange, ...] = (),
    run: str = RUN,
) -> Entry:
    namespace, _, name = (path or "shop/nameless").partition("/")
    key = InstallationKey(namespace, name)
    subject = Subject(sink=sink, path=path, rule="files", key=key, id=f"id-{name}", run_id=run, revision="r1")
    state = State.FAILED if error else state or STATES.get(action, State.PENDING)
    return Entry(action=action, subject=subject, reason=reason, state=state, keys=keys, error=error)


def report(*entries: Entry, failure: str | None = None, held: str = "") -> Report:
    local = SinkReport(sink="local", entries=entries, failure=failure, held_hash=held)
    return Report(instance="prod-eu-1", source="feed", sinks=(local,))


ADDED = KeyChange("host", KeyChangeKind.ADD)
CHANGED = KeyChange("port", KeyChangeKind.CHANGE)
REMOVED = KeyChange("user", KeyChangeKind.REMOVE)
