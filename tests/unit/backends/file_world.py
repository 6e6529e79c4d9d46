"""Helpers of the file sink's tests: secrets to write, and a plain look at the disk."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from backends.contract import Absent, DesiredSecret, Mark, ObservedSecret, Owner, Unchanged, Version
from backends.file.options import FileOptions
from backends.file.sink import FileSink
from backends.secret_value import SecretValue

OWNER = Owner(instance="here", source="source")
ADDRESS = "shop/orders"


class Killed(BaseException):
    """Ends a write as a kill does: no clean-up of ours catches it."""


def sink_at(base: Path, step: Callable[[str], None] | None = None) -> FileSink:
    options = FileOptions(path=base)
    return FileSink(options) if step is None else FileSink(options, step=step)


def secret(data: Mapping[str, bytes], address: str = ADDRESS, instance: str = "here") -> DesiredSecret:
    mark = Mark(
        instance=instance,
        source="source",
        rule="default",
        target="0",
        address=address,
        namespace="shop",
        installation="orders",
        installation_id="01ID",
        run_id="01RUN",
        result_id="01RESULT",
        revision="r",
        content_id="c",
    )
    return DesiredSecret(mark=mark, data={key: SecretValue(content) for key, content in data.items()})


async def write(base: Path, data: Mapping[str, bytes], address: str = ADDRESS) -> Version:
    """Put what is wanted over whatever is there of ours."""
    sink = sink_at(base)
    seen = await observe(base, address)
    expect = Absent() if seen is None else Unchanged(seen.version)
    return await sink.put(secret(data, address), expect)


async def observe(base: Path, address: str = ADDRESS, owner: Owner = OWNER) -> ObservedSecret | None:
    return (await sink_at(base).observe(owner, [address])).get(address)


async def found(base: Path, address: str = ADDRESS) -> ObservedSecret:
    seen = await observe(base, address)
    assert seen is not None
    return seen


async def inventory(base: Path) -> list[str]:
    return [found.address async for found in sink_at(base).inventory(OWNER)]


def readable(base: Path, address: str = ADDRESS) -> dict[str, bytes]:
    """What an application finds: every name in the folder that opens and is not the sink's."""
    folder = base / address
    if not folder.is_dir():
        return {}
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith("..")]
    return {path.name: path.read_bytes() for path in files}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def tree(base: Path) -> list[str]:
    """Everything below the base as text, random names made equal; without the lock file."""
    lines = []
    for path in sorted(base.rglob("*")):
        if path.name == "..syncer.lock":
            continue
        to = f" -> {path.readlink()}" if path.is_symlink() else ""
        content = f" = {path.read_bytes()!r}" if path.is_file() and not path.is_symlink() else ""
        lines.append(f"{path.relative_to(base)}{to}{content} {path.lstat().st_mode:o}")
    return sorted(re.sub(r"\.\.syncer-[0-9a-f]{32}", "..SET", line) for line in lines)
