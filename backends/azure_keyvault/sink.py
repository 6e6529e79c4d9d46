"""The sink: which requests it takes to read, write and remove secrets, and in which order.

A key vault has no conditional requests, so every write and delete is preceded by a look, and between
the two somebody else may write. After a write the versions are listed once, and a stranger's among
them is reported (it is kept, as an older version). Not so after a delete: what was written between
look and delete is deleted along, and can be recovered for the vault's retention time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from types import TracebackType
from typing import Self

from backends.azure_keyvault.checks import findings
from backends.azure_keyvault.names import require_legal
from backends.azure_keyvault.objects import (
    encoded,
    is_already,
    is_of_deleted,
    listed_version,
    observed,
    observed_deleted,
    version_of,
)
from backends.azure_keyvault.options import CAPABILITIES, AzureKeyVaultOptions
from backends.azure_keyvault.writing import Waiting, Writing, attempts
from backends.clients.azure import PAGE_SIZE, KeyVaultClient
from backends.clients.azure_errors import NameState, NameTaken, SecretDisabled
from backends.clients.azure_objects import VaultSecret
from backends.clients.concurrency import for_each
from backends.clients.rate import Pacer
from backends.contract import (
    Absent,
    Capabilities,
    DesiredSecret,
    Expectation,
    Finding,
    ObservedSecret,
    Owner,
    TakeOver,
    Version,
)
from backends.errors import ForeignSecret, NameRefused, Refused
from backends.preconditions import owner_of, require_removable, require_writable


class AzureKeyVaultSink:
    """A vault's secrets. Owns its client: open it with `async with`."""

    def __init__(
        self,
        options: AzureKeyVaultOptions,
        *,
        page_size: int = PAGE_SIZE,
        pacer: Pacer | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        self._options = options
        self._client = KeyVaultClient(options, pacer=pacer)
        self._page_size = page_size
        self._waiting = waiting or Waiting()

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def check(self) -> tuple[Finding, ...]:
        """Reachable, and the rights that can be tried without writing: list and get."""
        return await findings(self._client, self._options)

    # --- reading

    async def observe(self, owner: Owner, addresses: Collection[str]) -> Mapping[str, ObservedSecret]:
        """What is at these addresses, under the spelling that was asked for.

        A deleted secret of somebody else that still holds the name is there, and foreign.
        """
        found: dict[str, ObservedSecret] = {}

        async def read(address: str) -> None:
            secret = await self._read(address)
            if secret is not None:
                found[address] = observed(secret, owner)
                return
            deleted = await self._client.get_deleted(address)
            seen = None if deleted is None else observed_deleted(deleted, owner)
            if seen is not None:
                found[address] = seen

        await for_each([_legal(address) for address in addresses], read)
        return found

    async def inventory(self, owner: Owner) -> AsyncIterator[ObservedSecret]:
        """Everything whose tags carry our mark; a disabled secret is ours, but not intact."""
        async for page in self._client.list_secrets(self._page_size):
            for secret in page:
                seen = observed(secret, owner, like=listed_version(secret).token)
                if seen.ours:
                    yield seen

    async def _read(self, name: str) -> VaultSecret | None:
        """The latest version; without its value where it is disabled, since only a list tells of that."""
        try:
            return await self._client.get(_legal(name))
        except SecretDisabled:
            versions = await self._versions(name)
            # Times have whole seconds: of several made in one, the disabled one was refused.
            return max(versions, key=lambda each: (each.created, not each.enabled), default=None)

    async def _versions(self, name: str) -> list[VaultSecret]:
        return [each async for page in self._client.list_versions(name, self._page_size) for each in page]

    # --- writing

    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        """Write value, mark and attributes as one version; nothing where all of it is there already."""
        owner = Owner(instance=desired.mark.instance, source=desired.mark.source)
        name, new = _legal(desired.address), encoded(desired)
        current = await self._read(name)
        _require_writable(current, name, expect, owner)
        if current is not None and is_already(current, new):
            return version_of(current)
        writing = Writing(self._client, name, owner, waiting=self._waiting, page_size=self._page_size)
        return version_of(await writing.write(new, current, expect))

    async def remove(self, observed: ObservedSecret) -> None:
        """Delete it, softly; with `purge` for good, once it is deleted and still is ours."""
        owner, name = owner_of(observed), _legal(observed.address)
        current = await self._read(name)
        if current is not None:
            require_removable(_seen(current, owner, observed.version), observed)
            await self._delete(name)
        if self._options.purge:
            await self._purge(name, owner, expected=current is not None)

    async def _delete(self, name: str) -> None:
        try:
            await self._client.delete(name)
        except NameTaken as taken:
            if taken.state is NameState.BEING_RECOVERED:
                raise

    async def _purge(self, name: str, owner: Owner, *, expected: bool) -> None:
        """Destroy the deleted secret, if it is ours; with `expected` wait until it is deleted."""
        async for attempt in attempts(self._waiting):
            with attempt:
                deleted = await self._client.get_deleted(name)
                if deleted is None and expected:
                    raise NameTaken(f"purge {name}: it is still being deleted", NameState.BEING_DELETED)
                if deleted is not None and observed_deleted(deleted, owner) is None:
                    await self._client.purge(name)


def _legal(address: str) -> str:
    try:
        require_legal(address)
    except NameRefused as error:
        raise Refused(str(error)) from None
    return address


def _seen(current: VaultSecret, owner: Owner, version: Version) -> ObservedSecret:
    return observed(current, owner, like=version.token)


def _require_writable(current: VaultSecret | None, name: str, expect: Expectation, owner: Owner) -> None:
    match expect:
        case TakeOver(version) if current is None and is_of_deleted(version):
            raise ForeignSecret(f"{name}: a deleted secret of somebody else holds the name")
        case Absent():
            seen = None if current is None else observed(current, owner)
        case _:
            seen = None if current is None else _seen(current, owner, expect.version)
    if current is not None and current.managed:
        raise ForeignSecret(f"{name}: it belongs to a certificate")
    require_writable(seen, name, expect)
