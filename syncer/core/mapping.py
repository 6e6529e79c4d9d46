"""From a set of outputs to the secrets a rule's targets ask for: addresses, keys, revision.

Pure, and without values: what is wanted is described by reference to outputs, so that a pass in
which nothing changed reads none. Whether two wanted secrets meet at one address is decided by
`planning`, which sees what is there already.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import assert_never

from backends.contract import PER_OUTPUT_KEY, Layout
from backends.errors import NameRefused
from syncer.core.model import (
    Address,
    FromOutput,
    FromTemplate,
    InstallationKey,
    KeySource,
    KeyStyle,
    OutputSet,
    Placeholder,
    Policy,
    Rule,
    SelectedOutput,
    Target,
)
from syncer.core.templates import render_address

_REVISION_LENGTH = 32
_TEXT = json.JSONEncoder(sort_keys=True, ensure_ascii=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A secret that is to exist, described by the outputs it is made of."""

    address: Address
    rule: Rule
    target: Target
    outputs: OutputSet
    keys: Mapping[str, KeySource]
    revision: str
    output: str = ""
    """As in the mark: which output, where each has a secret of its own and it is no template."""
    description: str = ""
    """What `describing` says of the installation, for a target that shows it."""

    @property
    def used(self) -> Iterator[SelectedOutput]:
        """The outputs this secret is made of, each once."""
        names = dict.fromkeys(name for source in self.keys.values() for name in output_names(source))
        return (self.outputs.outputs[name] for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmappable:
    """A target that cannot be served as it is. What it has already stays."""

    address: Address | None
    """None where not even the address can be made."""
    rule: Rule
    target: Target
    outputs: OutputSet
    reason: str


Mapped = Wanted | Unmappable
_Entry = tuple[Address, str, KeySource]
"""Where it goes, under which name, and what it holds."""


def map_target(outputs: OutputSet, rule: Rule, target: Target, policy: Policy) -> tuple[Mapped, ...]:
    """The secrets one target asks for. None at all where there is nothing to put into them."""
    if not outputs.outputs:
        return ()
    address = None
    entries: tuple[_Entry, ...] = ()
    problem: str | None = None
    try:
        if target.layout is Layout.BUNDLE:
            address = target_address(outputs.key, rule, target, policy)
            entries = tuple((address, name, source) for name, source in _entries(outputs, target))
        else:
            entries, problem = _spread(outputs, rule, target, policy)
    except NameRefused as refused:
        problem = str(refused)
    problem = problem or _missing(entries, outputs) or _meeting(entries, target)
    if problem is None:
        return tuple(_wanted(outputs, rule, target, entries, address))
    # A target that is held keeps all its places: nobody else may take one of them meanwhile.
    places = {target.naming.same(place.path): place for place, _, _ in entries}
    return tuple(
        Unmappable(address=place, rule=rule, target=target, outputs=outputs, reason=problem)
        for place in (*places.values(),) or (address,)
    )


def _spread(
    outputs: OutputSet, rule: Rule, target: Target, policy: Policy
) -> tuple[tuple[_Entry, ...], str | None]:
    """Every output with a place of its own, and why one has none."""
    entries: list[_Entry] = []
    problems: list[str] = []
    for name, source in _entries(outputs, target):
        try:
            entries.append((target_address(outputs.key, rule, target, policy, name), name, source))
        except NameRefused as refused:
            problems.append(str(refused))
    return tuple(entries), "; ".join(dict.fromkeys(problems)) or None


def target_address(
    key: InstallationKey, rule: Rule, target: Target, policy: Policy, output: str = ""
) -> Address:
    """Where a target puts the secret of this installation. Raises `NameRefused`."""
    fields = {
        "installation": key.name,
        "rule": rule.name,
        "instance": policy.instance,
        "output": output,
        "namespace": _namespace(key, target, policy),
    }
    parts = tuple(render_address(part, fields) for part in target.parts)
    return Address(target.sink, target.naming.address(parts))


def output_names(source: KeySource) -> tuple[str, ...]:
    """The outputs a key is made of."""
    match source:
        case FromOutput(output):
            return (output,)
        case FromTemplate(pieces):
            return tuple(piece.output for piece in pieces if isinstance(piece, Placeholder))
        case _:
            assert_never(source)


def _namespace(key: InstallationKey, target: Target, policy: Policy) -> str:
    if key.namespace in policy.namespaces:
        return policy.namespaces[key.namespace]
    if key.namespace:
        return key.namespace
    if target.naming.global_namespace is not None:
        return target.naming.global_namespace
    if any("{namespace}" in part for part in target.parts):
        raise NameRefused('Porter\'s global namespace is not mapped (set namespaces: {"": ...})')
    return ""


def _entries(outputs: OutputSet, target: Target) -> tuple[tuple[str, KeySource], ...]:
    """Final key names and what they hold; may hold one name twice, which `_meeting` finds."""
    if target.keys is not None:
        return tuple(sorted(target.keys.items(), key=lambda item: item[0]))
    names = sorted(name for name, one in outputs.outputs.items() if not (target.shows and one.sensitive))
    styled = ((_style(name, target.key_style), FromOutput(name)) for name in names)
    if target.layout is Layout.PER_OUTPUT:
        return tuple(styled)
    return tuple((target.naming.key(name), source) for name, source in styled)


def _style(name: str, style: KeyStyle) -> str:
    if style is KeyStyle.RAW:
        return name
    snake = re.sub(r"[^A-Za-z0-9]+", "_", name).upper()
    return f"_{snake}" if snake[:1].isdigit() else snake


def _missing(entries: tuple[_Entry, ...], outputs: OutputSet) -> str | None:
    needed = {name for _, _, source in entries for name in output_names(source)}
    missing = sorted(needed - outputs.outputs.keys())
    if not missing:
        return None
    return "; ".join(f"output {name!r} is not among the selected outputs" for name in missing)


def _meeting(entries: tuple[_Entry, ...], target: Target) -> str | None:
    """Two outputs on one key; for one secret per output, on one address."""
    named: dict[str, list[str]] = {}
    for address, key, source in entries:
        bundled = target.layout is Layout.BUNDLE
        place = f"key {key!r}" if bundled else f"address {target.naming.same(address.path)!r}"
        named.setdefault(place, []).append(" and ".join(map(repr, output_names(source))))
    met = [
        f"outputs {' and '.join(names)} meet at {place}"
        for place, names in sorted(named.items())
        if len(names) > 1
    ]
    return "; ".join(met) or None


def _wanted(
    outputs: OutputSet, rule: Rule, target: Target, entries: tuple[_Entry, ...], bundled: Address | None
) -> Iterator[Wanted]:
    for address, output, keys in _secrets(entries, bundled):
        yield Wanted(
            address=address,
            rule=rule,
            target=target,
            outputs=outputs,
            keys=keys,
            revision=_revision(outputs, target, keys),
            output=output,
        )


def _secrets(
    entries: tuple[_Entry, ...], bundled: Address | None
) -> Iterator[tuple[Address, str, dict[str, KeySource]]]:
    """Address, output (`Wanted.output`) and keys of each secret; `bundled` is where all go, if they do."""
    if bundled is not None:
        yield bundled, "", {key: source for _, key, source in entries}
        return
    for address, _, source in entries:
        yield address, source.output if isinstance(source, FromOutput) else "", {PER_OUTPUT_KEY: source}


def _revision(outputs: OutputSet, target: Target, keys: Mapping[str, KeySource]) -> str:
    """Over the (output, result) pairs used and the layout the rule gives them; no value in it."""
    used = {name for source in keys.values() for name in output_names(source)}
    content = {
        "results": sorted((name, outputs.outputs[name].ref.result_id) for name in used),
        "keys": {key: _described(source) for key, source in keys.items()},
        "layout": target.layout.value,
        "attributes": dict(target.attributes),
    }
    text = _TEXT.encode(content)
    return hashlib.sha256(text.encode()).hexdigest()[:_REVISION_LENGTH]


def _described(source: KeySource) -> list[object]:
    match source:
        case FromOutput(output):
            return [{"output": output}]
        case FromTemplate(pieces):
            return [
                piece if isinstance(piece, str) else {"output": piece.output, "filters": piece.filters}
                for piece in pieces
            ]
        case _:
            assert_never(source)
