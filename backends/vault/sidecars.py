"""The marks of KV v1, which has no metadata: a secret of its own beside the one it is about. Pure.

Consumers see clean data. What is at the address cannot prove who wrote it: with KV v1 whoever
overwrites a marked secret is overwritten in turn.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from backends.contract import Mark, ObservedSecret, Owner, Version
from backends.marking import FIELD_NAMES, mark_fields, parse_mark
from backends.vault.fields import decoded

_BASE64 = "base64"

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What is at an address and what is in its sidecar; None: nothing."""

    data: Json | None = field(repr=False)
    sidecar: Json | None

    @property
    def is_absent(self) -> bool:
        return self.data is None and self.sidecar is None


def sidecar(mark: Mark, base64: Collection[str]) -> dict[str, object]:
    return {**mark_fields(mark), _BASE64: sorted(base64)}


def observed(address: str, pair: Pair, owner: Owner, key: bytes) -> ObservedSecret:
    """The secret, judged. `key` makes the version: it holds no digest that anybody could compare."""
    found = {name: text for name, text in (pair.sidecar or {}).items() if name in FIELD_NAMES}
    mark, foreign = parse_mark(found, address, owner)
    return ObservedSecret(
        address=address,
        version=version_of(pair, key),
        mark=mark,
        foreign=foreign,
        data=decoded(pair.data or {}, _base64_fields(pair)) if foreign is None else None,
        intact=foreign is None and pair.data is not None,
    )


def version_of(pair: Pair, key: bytes) -> Version:
    try:
        content = json.dumps([pair.data, pair.sidecar], sort_keys=True)
    except RecursionError:
        content = ""  # NB: lists in lists in lists, which somebody else wrote
    return Version(hmac.new(key, content.encode(), sha256).hexdigest())


def _base64_fields(pair: Pair) -> frozenset[str]:
    names = (pair.sidecar or {}).get(_BASE64)
    return frozenset(map(str, names)) if isinstance(names, list) else frozenset()
