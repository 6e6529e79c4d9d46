"""What is ours at one sink, as far as was last seen there or written by us: addresses, not values.

Tells where to look when an installation changes or goes, and how many there are in all. The sink's
inventory is the truth, and replaces this with every sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from backends.contract import Mark, ObservedSecret, Version
from syncer.core.model import InstallationKey


@dataclass(frozen=True, slots=True)
class Holding:
    """One secret of ours."""

    key: InstallationKey
    id: str
    version: Version
    order: int
    """The later it was seen, the higher."""


class Holdings:
    """`told` hears of every mark that is seen or written."""

    def __init__(self, told: Callable[[Mark], None] = lambda _mark: None) -> None:
        self._told = told
        self._at: dict[str, Holding] = {}
        self._of: dict[InstallationKey, set[str]] = {}
        self._order = 0

    @property
    def order(self) -> int:
        """Of what was seen last."""
        return self._order

    def saw(self, observed: ObservedSecret) -> None:
        """It is there: ours, or (then it is no holding) somebody else's."""
        if observed.ours and observed.mark is not None:
            self.wrote(observed.mark, observed.version)
        else:
            self.lost(observed.address)

    def listed(self, observed: ObservedSecret, *, since: int) -> None:
        """A list that began then has it; what was seen or written later is newer than that."""
        present = self._at.get(observed.address)
        if present is None or present.order <= since:
            self.saw(observed)

    def wrote(self, mark: Mark, version: Version) -> None:
        """It is there, and ours."""
        before = self._at.get(mark.address)
        key, identity = InstallationKey(mark.namespace, mark.installation), mark.installation_id
        if before is not None and (before.key, before.id) == (key, identity):
            # NB: the same objects again: every list brings thousands of new ones, and scatters memory.
            key, identity = before.key, before.id
        else:
            self.lost(mark.address)
            self._of.setdefault(key, set()).add(mark.address)
        self._order += 1
        self._at[mark.address] = Holding(key, identity, version, self._order)
        self._told(mark)

    def lost(self, address: str) -> None:
        """It is not there, or not ours any more."""
        gone = self._at.pop(address, None)
        if gone is not None:
            mine = self._of[gone.key]
            mine.discard(address)
            if not mine:
                del self._of[gone.key]

    def only(self, addresses: Iterable[str], *, since: int) -> None:
        """Everything there is was listed: these, and perhaps what was written since the list began."""
        for address in self._at.keys() - set(addresses):
            if self._at[address].order <= since:
                self.lost(address)

    def at(self, address: str) -> Holding | None:
        return self._at.get(address)

    def of(self, keys: Iterable[InstallationKey]) -> frozenset[str]:
        """The addresses that hold secrets of these installations."""
        return frozenset(address for key in keys for address in self._of.get(key, ()))

    @property
    def installations(self) -> frozenset[InstallationKey]:
        """Whose secrets there are."""
        return frozenset(self._of)

    def ids(self) -> frozenset[str]:
        """The lives of installations there are secrets of."""
        return frozenset(holding.id for holding in self._at.values())
