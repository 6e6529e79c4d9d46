"""What is listed of Porter's records, row by row: for people at a terminal and callers of the API.

Values only. How they are read is in `sources`, how they look in `cli` and `api`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from backends.secret_value import SecretValue
from syncer.core.model import InstallationKey, InstallationState, SelectedOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationFilter:
    """Which installations to list."""

    namespace: str | None = None
    """None: every one."""
    name: str | None = None
    """A regular expression that must occur in the name."""
    text: str = ""
    """What must occur in the name as it stands."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """All have to agree."""
    custom: bool = True
    """Whether `InstallationRow.custom` is wanted; it may be large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationRow:
    """One line of `porter installations list`; texts are "" and times zero where nothing is stored."""

    schema_version: str
    id: str
    name: str
    namespace: str
    uninstalled: bool
    bundle: Mapping[str, str]
    custom: object
    labels: Mapping[str, str]
    credential_sets: tuple[str, ...]
    parameter_sets: tuple[str, ...]
    status: Mapping[str, str | None]
    """Field by field as Porter names and orders them."""
    state: InstallationState
    display_status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationPage:
    """Some of a long list."""

    rows: Sequence[InstallationRow]
    next: InstallationKey | None
    """What the next page is behind; None: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One line of `porter installations runs list`."""

    id: str
    bundle: str
    """Its reference; "" for a bundle that was never in a registry."""
    version: str
    action: str
    started: str
    stopped: str | None
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """Some of the runs of an installation."""

    rows: Sequence[RunRow]
    more: bool
    """Whether there are others behind these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRow:
    """One line of `porter installations outputs list`."""

    name: str
    type: str
    sensitive: bool
    value: SecretValue | None
    """None: sensitive, and not asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedOutputs:
    """The outputs of an installation, or of one of its runs, as this project selects them."""

    run_id: str
    """The newest succeeded run, or the one asked for; "" where nothing has succeeded yet."""
    outputs: Mapping[str, SelectedOutput]
