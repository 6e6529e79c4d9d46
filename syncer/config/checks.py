"""Checks that need more than one setting: addresses and keys of targets, names of rules.

A rendered address is known only with an installation; what can be told without one is refused
here, so that it is not found out at night.
"""

from __future__ import annotations

from collections.abc import Mapping

from backends.contract import Layout, Naming
from backends.errors import NameRefused
from syncer.config.document import Data, Document, member
from syncer.config.errors import FieldPath
from syncer.config.kinds import CheckedTarget, items
from syncer.core.templates import ADDRESS_VARIABLES, TemplateError, address_variables, render_address

_CONFIGURED = frozenset({"rule", "instance"})


def check_rule_names(document: Document) -> None:
    """Two rules of one name could not be told apart in marks."""
    seen: set[Data] = set()
    for index, rule in items(document.data, "rules"):
        name = rule.get("name")
        if not isinstance(name, str):
            continue
        if name in seen:
            document.report(("rules", index, "name"), "another rule has this name")
        seen.add(name)


def check_addresses(document: Document, targets: Mapping[FieldPath, CheckedTarget]) -> None:
    """Every target's address template, layout, and the names of its keys."""
    for path, target in targets.items():
        shape = target.options.shape()
        variables = [_variables(part, target.entry, path, document) for part in shape.parts]
        known = [names for names in variables if names is not None]
        if len(known) < len(variables):
            continue
        _check_layout(target, path, document, frozenset().union(*known))
        naming = target.sink.naming
        if naming is not None and shape.layout is Layout.BUNDLE:
            _check_keys(target.entry.get("keys"), (*path, "keys"), naming, document)
        if naming is not None and known[0] <= _CONFIGURED:
            parts = _sample(shape.parts, target, document)
            _check_name(parts, naming, path, document)


def _setting(part: str, entry: Mapping[str, Data], path: FieldPath) -> FieldPath:
    """Which setting of the target a part of its address came from."""
    texts = {name: value for name, value in entry.items() if isinstance(value, str)}
    for name, value in texts.items():
        if part in (value, *value.split("/")):
            return (*path, name)
    return path


def _variables(
    part: str, entry: Mapping[str, Data], path: FieldPath, document: Document
) -> frozenset[str] | None:
    """None, and reported, for a part that is no template, or leads out of its place."""
    where = _setting(part, entry, path)
    if part in ("", ".", ".."):
        document.report(where, "has an empty part, '.' or '..', or begins or ends with '/'")
        return None
    try:
        return address_variables(part)
    except TemplateError as error:
        document.report(where, error.reason)
        return None


def _check_layout(
    target: CheckedTarget, path: FieldPath, document: Document, variables: frozenset[str]
) -> None:
    layout = target.options.shape().layout
    if layout not in target.sink.kind.capabilities.layouts:
        document.report((*path, "layout"), f"a {target.sink.kind.kind} sink cannot do this layout")
    elif layout is Layout.PER_OUTPUT and "output" not in variables:
        document.report(path, "each output gets a secret of its own: the address has to use {output}")
    elif layout is Layout.BUNDLE and "output" in variables:
        document.report(path, "all outputs go into one secret: the address cannot use {output}")


def _check_keys(keys: Data, path: FieldPath, naming: Naming, document: Document) -> None:
    for name in keys if isinstance(keys, dict) else ():
        try:
            legal = naming.key(name)
        except NameRefused:
            legal = None
        if legal != name:
            hint = "" if legal is None else f"; the nearest one is {legal}"
            document.report((*path, name), f"is no legal key in this sink{hint}")


def _sample(parts: tuple[str, ...], target: CheckedTarget, document: Document) -> tuple[str, ...]:
    """The address as it would be for an installation called `x`."""
    values = dict.fromkeys(ADDRESS_VARIABLES, "x") | {"rule": target.rule}
    for instance in member(document.data, "instance"):
        values["instance"] = str(instance)
    return tuple(render_address(part, values) for part in parts)


def _check_name(parts: tuple[str, ...], naming: Naming, path: FieldPath, document: Document) -> None:
    """Report what the sink refuses whichever installation it is for, such as a protected namespace.

    Asked where the first part, which says the namespace if a sink has any, is already known.
    """
    try:
        naming.address(parts)
    except NameRefused as refusal:
        document.report(path, str(refusal))
