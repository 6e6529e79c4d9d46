"""KV version 1: the sidecar first, then the data. It knows no versions and no check-and-set.

Every write looks first, and what somebody else writes between that look and the write is lost:
use version 2 where others write, too.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

from backends.clients.concurrency import for_each
from backends.clients.vault import VaultClient
from backends.clients.vault_errors import Answer
from backends.contract import Capabilities, DesiredSecret, Expectation, ObservedSecret, Owner, Version
from backends.preconditions import owner_of, require_removable, require_writable
from backends.vault.fields import encoded
from backends.vault.listing import keys_of
from backends.vault.names import SIDECARS, is_segment, split_address
from backends.vault.options import KV1_CAPABILITIES
from backends.vault.sidecars import Json, Pair, observed, sidecar, version_of


class KvV1:
    """The secrets of one mount; `paths` are the sink's."""

    capabilities: Capabilities = KV1_CAPABILITIES

    def __init__(self, client: VaultClient, mount: str, paths: tuple[str, ...]) -> None:
        self._client = client
        self._mount = mount
        self._paths = paths
        self._key = secrets.token_bytes(16)

    async def observe(self, owner: Owner, address: str) -> ObservedSecret | None:
        pair = await self._pair(address)
        return None if pair.is_absent else observed(address, pair, owner, self._key)

    async def inventory(self, owner: Owner, path: str) -> AsyncIterator[ObservedSecret]:
        """Everything of this instance below a path: whatever has a sidecar there."""
        folders = [""]
        while folders:
            folder = folders.pop()
            names = keys_of(await self._client.list(f"{self._mount}/{path}/{SIDECARS}{folder}"))
            inner = [name[:-1] for name in names if name.endswith("/")]
            folders += [f"{folder}/{name}" for name in inner if is_segment(name)]
            addresses = [f"{path}{folder}/{name}" for name in names if is_segment(name)]
            for seen in await self._observe_all(owner, addresses):
                if seen.ours:
                    yield seen

    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        address, fields = desired.address, encoded(desired.data)
        there = await self._pair(address)
        owner = Owner(instance=desired.mark.instance, source=desired.mark.source)
        seen = None if there.is_absent else observed(address, there, owner, self._key)
        require_writable(seen, address, expect)
        wanted = Pair(data=dict(fields.texts), sidecar=sidecar(desired.mark, fields.base64))
        if wanted.sidecar != there.sidecar and wanted.sidecar is not None:
            await self._client.write(self._sidecar(address), wanted.sidecar)
        if wanted.data != there.data and wanted.data is not None:
            await self._client.write(f"{self._mount}/{address}", wanted.data)
        return version_of(wanted, self._key)

    async def remove(self, secret: ObservedSecret) -> None:
        """The data first: what a killed process leaves is still found by its sidecar."""
        owner, address = owner_of(secret), secret.address
        there = await self._pair(address)
        if there.is_absent:
            return
        require_removable(observed(address, there, owner, self._key), secret)
        await self._client.delete(f"{self._mount}/{address}")
        await self._client.delete(self._sidecar(address))

    async def _observe_all(self, owner: Owner, addresses: list[str]) -> list[ObservedSecret]:
        found: list[ObservedSecret] = []

        async def observe(address: str) -> None:
            seen = await self.observe(owner, address)
            if seen is not None:
                found.append(seen)

        await for_each(addresses, observe)
        return found

    async def _pair(self, address: str) -> Pair:
        return Pair(
            sidecar=_data(await self._client.read(self._sidecar(address))),
            data=_data(await self._client.read(f"{self._mount}/{address}")),
        )

    async def names(self, folder: str) -> set[str]:
        """Of everything in a folder, whoever's it is, and of whatever has a sidecar there."""
        sidecars = self._sidecar(f"{folder}/x").rpartition("/")[0]
        lists = [await self._client.list(path) for path in (f"{self._mount}/{folder}", sidecars)]
        return {name for answer in lists for name in keys_of(answer)}

    def _sidecar(self, address: str) -> str:
        path, rest = split_address(address, self._paths)
        return f"{self._mount}/{path}/{SIDECARS}/{rest}"


def _data(answer: Answer) -> Json | None:
    return None if answer.absent else answer.data
