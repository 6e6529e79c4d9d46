"""The last line before a deletion: too many at once are not believed.

Pure. Evidence comes first (two complete snapshots, a fresh look directly before); this only
counts, and keeps apart what was written from another source.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from syncer.core.changes import Delete
from syncer.core.model import GuardLimits

_EVERY_ONE_OF = 3
"""All of at least so many marked installations going at once is a wrong source, not a clean-up."""
_HASH_LENGTH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Which deletions go on, and which are held as one set until its hash is approved."""

    allowed: tuple[Delete, ...]
    held: tuple[Delete, ...]
    hash: str
    """Names the held set exactly; "" where nothing is held."""
    reason: str


def judge(
    deletions: Sequence[Delete],
    marked: Collection[str],
    limits: GuardLimits,
    approved: Collection[str] = (),
    recent: Collection[str] = (),
) -> Verdict:
    """Hold what is too much. `marked`: ids of all installations this sink has secrets of.

    `recent`: ids of those that lost theirs a short while ago; a slow loss counts as the fast one would.
    """
    going = {deletion.subject.id for deletion in deletions}
    gone, all_marked = going | {*recent}, {*marked, *recent}
    most = max(limits.max_deletions, limits.max_deletion_percent * len(all_marked) // 100)
    reason = ""
    if going and len(gone) > most:
        reason = f"{len(gone)} of {len(all_marked)} installations would lose their secrets, more than {most}"
    elif going and len(gone) >= max(_EVERY_ONE_OF, len(all_marked)):
        reason = f"all {len(gone)} installations would lose their secrets"
    held = tuple(deletions) if reason else tuple(one for one in deletions if one.doubt)
    if not held:
        return Verdict(allowed=tuple(deletions), held=(), hash="", reason="")
    name = plan_hash(held)
    if name in approved:
        return Verdict(allowed=tuple(deletions), held=(), hash="", reason="")
    return Verdict(
        allowed=() if reason else tuple(one for one in deletions if not one.doubt),
        held=held,
        hash=name,
        reason=reason or held[0].doubt or "",
    )


def plan_hash(deletions: Collection[Delete]) -> str:
    """Names a set of deletions: which addresses, and which life of which installation."""
    content = sorted((one.subject.address, one.subject.id, one.observed.version.token) for one in deletions)
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:_HASH_LENGTH]
