"""Legal names of folders and files, and addresses: folder names joined by `/`. Pure.

Names that begin with `..` are the sink's own (`state` lists them); none is made from a name
of Porter's.
"""

from __future__ import annotations

from typing import Final

from backends.errors import NameRefused
from backends.naming import DATA_KEYS, first_legal

MAX_NAME: Final = DATA_KEYS[0].max_length
MAX_ADDRESS: Final = 2048
"""Leaves room for the base folder and a key in the 4096 bytes of a Linux path."""


class FileNaming:
    """How this sink names things."""

    global_namespace: str | None = "_global"

    def address(self, parts: tuple[str, ...]) -> str:
        """The folder below the base. Raises `NameRefused` for an empty part, or for a path too long."""
        address = "/".join(first_legal(part, DATA_KEYS) for part in parts)
        if len(address) > MAX_ADDRESS:
            raise NameRefused(f"the path {address[:40]}... is longer than {MAX_ADDRESS} characters")
        return address

    def key(self, name: str) -> str:
        """The file name for an output. Raises `NameRefused`."""
        return first_legal(name, DATA_KEYS)

    def same(self, address: str) -> str:
        return address


def is_legal(name: str) -> bool:
    """Whether this may name a folder or a file of ours."""
    return DATA_KEYS[0].fits(name)


def split_address(address: str) -> tuple[str, ...]:
    """The folders of an address. Raises `NameRefused` for what no secret of this sink can have."""
    segments = tuple(address.split("/"))
    if not all(is_legal(segment) for segment in segments):
        raise NameRefused(f"{address!r} is not the path of a folder below the sink's")
    return segments
