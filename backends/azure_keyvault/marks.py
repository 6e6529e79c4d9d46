"""Marks as tags of a secret's version. Pure.

A version takes 15 tags, so what nobody searches by is packed into one: a field for each place, a comma
between two, an empty place for a missing field. Tags are never written empty: a mark whose namespace or
output is "" has no such tag.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from backends.azure_keyvault.names import same_name
from backends.contract import Mark, Owner
from backends.errors import Refused
from backends.marking import mark_fields, parse_mark

PREFIX: Final = "outputs.porter.sh/"
MAX_TAG: Final = 256
"""Characters of a name or a value; newer vaults take more."""

ENCODING_TAG: Final = "file-encoding"
"""The Azure CLI's own convention: `az keyvault secret download` decodes what says `base64` here."""
BASE64: Final = "base64"

_PACKED_TAG: Final = f"{PREFIX}ids"
_PACKED: Final = (
    "format",
    "source",
    "target",
    "installation-id",
    "run-id",
    "result-id",
    "revision",
    "content-id",
)
_MAY_BE_EMPTY: Final = ("namespace", "output")
_SINGLE: Final = ("instance", "rule", "address", "installation", *_MAY_BE_EMPTY)


def mark_tags(mark: Mark) -> dict[str, str]:
    """The mark as tags. Raises `Refused` for a field that no tag can hold."""
    fields = mark_fields(mark)
    for name in _PACKED:
        if "," in fields[name]:
            raise Refused(f"{mark.address}: the mark's {name} has a comma in it, which a tag cannot hold")
    for name, text in fields.items():
        if not text and name not in _MAY_BE_EMPTY:
            raise Refused(f"{mark.address}: the mark's {name} is empty")
    return field_tags(fields, mark.address)


def field_tags(fields: Mapping[str, str], address: str) -> dict[str, str]:
    """Whatever fields there are, as tags. Raises `Refused` for what is too long."""
    tags = {f"{PREFIX}{name}": fields[name] for name in _SINGLE if fields.get(name)}
    if any(name in fields for name in _PACKED):
        tags[_PACKED_TAG] = ",".join(fields.get(name, "") for name in _PACKED)
    for name, text in tags.items():
        if utf16_length(text) > MAX_TAG:
            what = "ids together are" if name == _PACKED_TAG else f"{name.removeprefix(PREFIX)} is"
            raise Refused(f"{address}: the mark's {what} longer than the {MAX_TAG} characters a tag holds")
    return tags


def found_fields(tags: Mapping[str, str]) -> dict[str, object]:
    """What stands where a mark would, for `marking.parse_mark`."""
    found: dict[str, object] = {
        name: tags[f"{PREFIX}{name}"] for name in _SINGLE if f"{PREFIX}{name}" in tags
    }
    found |= _unpacked(tags.get(_PACKED_TAG))
    return dict.fromkeys(_MAY_BE_EMPTY, "") | found if found else {}


def judge(tags: Mapping[str, str], name: str, owner: Owner) -> tuple[Mark | None, str | None]:
    """The mark of what was found under a name, and why it is foreign or None.

    A mark that names the same address in another case is at home: the vault does not tell cases apart.
    """
    fields = found_fields(tags)
    spelling = fields.get("address")
    at_home = isinstance(spelling, str) and same_name(spelling, name)
    return parse_mark(fields, str(spelling) if at_home else name, owner)


def utf16_length(text: str) -> int:
    """Characters as Azure counts them."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _unpacked(text: str | None) -> dict[str, str]:
    places = (text or "").split(",")
    if len(places) != len(_PACKED):
        places = places[:1]  # of a newer format only that it is one can be told
    return {name: place for name, place in zip(_PACKED, places, strict=False) if place}
