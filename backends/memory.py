"""The reference sink: the contract in its plainest form, for tests of whatever uses sinks.

Secrets live in a `MemoryStore`, so that several sinks can share one, as two instances share
a cluster. It keeps nothing beyond the process, and is no entry point: nobody can configure it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Final, Self

from pydantic import BaseModel

from backends.contract import (
    Capabilities,
    DesiredSecret,
    Expectation,
    Finding,
    FindingLevel,
    Layout,
    ObservedSecret,
    Owner,
    SinkKind,
    TargetOptions,
    TargetShape,
    Version,
)
from backends.errors import TooLarge
from backends.marking import mark_fields, parse_mark
from backends.preconditions import owner_of, require_removable, require_writable
from backends.secret_value import SecretValue
from backends.sending import may_send

CAPABILITIES: Final = Capabilities(
    compare_and_set=True,
    atomic_mark=True,
    lists_values=True,
    layouts=frozenset(Layout),
    max_secret_bytes=1 << 20,
    max_value_bytes=None,
    max_address_length=None,
    max_key_length=None,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One stored secret; `fields` is its mark as `marking` spells it."""

    version: int
    fields: Mapping[str, str]
    data: Mapping[str, SecretValue]
    attributes: Mapping[str, str] = field(default_factory=dict)


class MemoryStore:
    """The server's part: cells by address, and a counter that makes versions."""

    def __init__(self) -> None:
        self.cells: dict[str, Cell] = {}
        self._version = 0

    def write(
        self,
        address: str,
        *,
        fields: Mapping[str, str],
        data: Mapping[str, SecretValue],
        attributes: Mapping[str, str] = MappingProxyType({}),
    ) -> Version:
        """Replace whatever is there, unconditionally: what somebody else would do."""
        self._version += 1
        self.cells[address] = Cell(
            version=self._version, fields=dict(fields), data=dict(data), attributes=dict(attributes)
        )
        return Version(str(self._version))


class MemorySink:
    """A sink over a store. `writes` counts the puts and removes that changed something."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = MemoryStore() if store is None else store
        self.writes = 0

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    async def check(self) -> tuple[Finding, ...]:
        return (Finding(level=FindingLevel.OK, subject="memory", detail="always there"),)

    async def observe(self, owner: Owner, addresses: Collection[str]) -> Mapping[str, ObservedSecret]:
        seen = {address: self._read(address, owner) for address in addresses}
        return {address: secret for address, secret in seen.items() if secret is not None}

    async def inventory(self, owner: Owner) -> AsyncIterator[ObservedSecret]:
        for address in sorted(self.store.cells):
            secret = self._read(address, owner)
            if secret is not None and secret.ours:
                yield secret

    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        owner = Owner(instance=desired.mark.instance, source=desired.mark.source)
        require_writable(self._read(desired.address, owner), desired.address, expect)
        size = sum(len(value) for value in desired.data.values())
        if CAPABILITIES.max_secret_bytes is not None and size > CAPABILITIES.max_secret_bytes:
            raise TooLarge(f"{desired.address}: {size} bytes, {CAPABILITIES.max_secret_bytes} are allowed")
        may_send()
        self.writes += 1
        return self.store.write(
            desired.address,
            fields=mark_fields(desired.mark),
            data=desired.data,
            attributes=desired.attributes,
        )

    async def remove(self, observed: ObservedSecret) -> None:
        current = self._read(observed.address, owner_of(observed))
        if current is None:
            return
        require_removable(current, observed)
        may_send()
        self.writes += 1
        del self.store.cells[observed.address]

    def _read(self, address: str, owner: Owner) -> ObservedSecret | None:
        cell = self.store.cells.get(address)
        if cell is None:
            return None
        mark, foreign = parse_mark(cell.fields, address, owner)
        return ObservedSecret(
            address=address,
            version=Version(str(cell.version)),
            mark=mark,
            foreign=foreign,
            data=cell.data,
            attributes=cell.attributes,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class MemoryNaming:
    """Everything is legal: parts are joined by `/`, keys stay as they are."""

    global_namespace: str | None = "_global"

    def address(self, parts: tuple[str, ...]) -> str:
        return "/".join(parts)

    def key(self, name: str) -> str:
        return name

    def same(self, address: str) -> str:
        return address


class MemoryOptions(BaseModel):
    """Nothing can be configured."""


class MemoryTarget(TargetOptions):
    path: str = "{namespace}/{installation}"
    layout: Layout = Layout.BUNDLE

    def shape(self) -> TargetShape:
        return TargetShape(parts=tuple(self.path.split("/")), layout=self.layout)


def memory_kind(store: MemoryStore | None = None) -> SinkKind:
    """A kind whose sinks all share this store, or one made here."""
    shared = MemoryStore() if store is None else store
    return SinkKind(
        kind="memory",
        options=MemoryOptions,
        target=MemoryTarget,
        capabilities=CAPABILITIES,
        naming=lambda _: MemoryNaming(),
        create=lambda _: MemorySink(shared),
    )
