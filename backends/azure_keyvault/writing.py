"""One write of one secret: how a deleted secret's name is had back, and who else wrote meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from backends.azure_keyvault.marks import judge
from backends.azure_keyvault.objects import observed_deleted
from backends.clients.azure import KeyVaultClient
from backends.clients.azure_errors import NameState, NameTaken
from backends.clients.azure_objects import NewSecret, VaultSecret
from backends.contract import Absent, Expectation, Owner
from backends.errors import ForeignSecret, PreconditionFailed, SinkUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How long a name in transition (being deleted, recovered, purged) is waited for: about a minute."""

    attempts: int = 9
    first: float = 1.0
    """Seconds before the second attempt; they double from one to the next."""
    longest: float = 10.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


def attempts(waiting: Waiting) -> AsyncRetrying:
    """Attempts until the name is no longer taken; the last one's `NameTaken` is raised as it is."""
    return AsyncRetrying(
        retry=retry_if_exception_type(NameTaken),
        stop=stop_after_attempt(waiting.attempts),
        wait=wait_exponential(multiplier=waiting.first, max=waiting.longest),
        sleep=waiting.sleep,
        reraise=True,
    )


class Writing:
    """A write under `name` for `owner`, whose look allowed it."""

    def __init__(
        self, client: KeyVaultClient, name: str, owner: Owner, *, waiting: Waiting, page_size: int
    ) -> None:
        self._client = client
        self._name = name
        self._owner = owner
        self._waiting = waiting
        self._page_size = page_size
        self._before: VaultSecret | None = None

    async def write(self, new: NewSecret, current: VaultSecret | None, expect: Expectation) -> VaultSecret:
        """The version that was written over `current`.

        Raises `ForeignSecret` where a stranger's deleted secret holds the name, or a stranger wrote at
        the same time, and `PreconditionFailed` where what was to be replaced is gone.
        """
        self._before = current
        written = await self._set(new, expect)
        await self._report_strangers(written)
        return written

    async def _set(self, new: NewSecret, expect: Expectation) -> VaultSecret:
        async for attempt in attempts(self._waiting):
            with attempt:
                try:
                    return await self._client.set(self._name, new)
                except NameTaken as taken:
                    await self._make_room(taken.state, expect)
                    raise
        raise SinkUnavailable(f"set {self._name}: no attempt was made")

    async def _make_room(self, state: NameState, expect: Expectation) -> None:
        """Recover what holds the name, if it is ours: only its owner may, and a new version needs it."""
        if not isinstance(expect, Absent) and state is not NameState.BEING_RECOVERED:
            raise PreconditionFailed(f"{self._name}: it is gone")
        if state is not NameState.DELETED:
            return
        deleted = await self._client.get_deleted(self._name)
        if deleted is None:
            return
        foreign = observed_deleted(deleted, self._owner)
        if foreign is not None:
            raise ForeignSecret(f"{self._name}: {foreign.foreign}")
        self._before = deleted
        await self._client.recover(self._name)

    async def _report_strangers(self, written: VaultSecret) -> None:
        """A vault does not say what a write replaced, but it keeps every version.

        Times have whole seconds: a stranger's version of the second in which ours was made counts as newer.
        """
        since = 0 if self._before is None else self._before.created
        known = {written.version, self._before.version if self._before else None}
        async for page in self._client.list_versions(self._name, self._page_size):
            for each in page:
                if each.created >= since and each.version not in known and self._is_strangers(each):
                    place = "kept as an older version" if each.created <= written.created else "in use now"
                    raise ForeignSecret(
                        f"{self._name}: somebody else wrote it at the same time; "
                        f"theirs is version {each.version}, {place}"
                    )

    def _is_strangers(self, version: VaultSecret) -> bool:
        _, foreign = judge(version.tags, version.name, self._owner)
        return foreign is not None
