"""What a sink is: the `Sink` protocol, and the values that cross it.

Everything here is data and signatures. How marks are read and judged is in `marking`,
how names are made legal in `naming` and each sink's `names`, how a kind is found in `loading`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

from pydantic import BaseModel

from backends.secret_value import SecretValue


class Layout(Enum):
    """How outputs are spread over secrets."""

    BUNDLE = "bundle"
    """One secret per installation, a key for each output."""
    PER_OUTPUT = "perOutput"
    """One secret for each output, holding its bytes under the key `value`."""


PER_OUTPUT_KEY = "value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who we are: the configured instance, and the source it reads."""

    instance: str
    source: str
    """Fingerprint of the source: who answers for the absence of an installation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Who wrote a secret, for which installation, and from which run (design: marks).

    Holds no hash of a value: whoever may list marks could guess a short secret from it.
    """

    instance: str
    source: str
    rule: str
    target: str
    """Which target of the rule, as `<rule>` readers count them: "0", "1", ..."""
    address: str
    """The address it was written to. A mark found anywhere else is a copy, hence foreign."""
    namespace: str
    """Porter's namespace, "" for the global one."""
    installation: str
    installation_id: str
    run_id: str
    result_id: str
    revision: str
    """Changes when another result, or another layout, is published."""
    content_id: str
    """Random; changes exactly when the bytes do."""
    output: str = ""
    """Which output it holds, by the source's name; "" where all are in one secret, and for a template."""


@dataclass(frozen=True, slots=True)
class Version:
    """A sink's own token for "the secret as it was observed"; opaque to everyone else."""

    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredSecret:
    """What is to be at an address, mark included."""

    mark: Mark
    data: Mapping[str, SecretValue]
    attributes: Mapping[str, str] = field(default_factory=dict)
    """What the target asks for beside the data, in the sink's words: for kubernetes
    `type`, `label:NAME`, `annotation:NAME`."""

    @property
    def address(self) -> str:
        return self.mark.address


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedSecret:
    """What is at an address. With `foreign` None it is ours, and then `mark` is present."""

    address: str
    version: Version
    mark: Mark | None
    foreign: str | None
    """Why it is not ours, fit for users ("no mark", "marked by instance staging-2", ...)."""
    data: Mapping[str, SecretValue] | None = None
    """The bytes. `observe` reads those of what is ours; `inventory` does where it costs nothing
    more (`Capabilities.lists_values`)."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    intact: bool = True
    """False when the sink can tell without reading values that the bytes or the mark's own
    copies (index labels) are not what we wrote."""

    @property
    def ours(self) -> bool:
        return self.foreign is None


@dataclass(frozen=True, slots=True)
class Absent:
    """Write only if nothing is at the address."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Write only over our own secret, exactly as it was observed."""

    version: Version


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Write over a foreign secret, exactly as it was observed (adoption, always on purpose)."""

    version: Version


Expectation = Absent | Unchanged | TakeOver


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a kind of sink can and cannot do. A frozen table for each, compared by tests."""

    compare_and_set: bool
    atomic_mark: bool
    """Mark and data are written by one operation."""
    lists_values: bool
    """`inventory` returns the bytes."""
    layouts: frozenset[Layout]
    max_secret_bytes: int | None
    """Sum of all values of one secret."""
    max_value_bytes: int | None
    max_address_length: int | None
    max_key_length: int | None
    restarts: bool = False
    """Can restart the workloads that read the secret."""


class FindingLevel(Enum):
    """How `doctor` shows a finding."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fact found out by a check, and what to do about it where it is not good."""

    level: FindingLevel
    subject: str
    detail: str


