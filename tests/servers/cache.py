"""Builds things once: a cache folder outside the tree, a lock between processes, an atomic rename.

What is built, and how, is in `builds`. Nothing is ever removed here: delete the folder to start afresh.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class MissingPrerequisiteError(Exception):
    """This machine lacks a tool; the message is one line that says what to install."""


def cache_folder() -> Path:
    """The folder that holds one subfolder per build key; it is made when it is missing."""
    root = os.environ.get("XDG_CACHE_HOME")  # noqa: TID251 - the rig has no configuration of its own
    folder = Path(root or Path.home() / ".cache", "porter-outputs-syncer", "servers")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def build_key(name: str, version: str, sources: Iterable[Path], *options: str) -> str:
    """A key that changes with the version, with any byte of the sources and with the options."""
    digest = hashlib.sha256("\0".join(options).encode())
    for source in sorted(sources):
        digest.update(f"\0{source.name}\0".encode() + source.read_bytes())
    return f"{name}-{version}-{digest.hexdigest()[:12]}"


def build_once(key: str, build: Callable[[Path], None]) -> Path:
    """The folder of this key, filled by `build` unless some process has filled it before."""
    target = cache_folder() / key
    if target.is_dir():
        return target
    with _locked(cache_folder() / f"{key}.lock"):
        if not target.is_dir():
            _build_into(target, build)
    return target


def progress(message: str) -> None:
    """Tells a waiting person what takes so long."""
    sys.stderr.write(f"tests.servers: {message}\n")
    sys.stderr.flush()


def _build_into(target: Path, build: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
        built = Path(scratch, "built")
        built.mkdir()
        build(built)
        built.rename(target)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
