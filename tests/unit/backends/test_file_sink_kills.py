"""A file sink's write may be cut anywhere: no reader sees half a set, and nothing stays behind.

Every scenario is cut before each single change it makes to the disk, in three ways: killed,
killed by SIGKILL in a process of its own (a few steps only), and failed for want of space.
Power loss is not simulated; that is what the order of fsync is for.
"""

# ruff: noqa: ASYNC221, ASYNC240  # nothing else runs in these loops
from __future__ import annotations

import errno
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from file_world import ADDRESS, Killed, inventory, names, observe, readable, secret, sink_at, tree, write

from backends.contract import Absent, ObservedSecret, TakeOver, Unchanged
from backends.errors import SinkUnavailable
from backends.file.sink import FileSink

OLD = {"host": b"old host", "port": b"old port"}
NEW = {"port": b"new port", "user": b"new user"}


@dataclass(frozen=True)
class Scenario:
    before: Callable[[Path], Awaitable[None]]
    act: Callable[[FileSink, ObservedSecret | None], Awaitable[object]]
    old: dict[str, bytes]
    new: dict[str, bytes]
    strangers: list[str] = field(default_factory=list)


async def nothing(base: Path) -> None:
    base.mkdir()


async def no_base(base: Path) -> None:
    return None


async def ours(base: Path) -> None:
    await write(base, OLD)


async def drifted(base: Path) -> None:
    """An editor replaced a link by a file, a link is gone, and one points elsewhere."""
    await write(base, OLD | {"name": b"name"})
    folder = base / ADDRESS
    for key in OLD | {"name": b""}:
        (folder / key).unlink()
    (folder / "port").write_bytes(b"old port")
    (folder / "host").symlink_to("..data/./host")


async def beside_a_stranger(base: Path) -> None:
    await write(base, OLD)
    (base / ADDRESS / "notes").write_bytes(b"mine")
    (base / "shop" / "other").mkdir()


async def create(sink: FileSink, seen: ObservedSecret | None) -> object:
    return await sink.put(secret(NEW), Absent() if seen is None else Unchanged(seen.version))


async def remove(sink: FileSink, seen: ObservedSecret | None) -> object:
    assert seen is not None
    return await sink.remove(seen)


SCENARIOS = {
    "first write": Scenario(no_base, create, {}, NEW),
    "create": Scenario(nothing, create, {}, NEW),
    "update": Scenario(ours, create, OLD, NEW),
    "repair": Scenario(drifted, create, OLD, NEW),
    "update beside a stranger": Scenario(beside_a_stranger, create, OLD, NEW, ["notes"]),
    "remove": Scenario(ours, remove, OLD, {}),
    "remove beside a stranger": Scenario(beside_a_stranger, remove, OLD, {}, ["notes"]),
}
scenarios = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))


def shown(base: Path, scenario: Scenario) -> dict[str, bytes]:
    found = readable(base)
    for name in scenario.strangers:
        assert found.pop(name) == b"mine"
    return found


class Steps:
    """Counts changes to the disk, and does something before one of them."""

    def __init__(self, at: int | None = None, then: Callable[[], None] | None = None) -> None:
        self.names: list[str] = []
        self.at, self.then = at, then

    def __call__(self, name: str) -> None:
        self.names.append(name)
        if self.then is not None and self.at in (None, len(self.names) - 1):
            self.then()


def kill() -> None:
    raise Killed


def no_space() -> None:
    raise OSError(errno.ENOSPC, "no space")


async def steps_of(scenario: Scenario, base: Path, then: Callable[[], None] | None = None) -> list[str]:
    await scenario.before(base)
    steps = Steps(then=then)
    await scenario.act(sink_at(base, steps), await observe(base))
    return steps.names


@scenarios
async def test_at_every_moment_a_reader_sees_the_old_set_or_the_new_one(
    scenario: Scenario, tmp_path: Path
) -> None:
    base, seen = tmp_path / "out", []
    await steps_of(scenario, base, lambda: seen.append(shown(base, scenario)))
    if scenario is not SCENARIOS["repair"]:
        changes = [now for before, now in zip([None, *seen], seen, strict=False) if now != before]
        assert changes in ([scenario.old], [scenario.old, scenario.new])
    assert shown(base, scenario) == scenario.new


@scenarios
@pytest.mark.parametrize("afterwards", ["put", "remove"])
async def test_a_killed_change_is_found_and_finished(
    scenario: Scenario, afterwards: str, tmp_path: Path
) -> None:
    # Files that a person put in the place of links stay, so there the end depends on the cut.
    one_end = (scenario, afterwards) != (SCENARIOS["repair"], "remove")
    count = len(await steps_of(scenario, tmp_path / "whole"))
    await scenario.before(tmp_path / "model")
    await write(tmp_path / "model", NEW)
    if afterwards == "remove":
        await remove(sink_at(tmp_path / "model"), await observe(tmp_path / "model"))
    expected = tree(tmp_path / "model")
    for at in range(count):
        base = tmp_path / str(at)
        await scenario.before(base)
        seen = await observe(base)
        with pytest.raises(Killed):
            await scenario.act(sink_at(base, Steps(at, kill)), seen)
        await check_cut(scenario, base)
        if only_strangers_are_left(base, await observe(base)):
            continue
        await finish(base, afterwards, seen)
        assert tree(base) == expected or not one_end, f"cut before step {at}"