class Sink(Protocol):
    """A place secrets are written to. Five methods; a sixth needs a written reason.

    All raise `SinkError`s and nothing else. Cancelling a call may leave its outcome unknown.
    """

    @property
    def capabilities(self) -> Capabilities: ...

    async def check(self) -> tuple[Finding, ...]:
        """Reachable, and permitted to do what is needed; writes nothing."""
        ...

    async def observe(self, owner: Owner, addresses: Collection[str]) -> Mapping[str, ObservedSecret]:
        """What is at these addresses, ours or not; an absent one is missing from the answer.

        Of what is ours with its bytes.
        """
        ...

    def inventory(self, owner: Owner) -> AsyncIterator[ObservedSecret]:
        """Everything that carries the mark of this instance, page by page.

        Ends normally only when the list is complete; a cut list raises.
        """
        ...

    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        """Write data, mark and attributes as one whole, and return the new version.

        Raises `PreconditionFailed` if the world is not as expected, `ForeignSecret` if
        somebody else's secret is in the way. Never writes unmarked, never merges data.
        """
        ...

    async def remove(self, observed: ObservedSecret) -> None:
        """Delete this secret, if it still is exactly what was observed and ours.

        Absent already is success. Raises `PreconditionFailed` if it changed, and
        `ForeignSecret` for what is not ours.
        """
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One of our secrets at a sink changed, whoever did it, or may have."""

    address: str | None
    """None: something may have been missed, so that everything has to be compared again."""
    version: Version | None = None
    """What it is now; None where it is gone or the sink does not tell. Own writes are known by it."""


@runtime_checkable
class Watches(Protocol):
    """A sink may tell of changes as they happen. Only a hint: the inventory is the truth."""

    def watch(self, owner: Owner) -> AsyncIterator[Seen]:
        """Changes of what carries this instance's index, until it is closed or cancelled.

        Begins with `Seen(address=None)`, and says so again after every gap. Failures of the server
        are retried inside, with backoff; raises `SinkError` only for what repetition does not mend.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Workloads:
    """Those of one kind, beside the secret, that have a name, or all the labels of a selector."""

    kind: str
    name: str | None = None
    selector: Mapping[str, str] = field(default_factory=dict)
    """Only without a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartWish:
    """These workloads should run with just this content of a secret."""

    address: str
    content_id: str
    """What the secret's mark says now."""
    workloads: tuple[Workloads, ...]
    before: str = ""
    """The content id that was replaced just now; "" where the content is not known to have changed."""


@runtime_checkable
class Restarts(Protocol):
    """A sink may restart the workloads that read its secrets."""

    def restart(self, wishes: Collection[RestartWish]) -> AsyncIterator[str]:
        """Restart those that were started with other content; each one restarted, as it is done.

        What a workload was started with is noted at the workload itself. One without a note is noted,
        and restarted only where the content was replaced just now. Asking again restarts nobody again.
        Raises a `SinkError` where something could not be done, after everything that could.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How one sink stands with one installation, in the shape of a Kubernetes condition."""

    ok: bool
    reason: str
    """One CamelCase word."""
    message: str
    """For people: one sentence, no value in it."""


Conditions = Callable[[str, str], Mapping[str, Condition | None]]
"""Porter namespace and installation to what is known by the names of sinks; None, or missing: nothing is."""


@runtime_checkable
class ShowsConditions(Protocol):
    """A sink may show how the other sinks stand with an installation."""

    def show(self, conditions: Conditions) -> None:
        """Ask there from now on. What is shown and known otherwise is not intact; what is unknown stays."""
        ...


class Naming(Protocol):
    """How one sink makes legal names. Pure; made once from the sink's options."""

    global_namespace: str | None
    """What `{namespace}` becomes for Porter's global namespace where it is not mapped;
    None: it must be mapped."""

    def address(self, parts: tuple[str, ...]) -> str:
        """The address for a target's parts, placeholders filled in. Raises `NameRefused`."""
        ...

    def key(self, name: str) -> str:
        """The data key for an output's name. Raises `NameRefused`."""
        ...

    def same(self, address: str) -> str:
        """A form under which two addresses are equal exactly when the sink says so."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetShape:
    """What a kind's target options come down to, in words every sink shares."""

    parts: tuple[str, ...]
    """Address template, part by part; placeholders as `{namespace}`."""
    layout: Layout
    attributes: Mapping[str, str] = field(default_factory=dict)
    restart: tuple[Workloads, ...] = ()
    """Who is restarted when the content of a secret changed."""


Place = tuple[object, ...]
"""Where secrets are, from the outside in: what begins with another place lies within it."""


@runtime_checkable
class SaysPlaces(Protocol):
    """A kind's options may say where its secrets are, if not every text in them tells that.

    Two sinks of a kind whose places overlap are refused: each would take the other's work for drift.
    """

    def places(self) -> Collection[Place]: ...


class TargetOptions(BaseModel):
    """Base of each kind's target options (the fields a target has for that kind alone)."""

    def shape(self) -> TargetShape:
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkKind:
    """A kind of sink as the entry-point group `syncer.backends` names it.

    Importing one imports no client library; `create` does.
    """

    kind: str
    options: type[BaseModel]
    target: type[TargetOptions]
    capabilities: Capabilities
    naming: NamingFactory
    create: SinkFactory


class NamingFactory(Protocol):
    def __call__(self, options: Any, /) -> Naming: ...


class SinkFactory(Protocol):
    def __call__(self, options: Any, /) -> Sink: ...
