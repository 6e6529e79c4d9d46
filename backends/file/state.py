"""What the content of a folder means: whose secret it is, and whether it is whole. Pure.

The layout (design: file sink), below a secret's folder::

    ..data -> ..syncer-<32 hex>       the live set; renaming this link over the old one is the swap
    ..syncer-<32 hex>/..syncer.json   the mark, written before any value
    ..syncer-<32 hex>/<key>           the bytes
    <key> -> ..data/<key>             what applications open

A set that is not live was left by a process that died: it shows no value to anybody, and
while it is marked it keeps the folder findable. Whatever else is in the folder is a
stranger's, and stays.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from backends.contract import Mark, ObservedSecret, Owner, Version
from backends.file.marks import MARK_FILE, announced_keys, found_fields
from backends.marking import parse_mark
from backends.secret_value import SecretValue

LIVE: Final = "..data"
NEW_LIVE: Final = "..data_tmp"
NEW_LINK: Final = "..syncer-link"
NEW_MARK: Final = "..syncer.json_tmp"
SET_PREFIX: Final = "..syncer-"
_SET_NAME: Final = re.compile(r"\.\.syncer-[0-9a-f]{32}")

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600


def is_set_name(name: str) -> bool:
    return _SET_NAME.fullmatch(name) is not None


def link_to(key: str) -> str:
    """Where our link for a key points."""
    return f"{LIVE}/{key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSet:
    """One `..syncer-*` folder."""

    files: Mapping[str, SecretValue]
    """Regular files, the mark among them."""
    sound: bool
    """Modes are as written, and nothing but regular files is in it."""

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(self.files) - {MARK_FILE, NEW_MARK}

    @property
    def empty(self) -> bool:
        """Neither marked nor holding a value: begun, and cut off."""
        return not self.files.keys() - {NEW_MARK}

    @property
    def fields(self) -> Mapping[str, object]:
        content = self.files.get(MARK_FILE)
        return {} if content is None else found_fields(content.reveal())

    def judged(self, address: str, owner: Owner) -> tuple[Mark | None, str | None]:
        return parse_mark(self.fields, address, owner)

    def claims(self, names: frozenset[str]) -> bool:
        """Whether one of these is a place it has a value for, or was to have one for."""
        return bool(names & (self.keys | announced_keys(self.fields) | {LIVE}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A secret's folder as it was found."""

    sets: Mapping[str, StoredSet]
    links: Mapping[str, str]
    """Symbolic links, and where they point."""
    others: frozenset[str]
    """Every other name: files, folders, whatever."""
    folders: frozenset[str]
    """Those of `others` that are folders."""
    sound: bool
    """The folder's own mode is as written."""
    stamp: str
    """Changes when anything in it does: names, inodes, modes, sizes, times."""

    @property
    def live(self) -> StoredSet | None:
        return self.sets.get(self.links.get(LIVE, ""))

    @property
    def our_links(self) -> frozenset[str]:
        return frozenset(name for name, to in self.links.items() if to == link_to(name))

    @property
    def strangers(self) -> frozenset[str]:
        """Names that no step of ours makes."""
        ours = self.our_links | {NEW_LIVE, NEW_LINK}
        if is_set_name(self.links.get(LIVE, "")):
            ours |= {LIVE}
        return (frozenset(self.links) - ours) | self.others

    @property
    def version(self) -> Version:
        text = f"{self.links.get(LIVE, '')}\n{self.stamp}"
        return Version(hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest())

    def intact(self) -> bool:
        live = self.live
        if live is None or not (self.sound and live.sound):
            return False
        return len(self.sets) == 1 and self.our_links == live.keys


def observation(folder: Folder, address: str, owner: Owner) -> ObservedSecret | None:
    """What a folder is to `owner`; None where there is nothing, or only what a cut write began."""
    live = folder.live
    if live is not None:
        mark, foreign = live.judged(address, owner)
        data = {key: live.files[key] for key in live.keys}
    else:
        begun = [found for found in folder.sets.values() if not found.empty]
        if not begun and not folder.strangers:
            return None
        mark, foreign = _judged_without_live(folder, begun, address, owner)
        data = {}
    return ObservedSecret(
        address=address,
        version=folder.version,
        mark=mark,
        foreign=foreign,
        data=data,
        intact=folder.intact(),
    )


def _judged_without_live(
    folder: Folder, begun: list[StoredSet], address: str, owner: Owner
) -> tuple[Mark | None, str | None]:
    """Judge what was never made live, or is being removed.

    Strangers that hold the place of a key make it foreign still: a takeover was cut before
    its swap, and has to be asked for again.
    """
    if not begun or any(found.claims(folder.strangers) for found in begun):
        return None, "no mark"
    judged = [found.judged(address, owner) for found in begun]
    return next((each for each in judged if each[1] is not None), judged[0])
