"""Who wants which address of one sink, as far as was last seen.

Tells whom else to load when an installation is looked at alone: whoever wants the same address.
What is wanted is never taken from here; a look at the source says that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from syncer.core.mapping import Mapped
from syncer.core.model import InstallationKey


class Claims:
    """`same` is the sink's: under it two addresses are equal exactly when the sink says so."""

    def __init__(self, same: Callable[[str], str]) -> None:
        self._same = same
        self._wanting: dict[str, set[InstallationKey]] = {}
        self._wanted: dict[InstallationKey, tuple[str, ...]] = {}
        self._learnt: dict[InstallationKey, int] = {}
        self._looks = 0

    def begin(self) -> int:
        """A look at the source begins: names its time, for `learn`."""
        self._looks += 1
        return self._looks

    def learn(
        self, look: int, keys: Iterable[InstallationKey], claims: Iterable[Mapped]
    ) -> frozenset[InstallationKey]:
        """`claims` are all there were of `keys` at this look; what a later one said stays.

        Answers who else waits for the addresses they gave up.
        """
        keys = [key for key in keys if self._learnt.get(key, 0) <= look]
        now: dict[InstallationKey, list[str]] = {key: [] for key in keys}
        for claim in claims:
            if claim.address is not None and claim.outputs.key in now:
                now[claim.outputs.key].append(self._same(claim.address.path))
        waiting: set[InstallationKey] = set()
        for key, addresses in now.items():
            waiting |= self._replace(key, tuple(dict.fromkeys(addresses)), look)
        return frozenset(waiting - now.keys())

    def rivals(self, keys: Iterable[InstallationKey]) -> frozenset[InstallationKey]:
        """Who wants an address that one of these wants, too."""
        mine = set(keys)
        wanted = {address for key in mine for address in self._wanted.get(key, ())}
        return frozenset({key for address in wanted for key in self._wanting[address]} - mine)

    def wants(self, address: str) -> bool:
        """Whether anybody wants it."""
        return self._same(address) in self._wanting

    def known(self) -> frozenset[InstallationKey]:
        """Everybody who wants anything."""
        return frozenset(self._wanted)

    def _replace(self, key: InstallationKey, addresses: tuple[str, ...], look: int) -> set[InstallationKey]:
        waiting: set[InstallationKey] = set()
        for address in set(self._wanted.pop(key, ())).difference(addresses):
            others = self._wanting[address]
            others.discard(key)
            waiting |= others
            if not others:
                del self._wanting[address]
        for address in addresses:
            self._wanting.setdefault(address, set()).add(key)
        self._learnt.pop(key, None)
        if addresses:
            self._wanted[key] = addresses
            self._learnt[key] = look
        return waiting
