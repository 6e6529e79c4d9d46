"""A key vault's secrets as the contract's values, and the other way round. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from backends.azure_keyvault.marks import BASE64, ENCODING_TAG, PREFIX, judge, mark_tags
from backends.azure_keyvault.options import MAX_VALUE, moment_seconds, moment_text
from backends.clients.azure_objects import NewSecret, VaultSecret
from backends.contract import PER_OUTPUT_KEY, DesiredSecret, ObservedSecret, Owner, Version
from backends.errors import Refused, TooLarge
from backends.secret_value import SecretValue
from backends.texts import read_text, stored_text

_TEXT: Final = "text/plain"
_BYTES: Final = "application/octet-stream"
_TAG: Final = "tag:"

_LISTED: Final = "listed:"
_DELETED: Final = "deleted:"


def encoded(desired: DesiredSecret) -> NewSecret:
    """What to write. Raises `TooLarge`, and `Refused` for what no secret can be."""
    if set(desired.data) != {PER_OUTPUT_KEY}:
        raise Refused(f"{desired.address}: a key vault's secret holds one value, {PER_OUTPUT_KEY!r}")
    stored = stored_text(desired.data[PER_OUTPUT_KEY])
    value = SecretValue(stored.text.encode())
    if len(value) > MAX_VALUE:
        how = " as base64" if stored.is_base64 else ""
        raise TooLarge(f"{desired.address}: {len(value)} bytes{how}; a key vault's secret takes {MAX_VALUE}")
    attributes = desired.attributes
    tags = {name.removeprefix(_TAG): text for name, text in attributes.items() if name.startswith(_TAG)}
    encoding = {ENCODING_TAG: BASE64} if stored.is_base64 else {}
    return NewSecret(
        value=value,
        tags=tags | encoding | mark_tags(desired.mark),
        content_type=attributes.get("content-type", _BYTES if stored.is_base64 else _TEXT),
        not_before=_seconds(attributes, "not-before"),
        expires=_seconds(attributes, "expires"),
    )


def is_already(current: VaultSecret, new: NewSecret) -> bool:
    """Whether writing would change nothing."""
    return current.enabled and (
        current.value,
        dict(current.tags),
        current.content_type,
        current.not_before,
        current.expires,
    ) == (new.value, dict(new.tags), new.content_type, new.not_before, new.expires)


def observed(secret: VaultSecret, owner: Owner, *, like: str = "") -> ObservedSecret:
    """What is there, judged; its version of the kind that the token `like` is."""
    mark, foreign = judge(secret.tags, secret.name, owner)
    if secret.managed:
        foreign = "it belongs to a certificate"
    ours = foreign is None and mark is not None
    data = _data(secret) if ours else None
    return ObservedSecret(
        address=mark.address if ours and mark is not None else secret.name,
        version=listed_version(secret) if like.startswith(_LISTED) else version_of(secret),
        mark=mark,
        foreign=foreign,
        data=data,
        attributes=_attributes(secret),
        intact=ours and secret.enabled and data != {},
    )


def observed_deleted(secret: VaultSecret, owner: Owner) -> ObservedSecret | None:
    """A deleted secret of somebody else, which holds its name; one of ours counts as absent."""
    _, foreign = judge(secret.tags, secret.name, owner)
    if foreign is None:
        return None
    return ObservedSecret(
        address=secret.name,
        version=Version(f"{_DELETED}{secret.version}"),
        mark=None,
        foreign=deleted_reason(foreign),
        intact=False,
    )


def deleted_reason(foreign: str) -> str:
    return f"a deleted secret of somebody else holds the name ({foreign})"


def is_of_deleted(version: Version) -> bool:
    return version.token.startswith(_DELETED)


def version_of(secret: VaultSecret) -> Version:
    """Of a secret that was read by name: its version, and all that can change without a new one."""
    return Version(f"{secret.version}/{_digest(*_changeable(secret))}")


def listed_version(secret: VaultSecret) -> Version:
    """Of a secret that was listed: a list names no version, but tells when it was made and changed."""
    return Version(f"{_LISTED}{_digest(secret.created, secret.updated, *_changeable(secret))}")


def _changeable(secret: VaultSecret) -> tuple[object, ...]:
    return sorted(secret.tags.items()), secret.content_type, secret.enabled, secret.not_before, secret.expires


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _data(secret: VaultSecret) -> dict[str, SecretValue] | None:
    """None where no value was read; nothing where it cannot be what we wrote."""
    if secret.value is None:
        return None
    text = secret.value.reveal().decode("utf-8", "surrogatepass")
    value = read_text(text, is_base64=secret.tags.get(ENCODING_TAG) == BASE64)
    return {} if value is None else {PER_OUTPUT_KEY: value}


def _attributes(secret: VaultSecret) -> dict[str, str]:
    times = {"expires": secret.expires, "not-before": secret.not_before}
    found = {name: moment_text(time) for name, time in times.items() if time is not None}
    if secret.content_type is not None:
        found["content-type"] = secret.content_type
    theirs = (name for name in secret.tags if not name.startswith(PREFIX) and name != ENCODING_TAG)
    return found | {f"{_TAG}{name}": secret.tags[name] for name in theirs}


def _seconds(attributes: Mapping[str, str], name: str) -> int | None:
    text = attributes.get(name)
    return None if text is None else moment_seconds(text)
