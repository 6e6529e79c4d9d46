"""How each sink stands with each installation, for the sink that shows it (`ShowsConditions`).

An observer. Remembers troubles; whatever has none at a sink that was compared as a whole is in sync there.
What is not known, as after a start, is said to be unknown: what was shown before stays then.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Protocol

from backends.contract import Condition
from syncer.core.model import InstallationKey
from syncer.core.ports import Outcome, Reconciled

_SYNCED: Final = Condition(ok=True, reason="Synced", message="what is in the sink is what was put out last")
_REASONS: Final = {Outcome.WAITING: "Waiting", Outcome.HELD: "Held", Outcome.FAILED: "Failed"}


class Waiting(Protocol):
    """One sink's controller, as far as it matters here."""

    @property
    def name(self) -> str: ...

    def wants(self, key: InstallationKey) -> bool:
        """Whether a change or another attempt of this one is still to be done."""
        ...

    def wanted(self) -> Collection[InstallationKey]:
        """All of those."""
        ...

    def show_again(self, keys: Collection[InstallationKey]) -> None:
        """What is shown of these may have changed."""
        ...


class Conditions:
    """A `RunObserver`. `shown_by` names the sink that shows all this, which says nothing of itself."""

    def __init__(self, shown_by: str) -> None:
        self._shown_by = shown_by
        self._known: dict[str, dict[InstallationKey, Condition]] = {}
        self._swept: set[str] = set()
        self._down: dict[str, str] = {}
        self._controllers: dict[str, Waiting] = {}

    def watch(self, controllers: Collection[Waiting]) -> None:
        """These work from now on; nothing is known of what they will find."""
        self._controllers = {one.name: one for one in controllers}
        self._forget()

    def of(self, namespace: str, installation: str) -> Mapping[str, Condition | None]:
        """By the name of the sink."""
        key = InstallationKey(namespace, installation)
        return {name: self._condition(name, key) for name in self._controllers if name != self._shown_by}

    def _condition(self, sink: str, key: InstallationKey) -> Condition | None:
        failure = self._down.get(sink)
        if failure is not None and self._controllers[sink].wants(key):
            return Condition(ok=False, reason="SinkUnavailable", message=failure)
        return self._known.get(sink, {}).get(key) or (_SYNCED if sink in self._swept else None)

    def _show(self, keys: Collection[InstallationKey]) -> None:
        if keys and self._shown_by in self._controllers:
            self._controllers[self._shown_by].show_again(keys)

    def _forget(self) -> None:
        self._known, self._swept, self._down = {}, set(), {}

    # --- what observers are told

    def reconciled(self, what: Reconciled) -> None:
        if what.sink == self._shown_by or what.sink not in self._controllers:
            return
        before = self._condition(what.sink, what.key)
        known = self._known.setdefault(what.sink, {})
        known.pop(what.key, None)
        if what.outcome is not Outcome.SYNCED:
            known[what.key] = Condition(ok=False, reason=_REASONS[what.outcome], message=what.reason)
        elif what.sink not in self._swept:
            known[what.key] = _SYNCED
        if self._condition(what.sink, what.key) != before:
            self._show((what.key,))

    def sink(self, name: str, failure: str | None) -> None:
        """NB: an installation nothing is to be done for is in sync at a sink that is down."""
        if name == self._shown_by or name not in self._controllers or self._down.get(name) == failure:
            return
        if failure is None:
            del self._down[name]
        else:
            self._down[name] = failure
        self._show(self._controllers[name].wanted())

    def swept(self, sink: str, seconds: float) -> None:  # noqa: ARG002  # observers are told
        known = self._known.get(sink, {})
        self._known[sink] = {key: condition for key, condition in known.items() if not condition.ok}
        self._swept.add(sink)

    def leading(self, leading: bool) -> None:  # noqa: FBT001  # a fact, not an option
        if not leading:
            self._forget()

    def progress(self, what: str, done: int, total: int) -> None: ...

    def entry(self, entry: object) -> None: ...

    def failed(self, sink: str, reason: str) -> None: ...

    def source(self, failure: str | None) -> None: ...

    def restarted(self, sink: str, workload: str) -> None: ...
