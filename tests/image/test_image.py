"""The image, built from the Dockerfile on a base made by debootstrap, and started as a cluster would start it.

Containers get a read-only root, no capability, no network and the image's own user; what they may write is the folder
of a sink, and for the controller's lock file a /tmp. The base is Debian's Python, not the Dockerfile's default, which is in a registry. Left out: the chart,
which has tests of its own, and a `docker compose` that reads the example, of which podman is told the same.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncer import __version__
from tests.image.podman import CONFINED, Podman
from tests.image.project import ROOT, locked
from tests.servers.cache import MissingPrerequisiteError
from tests.servers.lacking import give_up

pytestmark = pytest.mark.timeout(1200)  # the first one waits for the base and the image

HOME = "/opt/porter-outputs-syncer"
CONFIGURATION = "/etc/porter-outputs-syncer/syncer.yaml"
WRITTEN = {"prod/api", "shop/Odd_Clean.Install", "shop/orders-db", "staging/too-big"}

# Runs inside: what can be imported, and from where.
INSIDE = """
import importlib.metadata, json, os, pathlib, sys
environment = pathlib.Path(sys.prefix)
sources = [path for path in environment.rglob("*.py") if "site-packages" in path.parts]
UNCHECKED = (1).to_bytes(4, "little")  # the flags of bytecode that never looks at its source
def compiled(path):
    found = list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))
    return found and all(one.read_bytes()[4:8] == UNCHECKED for one in found)
print(json.dumps({
    "user": [os.getuid(), os.getgid()],
    "path": sys.path,
    "distributions": {one.name: one.version for one in importlib.metadata.distributions()},
    "sources": len(sources),
    "uncompiled": [str(path) for path in sources if not compiled(path)],
    "writable": [str(path) for path in environment.rglob("*") if path.stat().st_uid or path.stat().st_mode & 0o022],
}))
"""


@dataclass(frozen=True, slots=True)
class Image:
    """The image, and a podman to start it with."""

    podman: Podman
    name: str

    def started(self, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return self.podman.run("run", "--rm", *CONFINED, *options, self.name, *arguments, check=False)


@dataclass(frozen=True, slots=True)
class Quickstart:
    """A copy of the quickstart, laid out as examples/compose.yaml says; only `out` is the image's user's."""

    service: dict[str, Any]
    folder: Path

    @property
    def options(self) -> tuple[str, ...]:
        binds = [one.replace("./quickstart", str(self.folder)) for one in self.service["volumes"]]
        return (f"--user={self.service['user']}", *(f"--volume={one}" for one in binds))

    @property
    def scratch(self) -> tuple[str, ...]:
        return tuple(f"--tmpfs={one}" for one in self.service["tmpfs"])

    def written(self) -> set[str]:
        """The secrets, each a folder of the sink."""
        out = self.folder / "out"
        return {str(mark.parent.parent.relative_to(out)) for mark in out.glob("*/*/..data/..syncer.json")}


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    try:
        with Podman.opened() as podman:
            yield Image(podman, podman.build())
    except MissingPrerequisiteError as error:
        give_up(str(error))


@pytest.fixture
def quickstart(tmp_path: Path) -> Quickstart:
    service = yaml.safe_load((ROOT / "examples/compose.yaml").read_text())["services"]["syncer"]
    folder = tmp_path / "quickstart"
    shutil.copytree(ROOT / "examples/quickstart", folder, ignore=shutil.ignore_patterns("out"))
    (folder / "out").mkdir()
    os.chown(folder / "out", 65532, 65532)
    return Quickstart(service, folder)


def test_it_starts_and_says_its_version(image):
    answer = image.started("version")

    assert (answer.returncode, answer.stdout, answer.stderr) == (0, f"{__version__}\n", "")


def test_it_says_what_it_is_and_how_it_is_started(image):
    said = image.podman.inspect(image.name)["Config"]
    prefix = "org.opencontainers.image."
    labels = {
        key.removeprefix(prefix): value for key, value in said["Labels"].items() if key.startswith(prefix)
    }

    assert said["User"] == "65532:65532"
    assert said["Entrypoint"] == [f"{HOME}/bin/syncer"]
    assert said["Cmd"] == ["run", "-c", CONFIGURATION]
    assert said["WorkingDir"] == "/"
    assert labels["version"] == __version__
    assert labels["revision"] == "0123abc"
    assert labels["licenses"] == "Apache-2.0"
    assert labels.keys() >= {"title", "description"}


def test_a_pass_writes_to_the_sink_with_the_root_read_only(image, quickstart):
    answer = image.started("once", "-c", CONFIGURATION, options=quickstart.options)

    assert answer.returncode == 0, answer.stderr
    assert quickstart.written() == WRITTEN
    owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in (quickstart.folder / "out").rglob("*")}
    assert owners == {(65532, 65532)}


def test_a_pass_that_may_not_write_to_the_sink_says_so(image, quickstart):
    (quickstart.folder / "out").chmod(0o500)
    os.chown(quickstart.folder / "out", 0, 0)

    answer = image.started("once", "-c", CONFIGURATION, options=quickstart.options)

    assert answer.returncode == 1
    assert quickstart.written() == set()


def test_it_holds_what_is_locked_and_the_product_and_no_pip(image):
    inside = _inside(image)

    canonical = {
        re.sub(r"[-_.]+", "-", name).lower(): version for name, version in inside["distributions"].items()
    }
    assert canonical == locked() | {"porter-outputs-syncer": __version__}


def test_it_imports_from_its_environment_and_the_interpreter_only(image):
    inside = _inside(image)

    assert inside["user"] == [65532, 65532]
    assert [one for one in inside["path"] if "packages" in one] == [
        one for one in inside["path"] if one.startswith(f"{HOME}/lib/")
    ]
    assert "" not in inside["path"]


def test_its_code_is_compiled_and_not_its_user_s(image):
    inside = _inside(image)

    assert inside["sources"] > 1000
    assert not inside["uncompiled"]
    assert inside["writable"] == []


def test_the_controller_runs_as_composed_becomes_healthy_and_ends_with_0_when_told(image, quickstart):
    podman, service = image.podman, quickstart.service
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    kind, *probe = service["healthcheck"]["test"]
    assert kind == "CMD"

    # NB: no arguments, so that what starts is the image's own CMD.
    running = podman.run(
        "run", "--detach", *CONFINED, *quickstart.scratch, *quickstart.options, image.name
    ).stdout.strip()
    _until(lambda: podman.run("exec", running, *probe, check=False).returncode == 0)
    _until(lambda: quickstart.written() == WRITTEN)
    podman.run("kill", "--signal=TERM", running)

    assert podman.run("wait", running).stdout.strip() == "0", podman.run("logs", running).stderr


def test_a_controller_without_a_place_for_its_lock_file_says_which_it_wants(image, quickstart):
    answer = image.started(options=quickstart.options)

    assert answer.returncode == 1
    assert "the lock file '/tmp/porter-outputs-syncer-65532-quickstart.lock': Read-only" in answer.stderr
    assert quickstart.written() == set()


def _inside(image: Image) -> dict[str, Any]:
    answer = image.started("-P", "-c", INSIDE, options=(f"--entrypoint={HOME}/bin/python",))
    assert answer.returncode == 0, answer.stderr
    document: dict[str, Any] = json.loads(answer.stdout)
    return document


def _until(holds, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not come to hold in time"
        time.sleep(0.2)