async def check_cut(scenario: Scenario, base: Path) -> None:
    if scenario is not SCENARIOS["repair"]:
        assert shown(base, scenario) in (scenario.old, scenario.new)
    contents = [path.read_bytes() for path in base.rglob("*") if path.is_file() and path.name in OLD | NEW]
    if contents:
        assert await inventory(base) == [ADDRESS], "bytes of ours are on the disk and nobody lists them"
    seen = await observe(base)
    assert seen is None or seen.ours or not contents
    if seen is not None and seen.intact:
        folder = base / ADDRESS
        live = str((folder / "..data").readlink())
        assert set(names(folder)) == {"..data", live, *scenario.strangers, *(seen.data or {})}


def only_strangers_are_left(base: Path, seen: ObservedSecret | None) -> bool:
    """Whether a removal beside somebody's file got so far that the folder is theirs again.

    An empty folder of ours may have stayed; there is nobody it could be shown to belong to.
    """
    if seen is None or seen.ours:
        return False
    files = [
        path.name
        for path in (base / ADDRESS).rglob("*")
        if not path.is_dir() and not path.name.startswith("..")
    ]
    assert files == ["notes"]
    return True


async def finish(base: Path, afterwards: str, before: ObservedSecret | None) -> None:
    seen = await observe(base)
    assert seen is None or seen.ours
    if afterwards == "put":
        await write(base, NEW)
        finished = await observe(base)
        assert finished is not None
        assert finished.intact
    else:
        # What is absent already leaves empty folders at most; a repeated call takes them along.
        await sink_at(base).remove(seen or before or await made_and_observed(base))


async def made_and_observed(base: Path) -> ObservedSecret:
    await write(base, NEW)
    seen = await observe(base)
    assert seen is not None
    return seen


@scenarios
async def test_a_full_disk_is_unavailable_and_leaves_nothing_half_done(
    scenario: Scenario, tmp_path: Path
) -> None:
    count = len(await steps_of(scenario, tmp_path / "model"))
    for at in range(count):
        base = tmp_path / str(at)
        await scenario.before(base)
        seen, before = await observe(base), tree(base)
        steps = Steps(at, no_space)
        with pytest.raises(SinkUnavailable, match="No space left on device") as caught:
            await scenario.act(sink_at(base, steps), seen)
        assert caught.value.__suppress_context__
        if shown(base, scenario) == scenario.old and scenario.act is create:
            assert tree(base) == before, steps.names
        if not only_strangers_are_left(base, await observe(base)):
            await finish(base, "put", seen)
            assert shown(base, scenario) == NEW


def files(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "port").write_bytes(b"theirs")
    (folder / "notes").write_bytes(b"mine")


def kubelets(folder: Path) -> None:
    (folder / "..2026").mkdir(parents=True)
    (folder / "..2026" / "port").write_bytes(b"theirs")
    (folder / "..data").symlink_to("..2026")
    (folder / "port").symlink_to("..data/port")


@pytest.mark.parametrize("foreign", [files, kubelets])
async def test_a_killed_takeover_can_be_asked_for_again(
    foreign: Callable[[Path], None], tmp_path: Path
) -> None:
    async def take(sink: FileSink, seen: ObservedSecret | None) -> object:
        assert seen is not None
        return await sink.put(
            secret(NEW), TakeOver(seen.version) if seen.foreign else Unchanged(seen.version)
        )

    steps = Steps()
    foreign(tmp_path / "model" / ADDRESS)
    await take(sink_at(tmp_path / "model", steps), await observe(tmp_path / "model"))
    for at, name in enumerate(steps.names):
        base = tmp_path / str(at)
        foreign(base / ADDRESS)
        with pytest.raises(Killed):
            await take(sink_at(base, Steps(at, kill)), await observe(base))
        assert readable(base)["port"] in (b"theirs", NEW["port"])
        await take(sink_at(base), await observe(base))
        assert tree(base) == tree(tmp_path / "model"), name


SCRIPT = """
import asyncio, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from backends.contract import Unchanged
from file_world import observe, secret, sink_at

def step(name):
    if name.startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

async def main(base):
    seen = await observe(base)
    await sink_at(base, step).put(secret({"port": b"new port", "user": b"new user"}), Unchanged(seen.version))

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.parametrize(
    ("step", "visible"),
    [("write user", OLD), ("swap ..data", OLD), ("unlink host", NEW), ("discard port", NEW)],
)
async def test_a_process_that_is_killed_leaves_no_lock_and_no_half_set(
    step: str, visible: dict[str, bytes], tmp_path: Path
) -> None:
    await write(tmp_path / "out", OLD)
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / "out"), step, here], check=False)
    assert done.returncode == -signal.SIGKILL
    assert readable(tmp_path / "out") == visible
    assert await inventory(tmp_path / "out") == [ADDRESS]
    await write(tmp_path / "out", NEW)
    await write(tmp_path / "model", NEW)
    assert tree(tmp_path / "out") == tree(tmp_path / "model")
