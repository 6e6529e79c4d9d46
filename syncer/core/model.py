"""The values everything else speaks in: installations, results, outputs, rules, targets.

Frozen and free of Porter's document format (that is `sources.porter`) and of file formats
(that is `config`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from backends.contract import Capabilities, Layout, Naming, Workloads
from backends.secret_value import SecretValue


@dataclass(frozen=True, slots=True, order=True)
class InstallationKey:
    """Porter's name for an installation. "" is the global namespace."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class InstallationRef:
    """One line of the source's complete list: the name, and which life of it."""

    key: InstallationKey
    id: str
    stamp: str = field(default="", compare=False)
    """Changes with every action on the installation, and with its labels; nothing else follows from it."""


class InstallationState(Enum):
    """As Porter shows it: from status.installed and status.uninstalled."""

    DEFINED = "defined"
    INSTALLED = "installed"
    UNINSTALLED = "uninstalled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What a bundle says of one output."""

    sensitive: bool
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A succeeded result, and what it produced (internal outputs left out)."""

    id: str
    run_id: str
    action: str
    modifies: bool
    outputs: Mapping[str, str | None]
    """Output name to the SHA-256 of its bytes in hex; None where Porter recorded none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A complete snapshot of one installation, values left out."""

    key: InstallationKey
    id: str
    labels: Mapping[str, str]
    state: InstallationState
    results: tuple[Result, ...]
    """Succeeded ones of this life, highest id first."""
    declared: Mapping[str, Declaration]
    """By the bundle of the newest succeeded run that modifies; internal ones left out."""
    last_run_failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """An installation whose documents cannot be trusted. Nothing follows from them."""

    key: InstallationKey
    reason: str


Loaded = Installation | Quarantined
"""What a source says of an installation that exists. One that does not is not in the answer."""


@dataclass(frozen=True, slots=True)
class OutputRef:
    """Where one output's value is: result and name are unique in Porter's data."""

    installation: InstallationKey
    run_id: str
    result_id: str
    name: str
    digest: str | None
    """SHA-256 in hex the bytes must have, None where Porter recorded none."""


@dataclass(frozen=True, slots=True)
class Found:
    """The bytes of an output, checked against its digest where there is one."""

    value: SecretValue


@dataclass(frozen=True, slots=True)
class Missing:
    """No document yet: still being written, or lost."""


@dataclass(frozen=True, slots=True)
class Unresolved:
    """There is a document, and no value can be had from it. `reason` fits "output X ..."."""

    reason: str


OutputState = Found | Missing | Unresolved


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedOutput:
    """One output of a set, by reference."""

    ref: OutputRef
    sensitive: bool
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSet:
    """What an installation publishes under one rule: the latest successful outputs."""

    key: InstallationKey
    id: str
    run_id: str
    result_id: str
    """The newest succeeded result, also where outputs are carried over from older ones."""
    action: str
    """Of that result's run."""
    outputs: Mapping[str, SelectedOutput]


# --- what the configuration asks for -------------------------------------------------------


class Sensitivity(Enum):
    ANY = "any"
    SENSITIVE = "sensitive"
    PLAIN = "plain"


class KeyStyle(Enum):
    RAW = "raw"
    UPPER_SNAKE = "upper-snake"


class OnUninstall(Enum):
    DELETE = "Delete"
    RETAIN = "Retain"


class DeletionPolicy(Enum):
    DELETE = "Delete"
    RETAIN = "Retain"


class UpdatePolicy(Enum):
    REPLACE = "Replace"
    IF_NOT_EXISTS = "IfNotExists"


class ConflictPolicy(Enum):
    REFUSE = "Refuse"
    ADOPT = "Adopt"


@dataclass(frozen=True, slots=True)
class FromOutput:
    """A key that holds one output's bytes as they are."""

    output: str


@dataclass(frozen=True, slots=True)
class Placeholder:
    """`{output|filter|filter}` in a value template."""

    output: str
    filters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FromTemplate:
    """A key composed of text and several outputs of the same installation."""

    pieces: tuple[str | Placeholder, ...]


KeySource = FromOutput | FromTemplate


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which installations a rule is for. Globs (`*`, `?`, `[...]`); labels all have to agree."""

    namespaces: tuple[str, ...] = ("*",)
    installations: tuple[str, ...] = ("*",)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFilter:
    """Which outputs of a matching installation a rule takes."""

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    sensitivity: Sensitivity = Sensitivity.ANY


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where, and in which shape, a rule's outputs go."""

    sink: str
    id: str
    """Its position in the rule, as text; part of the mark."""
    parts: tuple[str, ...]
    layout: Layout
    naming: Naming
    capabilities: Capabilities
    attributes: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, KeySource] | None = None
    """None: every output under its own name."""
    key_style: KeyStyle = KeyStyle.RAW
    update_policy: UpdatePolicy = UpdatePolicy.REPLACE
    conflict_policy: ConflictPolicy = ConflictPolicy.REFUSE
    restart: tuple[Workloads, ...] = ()
    """Who is restarted when the content of a secret changed."""
    shows: str | None = None
    """Name of the sink whose secrets are shown here, beside the values of plain outputs; for targets that
    describe what is published. They never get a sensitive value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    name: str
    targets: tuple[Target, ...]
    match: Match = field(default_factory=Match)
    outputs: OutputFilter = field(default_factory=OutputFilter)
    carry_over: bool = True
    on_uninstall: OnUninstall = OnUninstall.DELETE
    deletion_policy: DeletionPolicy = DeletionPolicy.DELETE
    prune: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardLimits:
    """When deletions are too many to be believed."""

    max_deletions: int = 5
    max_deletion_percent: int = 20
    grace: float = 10.0
    """Seconds between the two complete snapshots that prove an absence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything the pure core needs to know of the configuration."""

    instance: str
    rules: tuple[Rule, ...]
    namespaces: Mapping[str, str] = field(default_factory=dict)
    """Porter namespace to what `{namespace}` becomes; one that is missing stays itself."""
    guard: GuardLimits = field(default_factory=GuardLimits)
    settle_time: float = 30.0
    """Seconds a succeeded result may take to get its outputs before it counts as incomplete."""


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where a secret is: the sink's configured name, and the address in it."""

    sink: str
    path: str

    def __str__(self) -> str:
        return f"{self.sink}:{self.path}"
