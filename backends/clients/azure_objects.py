"""Secrets as the REST API of Azure Key Vault writes them, and the bodies it is sent. Pure.

A value becomes a `SecretValue` here (the UTF-8 of its text), and nowhere else. What the text and the
tags mean is the sink's business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from backends.secret_value import SecretValue

Json = dict[str, Any]

_HTTPS: Final = 443
_ID_PARTS: Final = (2, 3)
"""`secrets/NAME` or `secrets/NAME/VERSION`."""


class Unreadable(ValueError):
    """What was answered is no key vault's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultSecret:
    """One version of a secret; without `value` where a list or a deleted one tells of it."""

    name: str
    version: str | None
    """None in a list of secrets, which tells of the latest version without naming it."""
    value: SecretValue | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = None
    enabled: bool = True
    not_before: int | None = None
    """Seconds since 1970, as are all times here."""
    expires: int | None = None
    created: int = 0
    updated: int = 0
    managed: bool = False
    """It belongs to a certificate, and cannot be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSecret:
    """What a new version is to be."""

    value: SecretValue
    """UTF-8 of its text."""
    tags: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = None
    not_before: int | None = None
    expires: int | None = None


def set_body(new: NewSecret) -> Json:
    """The body of a set: value, tags and attributes at once."""
    times = {"nbf": new.not_before, "exp": new.expires}
    attributes = {"enabled": True} | {name: time for name, time in times.items() if time is not None}
    body: Json = {"value": new.value.reveal().decode(), "tags": dict(new.tags), "attributes": attributes}
    return body if new.content_type is None else body | {"contentType": new.content_type}


def read_secret(body: object) -> VaultSecret:
    """A secret, an item of a list, or a deleted one. Raises `Unreadable` for anything else."""
    if not isinstance(body, Mapping):
        raise Unreadable("not an object")
    name, version = _identity(body.get("id"))
    attributes, tags, value = body.get("attributes"), body.get("tags"), body.get("value")
    if not isinstance(attributes, Mapping) or not isinstance(tags, Mapping | None):
        raise Unreadable("no attributes")
    return VaultSecret(
        name=name,
        version=version,
        value=SecretValue(value.encode("utf-8", "surrogatepass")) if isinstance(value, str) else None,
        tags={str(key): str(text) for key, text in (tags or {}).items()},
        content_type=_text(body.get("contentType")),
        enabled=attributes.get("enabled") is not False,
        not_before=_time(attributes.get("nbf")),
        expires=_time(attributes.get("exp")),
        created=_time(attributes.get("created")) or 0,
        updated=_time(attributes.get("updated")) or 0,
        managed=body.get("managed") is True,
    )


def read_page(body: object) -> tuple[list[VaultSecret], str | None]:
    """The items of a page, and the address of the next one. Raises `Unreadable`."""
    items = body.get("value") if isinstance(body, Mapping) else None
    if not isinstance(body, Mapping) or not isinstance(items, list):
        raise Unreadable("not a page")
    return [read_secret(item) for item in items], _text(body.get("nextLink")) or None


def next_path(link: str, vault_url: str) -> str:
    """Path and query of a next page's address. Raises `Unreadable` for another server's.

    That one would be sent the token.
    """
    there, here = _origin(link), _origin(vault_url)
    if there is None or there[:2] != (here or there)[:2]:
        raise Unreadable("another server's address")
    return there[2]


def _origin(url: str) -> tuple[str | None, int, str] | None:
    """Host, port, and what follows of an https address."""
    try:
        parts = urlsplit(url)
        port = parts.port or _HTTPS
    except ValueError:
        return None
    return (parts.hostname, port, f"{parts.path}?{parts.query}") if parts.scheme == "https" else None


def _identity(identifier: object) -> tuple[str, str | None]:
    path = re.sub(r"^https://[^/]+", "", identifier) if isinstance(identifier, str) else ""
    parts = path.strip("/").split("/")
    if len(parts) not in _ID_PARTS or not all(parts):
        raise Unreadable("no identifier")
    return parts[1], parts[2] if len(parts) > _ID_PARTS[0] else None


def _text(found: object) -> str | None:
    return found if isinstance(found, str) else None


def _time(found: object) -> int | None:
    return found if isinstance(found, int) and not isinstance(found, bool) else None
