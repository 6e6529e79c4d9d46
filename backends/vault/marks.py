"""Marks as the custom metadata of a KV v2 secret. Pure.

Beside the mark stand the versions that were written by us: metadata belongs to a secret, not to a
version, so that a mark alone does not prove whose the current version is. Other people's custom
metadata are kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from itertools import count
from typing import Final

from backends.contract import Mark
from backends.errors import Refused
from backends.marking import FIELD_NAMES, mark_fields

PREFIX: Final = "outputs.porter.sh/"
MAX_VALUE: Final = 512
"""Bytes of one value of custom metadata (seen at OpenBao 2.7, as documented for Vault)."""

_VERSIONS: Final = f"{PREFIX}versions"
_BASE64: Final = f"{PREFIX}base64"
_MAY_BE_EMPTY: Final = ("namespace", "output")
"""Vault takes no empty values: these fields are left out then."""
_MAX_PIECES: Final = 40
"""Of 64 entries that a secret may have, those left over by the mark and some for other people."""

Custom = Mapping[str, str]


def custom_metadata(
    mark: Mark, versions: Collection[int], base64: Collection[str], current: Custom
) -> dict[str, str | None]:
    """A merge patch that leaves exactly this mark. Raises `Refused` for what does not fit."""
    given = mark_fields(mark)
    for name, text in given.items():
        if not text and name not in _MAY_BE_EMPTY:
            raise Refused(f"{mark.address}: the mark's {name} is empty")
    fields = {f"{PREFIX}{name}": text for name, text in given.items() if text}
    wanted = fields | {_VERSIONS: _ranges(versions)} | _pieces(json.dumps(list(base64)) if base64 else "")
    for name, text in wanted.items():
        if len(text.encode("utf-8", "surrogatepass")) > MAX_VALUE:
            raise Refused(f"{mark.address}: the mark's {name.removeprefix(PREFIX)} is too long for metadata")
    return dict.fromkeys(own_names(current)) | wanted


def taken_back(claim: Custom, before: Custom) -> dict[str, str | None]:
    """A merge patch that leaves whatever mark there was before a claim."""
    return dict.fromkeys(own_names(claim)) | own_entries(before)


def own_entries(custom: Custom) -> dict[str, str]:
    return {name: text for name, text in custom.items() if name.startswith(PREFIX)}


def own_names(custom: Custom) -> list[str]:
    return list(own_entries(custom))


def found_fields(custom: Custom) -> dict[str, object]:
    """What stands where a mark would, for `marking.parse_mark`."""
    found: dict[str, object] = {
        name: custom[f"{PREFIX}{name}"] for name in FIELD_NAMES if f"{PREFIX}{name}" in custom
    }
    return dict.fromkeys(_MAY_BE_EMPTY, "") | found if found else {}


def own_versions(custom: Custom) -> frozenset[int]:
    """The versions we wrote; none where that cannot be read."""
    found: set[int] = set()
    for part in custom.get(_VERSIONS, "").split(","):
        match = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", part, re.ASCII)
        if match is not None:
            found |= set(_bounded(int(match[1]), int(match[2] or match[1])))
    return frozenset(found)


def base64_fields(custom: Custom) -> frozenset[str]:
    """Names of the fields that are base64."""
    pieces = [custom.get(name) for name, _ in zip(_piece_names(), range(_MAX_PIECES), strict=False)]
    try:
        found = json.loads("".join(piece for piece in pieces if piece) or "[]")
    except (ValueError, RecursionError):  # NB: somebody else may have edited it
        return frozenset()
    return frozenset(map(str, found)) if isinstance(found, list) else frozenset()


def _bounded(first: int, last: int) -> range:
    """NB: somebody else may have edited it into a range that no machine can hold."""
    return range(first, min(last, first + 10_000) + 1)


def _ranges(versions: Collection[int]) -> str:
    """`1-3,5`; "0" for none, since no value may be empty. The newest ones, where not all fit."""
    parts: list[str] = []
    for first, last in reversed(_runs(sorted(versions))):
        part = f"{first}" if first == last else f"{first}-{last}"
        if len(",".join([part, *parts])) > MAX_VALUE:
            break
        parts.insert(0, part)
    return ",".join(parts) or "0"


def _runs(ordered: Iterable[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for number in ordered:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _pieces(text: str) -> dict[str, str]:
    """A text over as many entries as it needs; JSON of ASCII only, so that bytes are characters."""
    cut = [text[start : start + MAX_VALUE] for start in range(0, len(text), MAX_VALUE)]
    if len(cut) > _MAX_PIECES:
        raise Refused("more names of binary outputs than the metadata of a secret takes")
    return dict(zip(_piece_names(), cut, strict=False))


def _piece_names() -> Iterable[str]:
    return (_BASE64 if number == 1 else f"{_BASE64}-{number}" for number in count(1))
