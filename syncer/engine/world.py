"""What the source says, turned into what is wanted at each sink.

A `World` is one complete look: every installation there is, what each rule selects of it, and
which addresses are claimed by whom. A `Sight` is the part of it that a survey needs, and half of its
size. Metadata only; no output value is read to make either.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from backends.contract import Layout, Mark
from backends.errors import NameRefused
from syncer.core.describing import described
from syncer.core.disposal import Standing
from syncer.core.mapping import Mapped, Unmappable, map_target, target_address
from syncer.core.model import (
    Address,
    Installation,
    InstallationKey,
    Loaded,
    OutputSet,
    Policy,
    Quarantined,
    Rule,
    Target,
)
from syncer.core.ports import Source
from syncer.core.selection import Selected, Selection, Withheld, matches, select
from syncer.engine.batches import chunks, overlapped


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one look at the source says is wanted, under one policy."""

    policy: Policy
    keys: Collection[InstallationKey]
    """Whom it looked at."""
    claims: Mapping[str, tuple[Mapped, ...]] = field(repr=False)
    """Sink name to everything wanted there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World(Sight):
    """The same, and all that was seen: whoever looks at what is not wanted needs to know why."""

    ids: Mapping[InstallationKey, str]
    """Every installation there is. An id of "" is a document that does not say which it is."""
    loaded: Mapping[InstallationKey, Loaded]
    _claimed: dict[str, set[str]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def doubt(self) -> str | None:
        """Why no absence can be believed, if so."""
        if not self.ids:
            return "the source knows no installation at all"
        # NB: a document that does not say which installation it is may be anyone's
        return "an installation document cannot be read" if "" in self.ids.values() else None

    def wants(self, sink: str, address: str, same: Callable[[str], str]) -> bool:
        """Whether anything is wanted at an address, which `same` was applied to."""
        claimed = self._claimed.get(sink)
        if claimed is None:
            claims = self.claims.get(sink, ())
            claimed = self._claimed[sink] = {same(one.address.path) for one in claims if one.address}
        return address in claimed

    def standing(self, mark: Mark, sink: str) -> Standing:
        """What this look says of the installation a mark names."""
        key = InstallationKey(mark.namespace, mark.installation)
        loaded = self.loaded.get(key)
        rule, target = self._asked_by(mark, sink, loaded)
        if key not in self.ids or loaded is None or rule is None or target is None:
            return Standing(id=self.ids.get(key), rule=rule, selection=None, at=None)
        selection = select(loaded, rule)
        return Standing(
            id=self.ids[key],
            rule=rule,
            selection=selection,
            at=_address_or_none(key, rule, target, self.policy),
            dropped=_dropped(mark, loaded),
            held=_held(selection, rule, target, self.policy),
        )

    def _asked_by(
        self, mark: Mark, sink: str, loaded: Loaded | None
    ) -> tuple[Rule, Target] | tuple[None, None]:
        """The rule and target a mark names, if they still are for this sink and installation."""
        for rule in self.policy.rules:
            if rule.name == mark.rule and (loaded is None or concerns(rule, loaded)):
                for target in rule.targets:
                    if (target.id, target.sink) == (mark.target, sink):
                        return rule, target
        return None, None


async def look(
    source: Source,
    policy: Policy,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> World:
    """One complete look at everything. Raises `SourceError`, and then nothing may be concluded."""
    ids = {ref.key: ref.id for ref in await source.list()}
    loaded: dict[InstallationKey, Loaded] = {}

    async def load(keys: Collection[InstallationKey]) -> None:
        loaded.update(await source.load(keys))
        progress(len(loaded), len(ids))

    await overlapped(chunks(sorted(ids)), load)
    return world_of(policy, ids, loaded)


async def sight_of(source: Source, policy: Policy, *, batch: int) -> Sight:
    """As `look`, but no installation outlives its batch. Raises `SourceError`."""
    listed = {ref.key for ref in await source.list()}
    keys: set[InstallationKey] = set()
    claims: dict[str, list[Mapped]] = {}

    async def load(some: Collection[InstallationKey]) -> None:
        loaded = await source.load(some)
        keys.update(loaded)
        _add_claims(claims, loaded.values(), policy)

    await overlapped(chunks(sorted(listed), batch), load)
    return Sight(policy=policy, keys=keys, claims=_frozen(claims))


async def look_at(
    source: Source, policy: Policy, ids: Mapping[InstallationKey, str], keys: Collection[InstallationKey]
) -> World:
    """A look at some installations; `ids` is a complete list of all there are, made a while ago."""
    return world_of(policy, ids, await source.load(keys))


async def look_again(source: Source, policy: Policy, keys: Collection[InstallationKey]) -> World:
    """A fresh look at some installations only; absent is what the list and the document both lack."""
    ids = {ref.key: ref.id for ref in await source.list()}
    loaded = await source.load(keys)
    ids |= {key: ids.get(key, "") for key in loaded}
    return world_of(policy, ids, loaded)


def world_of(
    policy: Policy, ids: Mapping[InstallationKey, str], loaded: Mapping[InstallationKey, Loaded]
) -> World:
    claims: dict[str, list[Mapped]] = {}
    _add_claims(claims, loaded.values(), policy)
    return World(policy=policy, keys=loaded.keys(), claims=_frozen(claims), ids=ids, loaded=loaded)


def concerns(rule: Rule, loaded: Loaded) -> bool:
    """Whether a rule is for this installation; one that cannot be read has any label."""
    if isinstance(loaded, Quarantined):
        return matches(replace(rule.match, labels={}), loaded.key, {})
    return matches(rule.match, loaded.key, loaded.labels)


def _add_claims(claims: dict[str, list[Mapped]], loaded: Iterable[Loaded], policy: Policy) -> None:
    for one in loaded:
        for mapped in described([*_claims(one, policy)]):
            claims.setdefault(mapped.target.sink, []).append(mapped)


def _frozen(claims: Mapping[str, Iterable[Mapped]]) -> Mapping[str, tuple[Mapped, ...]]:
    return {sink: tuple(found) for sink, found in claims.items()}


def _claims(loaded: Loaded, policy: Policy) -> Iterator[Mapped]:
    for rule in policy.rules:
        if not concerns(rule, loaded):
            continue
        match select(loaded, rule):
            case Selected(outputs):
                for target in rule.targets:
                    yield from map_target(outputs, rule, target, policy)
            case Withheld(reason):
                for target in rule.targets:
                    yield _withheld(loaded, rule, target, policy, reason)
            case _:
                pass


def _withheld(loaded: Loaded, rule: Rule, target: Target, policy: Policy, reason: str) -> Unmappable:
    identity = loaded.id if isinstance(loaded, Installation) else ""
    return Unmappable(
        address=_address_or_none(loaded.key, rule, target, policy),
        rule=rule,
        target=target,
        outputs=OutputSet(key=loaded.key, id=identity, run_id="", result_id="", action="", outputs={}),
        reason=reason,
    )


def _dropped(mark: Mark, loaded: Loaded) -> bool:
    """NB: by the source's own name of the output: how the configuration styles it may have changed."""
    return isinstance(loaded, Installation) and mark.output not in ("", *loaded.declared)


def _held(selection: Selection, rule: Rule, target: Target, policy: Policy) -> str | None:
    """Why the target cannot be served, where it cannot: what it has stays then, wherever it is."""
    if not isinstance(selection, Selected):
        return None
    mapped = map_target(selection.outputs, rule, target, policy)
    return next((one.reason for one in mapped if isinstance(one, Unmappable)), None)


def _address_or_none(key: InstallationKey, rule: Rule, target: Target, policy: Policy) -> Address | None:
    if target.layout is not Layout.BUNDLE:
        return None
    try:
        return target_address(key, rule, target, policy)
    except NameRefused:
        return None
