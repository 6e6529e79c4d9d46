"""Legal paths below a mount, and addresses: segments joined by `/`. Pure.

Fields stay as they are called. Segments that begin with a dot are the sink's own: the marks of
KV v1 are kept beside the secrets, in a folder of that kind.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from backends.errors import NameRefused
from backends.naming import Alphabet, first_legal

MAX_ADDRESS: Final = 512
"""What a value of custom_metadata takes, where the mark names its own address."""
MAX_SEGMENT: Final = 253

SIDECARS: Final = ".syncer"
"""Folder below each of the sink's paths that holds the marks of KV v1."""

_EDGES: Final = "-_a-zA-Z0-9"
_SEGMENTS: Final = (
    # Vault refuses a path with ".." anywhere in it.
    Alphabet(allowed="-._a-zA-Z0-9", edges=_EDGES, max_length=MAX_SEGMENT, reserved=r".*\.\..*"),
    Alphabet(allowed="-_a-zA-Z0-9", edges=_EDGES, max_length=MAX_SEGMENT),
)


class VaultNaming:
    """How this sink names things; `paths` are those of its options."""

    global_namespace: str | None = "_global"

    def __init__(self, paths: Collection[str]) -> None:
        self._paths = tuple(paths)

    def address(self, parts: tuple[str, ...]) -> str:
        """The path below the mount. Raises `NameRefused` for one that is too long or not below `paths`."""
        address = "/".join(first_legal(part, _SEGMENTS) for part in parts)
        if len(address) > MAX_ADDRESS:
            raise NameRefused(f"the path {address[:40]}... is longer than {MAX_ADDRESS} characters")
        if path_of(address, self._paths) is None:
            raise NameRefused(f"{address} is not below the sink's paths: {', '.join(self._paths)}")
        return address

    def key(self, name: str) -> str:
        """The field for an output: its name. Raises `NameRefused` for an empty one."""
        if not name:
            raise NameRefused("the name is empty")
        return name

    def same(self, address: str) -> str:
        return address


def path_of(address: str, paths: Collection[str]) -> str | None:
    """Which of the sink's paths an address is below."""
    return next((path for path in paths if address.startswith(f"{path}/")), None)


def is_segment(name: str) -> bool:
    """Whether a secret of ours, or a folder of them, can be called so; other people's may be anything."""
    return _SEGMENTS[0].fits(name)


def split_address(address: str, paths: Collection[str]) -> tuple[str, str]:
    """The sink's path, and what comes below it. Raises `NameRefused` for what no secret of it can have."""
    path = path_of(address, paths)
    rest = address.removeprefix(f"{path}/")
    if path is None or not all(is_segment(segment) for segment in rest.split("/")):
        raise NameRefused(f"{address!r} is not the path of a secret below the sink's paths")
    return path, rest
