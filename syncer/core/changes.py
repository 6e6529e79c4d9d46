"""What a plan is made of: the changes, what each is about, and the states users see.

Values only; `planning` and `disposal` decide which change it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from backends.contract import DesiredSecret, Expectation, Mark, ObservedSecret
from syncer.core.mapping import Mapped, Wanted
from syncer.core.model import InstallationKey


class State(Enum):
    """How a target stands, as `syncer status` shows it."""

    IN_SYNC = "InSync"
    PENDING = "Pending"
    SETTLING = "Settling"
    INCOMPLETE = "Incomplete"
    HELD = "Held"
    CONFLICT = "Conflict"
    DRIFTED = "Drifted"
    ORPHANED = "Orphaned"
    FAILED = "Failed"


class KeyChangeKind(Enum):
    ADD = "add"
    CHANGE = "change"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class KeyChange:
    key: str
    change: KeyChangeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a change is about."""

    sink: str
    path: str | None
    """None where not even an address can be made."""
    rule: str
    key: InstallationKey
    id: str
    run_id: str = ""
    revision: str = ""

    @property
    def address(self) -> str:
        return f"{self.sink}:{self.path or ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    subject: Subject
    desired: DesiredSecret
    reason: str
    keys: tuple[KeyChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    subject: Subject
    desired: DesiredSecret
    expect: Expectation
    reason: str
    keys: tuple[KeyChange, ...]
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    subject: Subject
    reason: str
    state: State = State.IN_SYNC


class DeleteCause(Enum):
    """Why a secret is no longer wanted; what has to be true still directly before the delete."""

    GONE = "the installation is deleted"
    UNINSTALLED = "the installation is uninstalled"
    DROPPED = "the installation no longer produces these outputs"
    PRUNED = "the configuration no longer wants it, and the rule says prune"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    subject: Subject
    observed: ObservedSecret
    cause: DeleteCause
    doubt: str | None = None
    """Why this deletion is held until it is approved, whatever the number."""

    @property
    def reason(self) -> str:
        return self.cause.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    subject: Subject
    reason: str
    observed: ObservedSecret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    subject: Subject
    reason: str
    state: State = State.HELD


Change = Create | Update | Keep | Delete | Conflict | Hold


def subject_of(mapped: Mapped) -> Subject:
    return Subject(
        sink=mapped.target.sink,
        path=mapped.address.path if mapped.address else None,
        rule=mapped.rule.name,
        key=mapped.outputs.key,
        id=mapped.outputs.id,
        run_id=mapped.outputs.run_id,
        revision=mapped.revision if isinstance(mapped, Wanted) else "",
    )


def subject_of_mark(sink: str, mark: Mark) -> Subject:
    return Subject(
        sink=sink,
        path=mark.address,
        rule=mark.rule,
        key=InstallationKey(mark.namespace, mark.installation),
        id=mark.installation_id,
        run_id=mark.run_id,
        revision=mark.revision,
    )
