"""What a token needs to be allowed, and what follows from what it is. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from backends.contract import Finding, FindingLevel
from backends.vault.names import SIDECARS

Needed = Mapping[str, frozenset[str]]
"""Path to the capabilities that are needed there, as policies call them."""

_TOO_MUCH: Final = ("root", "sudo")
_ANY: Final = "probe"
"""Stands for any secret: capabilities are asked of a path, and not of a pattern."""


def needed(mount: str, paths: Collection[str], version: int) -> Needed:
    """The rights the sink uses; the deny matrix of the tests takes them away one by one."""
    found: dict[str, frozenset[str]] = {}
    for path in paths:
        found |= _kv1(f"{mount}/{path}") if version == 1 else _kv2(mount, path)
    return found


def findings(wanted: Needed, allowed: Needed, mount: str, version: int) -> tuple[Finding, ...]:
    subject = f"KV v{version} at {mount}"
    found = [_finding(path, rights, allowed.get(path, frozenset())) for path, rights in wanted.items()]
    problems = tuple(one for one in found if one is not None)
    if any(one.level is FindingLevel.ERROR for one in problems):
        return problems
    return (
        Finding(level=FindingLevel.OK, subject=subject, detail="the token may do what is needed"),
        *problems,
    )


def _finding(path: str, wanted: Collection[str], allowed: Collection[str]) -> Finding | None:
    excess = [right for right in _TOO_MUCH if right in allowed]
    if excess:
        detail = f"the token has {excess[0]}, and needs no more than {', '.join(sorted(wanted))}"
        return Finding(level=FindingLevel.WARNING, subject=path, detail=detail)
    missing = sorted(set(wanted) - set(allowed))
    if missing:
        detail = f"the right to {', '.join(missing)} is missing"
        return Finding(level=FindingLevel.ERROR, subject=path, detail=detail)
    return None


def _kv2(mount: str, path: str) -> Needed:
    return {
        f"{mount}/metadata/{path}/": frozenset({"list"}),
        f"{mount}/metadata/{path}/{_ANY}": frozenset({"create", "update", "patch", "read", "delete"}),
        # Data are written where a claim is already: that counts as an update, also of the first version.
        f"{mount}/data/{path}/{_ANY}": frozenset({"update", "read"}),
        f"{mount}/destroy/{path}/{_ANY}": frozenset({"update"}),
    }


def _kv1(path: str) -> Needed:
    written = frozenset({"create", "update", "read", "delete"})
    return {
        f"{path}/{SIDECARS}/": frozenset({"list"}),
        f"{path}/{SIDECARS}/{_ANY}": written,
        f"{path}/{_ANY}": written,
    }
