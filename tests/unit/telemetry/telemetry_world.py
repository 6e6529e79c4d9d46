"""Hand-made entries and reconciliations, as a controller would tell them."""

from __future__ import annotations

from typing import Any

from syncer.core.changes import KeyChange, State, Subject
from syncer.core.model import InstallationKey
from syncer.core.ports import Outcome, Reconciled
from syncer.engine.report import Action, Entry

KEY = InstallationKey("shop", "orders-db")
STATES = {"keep": State.IN_SYNC, "conflict": State.CONFLICT, "hold": State.HELD}


def entry(
    action: Action,
    path: str | None = "shop/orders-db",
    *,
    sink: str = "cluster",
    rule: str = "everything",
    key: InstallationKey = KEY,
    reason: str = "because",
    state: State | None = None,
    keys: tuple[KeyChange, ...] = (),
    error: str | None = None,
) -> Entry:
    subject = Subject(sink=sink, path=path, rule=rule, key=key, id="01LIFE", run_id="01RUN", revision="r1")
    state = State.FAILED if error else state or STATES.get(action, State.PENDING)
    return Entry(action=action, subject=subject, reason=reason, state=state, keys=keys, error=error)


def reconciled(outcome: Outcome = Outcome.SYNCED, **changes: Any) -> Reconciled:
    fields: dict[str, Any] = {
        "id": "1f2e",
        "sink": "cluster",
        "key": KEY,
        "outcome": outcome,
        "written": 0,
        "seconds": 0.25,
        "waited": 1.5,
        "fresh": True,
        "reason": "" if outcome is Outcome.SYNCED else "output 'x' is not there",
    }
    return Reconciled(**(fields | changes))


class Deaf:
    """A `RunObserver` that does nothing; tests change single methods."""

    def progress(self, what: str, done: int, total: int) -> None: ...

    def entry(self, entry: object) -> None: ...

    def failed(self, sink: str, reason: str) -> None: ...

    def reconciled(self, what: Reconciled) -> None: ...

    def source(self, failure: str | None) -> None: ...

    def sink(self, name: str, failure: str | None) -> None: ...

    def swept(self, sink: str, seconds: float) -> None: ...

    def leading(self, leading: bool) -> None: ...

    def restarted(self, sink: str, workload: str) -> None: ...
