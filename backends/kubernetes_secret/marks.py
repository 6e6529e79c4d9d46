"""Marks as labels and annotations of a Secret. Pure.

The annotations are the mark. The labels are an index to find our own by: one that is changed or
missing makes nothing foreign, it makes the Secret not intact. One more annotation says which
labels and annotations the target asked for, so that an update can take back what is no longer
wanted and leave what others added. `app.kubernetes.io/instance` is never set: Argo CD would take
the Secret for a part of its own application, and prune it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final

from backends.contract import Mark
from backends.marking import FIELD_NAMES, mark_fields

PREFIX: Final = "outputs.porter.sh/"
INSTANCE_LABEL: Final = f"{PREFIX}instance"
MANAGED_BY: Final = "porter-outputs-syncer"

_ID_LABEL: Final = f"{PREFIX}installation-id"
_MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
_ATTRIBUTES: Final = f"{PREFIX}attributes"
_LABEL_VALUE: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", re.ASCII)
_HASH_LENGTH: Final = 40

Texts = Mapping[str, str]


def label_value(text: str) -> str:
    """The text where a label may hold it, else the start of its SHA-256."""
    if _LABEL_VALUE.fullmatch(text):
        return text
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]


def index_labels(mark: Mark) -> dict[str, str]:
    """The labels our Secrets are found by."""
    return {
        INSTANCE_LABEL: label_value(mark.instance),
        _ID_LABEL: label_value(mark.installation_id),
        _MANAGED_BY_LABEL: MANAGED_BY,
    }


def mark_annotations(mark: Mark, attributes: Iterable[str]) -> dict[str, str]:
    """The mark, and the names of the attributes the target asked for."""
    fields = {f"{PREFIX}{name}": text for name, text in mark_fields(mark).items()}
    return fields | {_ATTRIBUTES: " ".join(sorted(attributes))}


def found_fields(annotations: Texts) -> dict[str, object]:
    """What stands where a mark would, for `marking.parse_mark`."""
    return {name: annotations[f"{PREFIX}{name}"] for name in FIELD_NAMES if f"{PREFIX}{name}" in annotations}


def is_indexed(mark: Mark, labels: Texts) -> bool:
    """Whether the index labels are as we wrote them."""
    return index_labels(mark).items() <= labels.items()


def written_attributes(annotations: Texts) -> tuple[str, ...]:
    """Names of the attributes that the last write put there."""
    return tuple(annotations.get(_ATTRIBUTES, "").split())


def named(attributes: Texts, kind: str) -> dict[str, str]:
    """Those of one kind ("label", "annotation"), under their bare names."""
    start = f"{kind}:"
    return {name.removeprefix(start): text for name, text in attributes.items() if name.startswith(start)}


def merged(current: Texts, ours: Texts, written: Iterable[str], kind: str) -> dict[str, str]:
    """Others' labels (or annotations) as they are, ours new, those we wrote before and want no more gone."""
    stale = {name.removeprefix(f"{kind}:") for name in written if name.startswith(f"{kind}:")}
    foreign = {
        name: text for name, text in current.items() if name not in stale and not name.startswith(PREFIX)
    }
    return foreign | dict(ours)
