"""The sink: logs in, finds out which version of the KV engine the mount has, and leaves the rest to that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping
from types import TracebackType
from typing import Final, Protocol, Self

from backends.clients.concurrency import for_each
from backends.clients.vault import VaultClient
from backends.contract import (
    Capabilities,
    DesiredSecret,
    Expectation,
    Finding,
    ObservedSecret,
    Owner,
    Version,
)
from backends.errors import Forbidden, NameRefused, Refused, SinkUnavailable, TargetUnavailable, TooLarge
from backends.vault.kv1 import KvV1
from backends.vault.kv2 import PAGE_SIZE, KvV2
from backends.vault.names import split_address
from backends.vault.options import CAPABILITIES, VaultSinkOptions
from backends.vault.rights import findings, needed

_KV: Final = "kv"
_FEW: Final = 16
"""Up to so many of a folder are looked at one by one: a list may be many pages of others' names."""


class Engine(Protocol):
    """What the two versions of the engine have in common."""

    capabilities: Capabilities

    async def observe(self, owner: Owner, address: str) -> ObservedSecret | None: ...

    async def names(self, folder: str) -> set[str]: ...

    def inventory(self, owner: Owner, path: str) -> AsyncIterator[ObservedSecret]: ...

    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version: ...

    async def remove(self, secret: ObservedSecret) -> None: ...


class VaultSink:
    """One KV engine. Open it with `async with`; entering raises where the mount is none."""

    def __init__(self, options: VaultSinkOptions, *, page_size: int = PAGE_SIZE) -> None:
        self._mount = options.mount
        self._paths = options.paths
        self._client = VaultClient(options)
        self._page_size = page_size
        self._version = 0
        self._engine: Engine

    @property
    def capabilities(self) -> Capabilities:
        return self._engine.capabilities if self._version else CAPABILITIES

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        try:
            self._version = await self._found_version()
        except BaseException:
            await self._client.__aexit__(None, None, None)
            raise
        if self._version == 1:
            self._engine = KvV1(self._client, self._mount, self._paths)
        else:
            self._engine = KvV2(self._client, self._mount, page_size=self._page_size)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def check(self) -> tuple[Finding, ...]:
        """What the token may do below each of the sink's paths, compared with what is needed."""
        wanted = needed(self._mount, self._paths, self._version)
        return findings(wanted, await self._client.capabilities([*wanted]), self._mount, self._version)

    async def observe(self, owner: Owner, addresses: Collection[str]) -> Mapping[str, ObservedSecret]:
        found: dict[str, ObservedSecret] = {}

        async def observe(address: str) -> None:
            seen = await self._engine.observe(owner, address)
            if seen is not None:
                found[address] = seen

        await for_each(await self._likely(addresses), observe)
        if len(found) < len(set(addresses)):
            await self._require_same_engine()
        return found

    async def _likely(self, addresses: Collection[str]) -> list[str]:
        """Without those that are surely absent: of many in a folder one list tells that at once."""
        folders: defaultdict[str, list[str]] = defaultdict(list)
        for address in addresses:
            self._require_legal(address)
            folders[address.rpartition("/")[0]].append(address)
        likely: list[str] = []
        for folder, there in folders.items():
            names = await self._engine.names(folder) if len(there) > _FEW else None
            likely += there if names is None else [one for one in there if one.rpartition("/")[2] in names]
        return likely

    async def inventory(self, owner: Owner) -> AsyncIterator[ObservedSecret]:
        await self._require_same_engine()
        for path in self._paths:
            async for seen in self._engine.inventory(owner, path):
                yield seen
        await self._require_same_engine()  # all the time

    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        self._require_legal(desired.address)
        size, limit = sum(len(value) for value in desired.data.values()), CAPABILITIES.max_secret_bytes
        if limit is not None and size > limit:
            raise TooLarge(f"{desired.address}: {size} bytes; a secret takes {limit}")
        return await self._engine.put(desired, expect)

    async def remove(self, observed: ObservedSecret) -> None:
        self._require_legal(observed.address)
        await self._engine.remove(observed)

    def _require_legal(self, address: str) -> None:
        try:
            split_address(address, self._paths)
        except NameRefused as error:
            raise Refused(str(error)) from None

    async def _require_same_engine(self) -> None:
        """NB: a mount that was replaced by one of another version answers "absent" to everything."""
        if await self._found_version() != self._version:
            raise TargetUnavailable(f"the engine at {self._mount} was replaced by one of another version")

    async def _found_version(self) -> int:
        try:
            answer = await self._client.read(f"sys/internal/ui/mounts/{self._mount}")
        except Forbidden:
            raise TargetUnavailable(
                f"there is no mount {self._mount}, or the token has no right to anything in it"
            ) from None
        kind, options = answer.data.get("type"), answer.data.get("options")
        if not isinstance(kind, str):
            raise SinkUnavailable(f"what kind of engine is at {self._mount} is not answered")
        if kind != _KV:
            raise TargetUnavailable(f"the mount {self._mount} is no KV engine but {kind}")
        return 2 if isinstance(options, Mapping) and options.get("version") == "2" else 1
