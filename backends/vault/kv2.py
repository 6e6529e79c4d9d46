"""KV version 2: the requests it takes to read, write and remove a secret, and in which order.

A write is claim (metadata), data (check-and-set), mark (metadata): nothing of ours is ever there
without a mark, and a mark proves only the versions it names. What is in between when a process is
killed is found by the next pass: a claim without data, or a version that no mark names yet.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from backends.clients.concurrency import for_each
from backends.clients.vault import VaultClient
from backends.clients.vault_errors import Answer
from backends.contract import Absent, Capabilities, DesiredSecret, Expectation, ObservedSecret, Owner, Version
from backends.errors import (
    Forbidden,
    OutcomeUnknown,
    PreconditionFailed,
    Refused,
    SinkUnavailable,
    TargetUnavailable,
)
from backends.preconditions import owner_of, require_removable, require_writable
from backends.vault.fields import Fields, decoded, encoded
from backends.vault.listing import keys_of, paged
from backends.vault.marks import base64_fields, custom_metadata, own_entries, own_names, taken_back
from backends.vault.metadata import Metadata, observed, parse_metadata, version_of
from backends.vault.names import is_segment
from backends.vault.options import CAPABILITIES

PAGE_SIZE: Final = 500


class KvV2:
    """The secrets of one mount. `clock` gives seconds since 1970, to tell what is deleted by now."""

    capabilities: Capabilities = CAPABILITIES

    def __init__(
        self,
        client: VaultClient,
        mount: str,
        *,
        page_size: int = PAGE_SIZE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._mount = mount
        self._page_size = page_size
        self._clock = clock
        self._claims_atomically: bool | None = None
        """Whether a claim fails where metadata are already (OpenBao); None: not known yet."""
        self._lists_metadata = True
        """Whether a list may bring the metadata along (OpenBao)."""

    # --- reading

    async def observe(self, owner: Owner, address: str) -> ObservedSecret | None:
        there = await self._metadata(address)
        if there is None:
            return None
        seen = observed(address, there, owner, None)
        if not seen.ours:
            return seen
        found = await self._fields(address, there)
        return replace(seen, data=decoded(found, base64_fields(there.custom)))

    async def inventory(self, owner: Owner, path: str) -> AsyncIterator[ObservedSecret]:
        """Everything of this instance below a path."""
        folders = [path]
        while folders:
            folder = folders.pop()
            async for names, found in self._pages(folder):
                folders += _folders(folder, names)
                for name in names:
                    there = found.get(name)
                    seen = None if there is None else observed(f"{folder}/{name}", there, owner, None)
                    if seen is not None and seen.ours:
                        yield seen

    async def names(self, folder: str) -> set[str]:
        """Of everything in a folder, whoever's it is."""
        pages = paged(partial(self._plain_page, folder), self._page_size)
        return {name async for names, _ in pages for name in names}

    async def _pages(self, folder: str) -> AsyncIterator[tuple[list[str], dict[str, Metadata]]]:
        """Names in a folder, and the metadata of those that are secrets, page by page."""
        async for names, found in paged(partial(self._page, folder), self._page_size):
            yield names, await self._read_all(folder, names) if found is None else found

    async def _page(self, folder: str, after: str) -> tuple[list[str], dict[str, Metadata] | None]:
        """None for metadata that the list does not bring along."""
        if self._lists_metadata:
            detailed = await self._detailed_page(folder, self._query(after))
            if detailed is not None:
                names = keys_of(detailed)
                return names, self._listed(names, detailed.data.get("key_info"))
        return await self._plain_page(folder, after)

    async def _plain_page(self, folder: str, after: str) -> tuple[list[str], None]:
        answer = await self._client.list(f"{self._mount}/metadata/{folder}", **self._query(after))
        return keys_of(answer), None

    def _query(self, after: str) -> dict[str, str]:
        return {"limit": str(self._page_size)} | ({"after": after} if after else {})

    def _listed(self, names: Sequence[str], info: object) -> dict[str, Metadata] | None:
        """None where a secret is listed without its metadata."""
        given = info if isinstance(info, Mapping) else {}
        wanted = _secrets(names)
        if not all(isinstance(given.get(name), Mapping) for name in wanted):
            return None
        return {name: self._parsed(given[name]) for name in wanted}

    async def _detailed_page(self, folder: str, query: Mapping[str, str]) -> Answer | None:
        """None where the server has no such list, the right to it is missing, or nothing is there."""
        try:
            answer = await self._client.list(f"{self._mount}/detailed-metadata/{folder}", **query)
        except (Forbidden, TargetUnavailable, Refused):
            self._lists_metadata = False
            return None
        return None if answer.absent else answer

    async def _read_all(self, folder: str, names: Sequence[str]) -> dict[str, Metadata]:
        found: dict[str, Metadata] = {}

        async def read(name: str) -> None:
            there = await self._metadata(f"{folder}/{name}")
            if there is not None:
                found[name] = there

        await for_each(_secrets(names), read)
        return found

    async def _metadata(self, address: str) -> Metadata | None:
        answer = await self._client.read(f"{self._mount}/metadata/{address}")
        return None if answer.absent else self._parsed(answer.data)

    def _parsed(self, data: Mapping[str, Any]) -> Metadata:
        there = parse_metadata(data, now=self._clock())
        self._claims_atomically = there.revision is not None
        return there

    async def _fields(self, address: str, there: Metadata) -> Mapping[str, object]:
        """The fields of the newest version as they are; none where it cannot be read any more."""
        if not there.is_live:
            return {}
        answer = await self._client.read(f"{self._mount}/data/{address}", version=str(there.current))
        found = answer.data.get("data")
        if answer.absent or found is None:
            return {}
        if not isinstance(found, Mapping):
            raise SinkUnavailable(f"{address}: the answer is not that of a KV v2 engine")
        return found

    # --- writing

    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        address, fields = desired.address, encoded(desired.data)
        custom_metadata(desired.mark, (), fields.base64, {})  # NB: raises, before anything is written
        there = None
        if not (isinstance(expect, Absent) and self._claims_atomically):
            there = await self._metadata(address)
        require_writable(_seen(desired, there), address, expect)
        before, there = there, await self._claimed(desired, there, expect)
        try:
            number = await self._written(address, there, fields)
        except PreconditionFailed:
            await self._unclaim(address, before, there)
            raise
        try:
            return await self._marked(desired, fields, there, number)
        except PreconditionFailed:
            again = await self._metadata(address)
            seen = _seen(desired, again)
            if again is None or again.current != number or (seen and seen.foreign and seen.mark):
                raise
            # Somebody edited the metadata, and our bytes may be there without a mark by now.
            return await self._marked(desired, fields, again, number)

    async def _marked(self, desired: DesiredSecret, fields: Fields, there: Metadata, number: int) -> Version:
        """Marks the version with this number as ours, and as what is there."""
        kept = there.kept | {number}
        own = (there.own | {number}) & kept
        patch = custom_metadata(desired.mark, own, fields.base64, there.custom)
        await self._patch(desired.address, patch, there.revision)
        return version_of(
            Metadata(current=number, live=frozenset({number}), kept=kept, custom=_merged(there.custom, patch))
        )

    async def _claimed(self, desired: DesiredSecret, there: Metadata | None, expect: Expectation) -> Metadata:
        """Makes the address ours before any data: by a mark that proves no version."""
        if there is None:
            return await self._created(desired, expect)
        seen = _seen(desired, there)
        if seen is not None and seen.ours:
            return there
        claim = custom_metadata(desired.mark, (), (), there.custom)
        await self._patch(desired.address, claim, there.revision)
        revision = None if there.revision is None else there.revision + 1
        return replace(there, custom=_merged(there.custom, claim), revision=revision)

    async def _unclaim(self, address: str, before: Metadata | None, claimed: Metadata) -> None:
        """Gives back an address that somebody else wrote to: a claim over their bytes would make them ours.

        NB: where metadata have no check-and-set this is not done: it could take the mark from bytes of
        ours, which another process of this instance has just written.
        """
        now = await self._metadata(address) if claimed is not before else None
        if (
            now is not None
            and now.revision is not None
            and own_entries(now.custom) == own_entries(claimed.custom)
        ):
            patch = taken_back(claimed.custom, {} if before is None else before.custom)
            await self._patch(address, patch, now.revision)

    async def _created(self, desired: DesiredSecret, expect: Expectation) -> Metadata:
        """Metadata where there are none. A server without a check-and-set for them just writes."""
        claim = custom_metadata(desired.mark, (), (), {})
        body = {"custom_metadata": claim, "metadata_cas": 0}
        answer = await self._client.write(f"{self._mount}/metadata/{desired.address}", body)
        if answer.cas_failed or self._claims_atomically is None:
            there = await self._metadata(desired.address)
            if answer.cas_failed:
                require_writable(_seen(desired, there), desired.address, expect)
                raise PreconditionFailed(f"{desired.address}: somebody else was quicker")
        revision = 1 if self._claims_atomically else None
        nothing: frozenset[int] = frozenset()
        return Metadata(current=0, live=nothing, kept=nothing, custom=_merged({}, claim), revision=revision)

    async def _written(self, address: str, there: Metadata, fields: Fields) -> int:
        """The number of a version with these bytes: the newest one, or one that is written now."""
        if there.is_live and await self._fields(address, there) == fields.texts:
            return there.current
        body = {"data": fields.texts, "options": {"cas": there.current}}
        answer = await self._client.write(f"{self._mount}/data/{address}", body)
        if answer.cas_failed:
            raise PreconditionFailed(f"{address}: somebody else wrote a version meanwhile")
        number = answer.data.get("version")
        if not isinstance(number, int):
            raise OutcomeUnknown(f"{address}: written, and the answer names no version")
        return number

    async def remove(self, secret: ObservedSecret) -> None:
        """Destroys our versions; the rest goes only where nobody else's version is left.

        NB: deleting metadata knows no check-and-set. Between the last look and the delete lies one
        round trip, in which a version that somebody else writes there would go along.
        """
        owner, address = owner_of(secret), secret.address
        there = await self._metadata(address)
        if there is None:
            return
        require_removable(observed(address, there, owner, None), secret)
        if there.own:
            await self._client.write(f"{self._mount}/destroy/{address}", {"versions": sorted(there.own)})
        if there.kept - there.own:
            await self._patch(address, dict.fromkeys(own_names(there.custom)), there.revision)
            return
        again = await self._metadata(address)
        if again is None:
            return
        if (again.current, again.custom) != (there.current, there.custom) or again.kept:
            raise PreconditionFailed(f"{address}: it changed while it was removed")
        await self._client.delete(f"{self._mount}/metadata/{address}")

    async def _patch(
        self, address: str, patch: Mapping[str, str | None], revision: int | None = None
    ) -> None:
        """With a revision only over metadata of that one."""
        body = {"custom_metadata": patch} | ({} if revision is None else {"metadata_cas": revision})
        answer = await self._client.patch(f"{self._mount}/metadata/{address}", body)
        if answer.absent or answer.cas_failed:
            raise PreconditionFailed(f"{address}: its metadata changed meanwhile, or it is gone")


def _seen(desired: DesiredSecret, there: Metadata | None) -> ObservedSecret | None:
    owner = Owner(instance=desired.mark.instance, source=desired.mark.source)
    return None if there is None else observed(desired.address, there, owner, None)


def _merged(custom: Mapping[str, str], patch: Mapping[str, str | None]) -> dict[str, str]:
    return {name: text for name, text in {**custom, **patch}.items() if text is not None}


def _secrets(names: Iterable[str]) -> list[str]:
    return [name for name in names if is_segment(name)]


def _folders(folder: str, names: Iterable[str]) -> list[str]:
    found = [name[:-1] for name in names if name.endswith("/")]
    return [f"{folder}/{name}" for name in found if is_segment(name)]
