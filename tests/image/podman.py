"""podman, for tests: a base image made by debootstrap, the product's image built on it, containers that are started.

Everything podman keeps is in a folder of its own, removed at the end; the base is made once, into the cache of the
servers. A base from Debian stands in for the Dockerfile's default, which is in a registry: what differs is Python's
version, and where it is installed. Its certificates are this machine's, as a company's own base would have them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.image.project import ROOT
from tests.servers.cache import MissingPrerequisiteError, build_key, build_once, progress

PACKAGES = ("podman", "runc", "debootstrap")
_RELEASE = "bookworm"  # as the Dockerfile's own base
_IN_THE_BASE = "python3,python3-venv,ca-certificates"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")

# What the chart and examples/compose.yaml ask for, and no network. The limits are low ones, because podman asks for
# more than a machine may have to give.
CONFINED = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--network=none",
    "--ulimit=nofile=1024:1024",
    "--ulimit=nproc=1024:1024",
)


@dataclass(frozen=True, slots=True)
class Podman:
    """A podman with images and containers of its own."""

    folder: Path

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator[Self]:
        """Raises MissingPrerequisiteError where an image cannot be built."""
        _provide()
        folder = Path(tempfile.mkdtemp(prefix="podman-"))  # its sockets want a short path
        podman = cls(folder)
        try:
            yield podman
        finally:
            podman.run("rm", "--force", "--all", check=False)
            subprocess.run(["umount", folder / "store/overlay"], check=False, capture_output=True)
            shutil.rmtree(folder, ignore_errors=True)

    def build(self) -> str:
        """The name of the image that the Dockerfile describes."""
        image = "localhost/porter-outputs-syncer"
        pip = self.folder / "pip.conf"
        pip.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in _pip_settings().items()))
        progress("building the image (2 minutes)")
        self.run(
            *("build", "--quiet", "--isolation=chroot", "--network=host", "--layers=false"),
            *("--secret", f"id=pip,src={pip}", "--build-arg", f"BASE_IMAGE={self._base()}"),
            *("--build-arg", "REVISION=0123abc", "--tag", image, str(ROOT)),
        )
        return image

    def inspect(self, image: str) -> dict[str, Any]:
        """What the image says of itself."""
        document: dict[str, Any] = json.loads(self.run("image", "inspect", image).stdout)[0]
        return document

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command of podman; with `check`, one that fails raises AssertionError with what it printed."""
        command = [
            *("podman", f"--root={self.folder / 'store'}", f"--runroot={self.folder / 'run'}"),
            *("--cgroup-manager=cgroupfs", "--runtime=runc", *arguments),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise AssertionError(
                f"{' '.join(arguments)}: status {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def _base(self) -> str:
        archive = build_once(build_key("image-base", _RELEASE, [_CERTIFICATES], _IN_THE_BASE), _make_base)
        self.run("import", "--quiet", str(archive / "base.tar"), "localhost/base")
        return "localhost/base"


def _provide() -> None:
    lacking = [name for name in PACKAGES if shutil.which(name) is None]
    if os.geteuid():
        raise MissingPrerequisiteError("an image is built by root only; run `tox -e image` as root")
    if lacking and os.environ.get("CI") and shutil.which("apt-get"):  # noqa: TID251 - the rig has no configuration
        progress(f"installing {', '.join(lacking)}")
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
            subprocess.run(["apt-get", "-q", *arguments], check=True, stdout=subprocess.DEVNULL)
    elif lacking:
        raise MissingPrerequisiteError(f"apt-get install -y --no-install-recommends {' '.join(PACKAGES)}")


def _make_base(target: Path) -> None:
    progress("making a base image with debootstrap (3 minutes)")
    tree = target / "tree"
    command = ["debootstrap", "--variant=minbase", f"--include={_IN_THE_BASE}", _RELEASE, str(tree)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    shutil.copyfile(_CERTIFICATES, tree / _CERTIFICATES.relative_to("/"))
    subprocess.run(["tar", "-C", tree, "-cf", target / "base.tar", "."], check=True)
    shutil.rmtree(tree)


def _pip_settings() -> dict[str, str]:
    """What this machine's pip is told about where packages come from."""
    found = {}
    for key in _PIP_SETTINGS:
        for section in (":env:", "global"):
            answer = _pip("config", "get", f"{section}.{key}")
            if answer.returncode == 0:
                found[key] = answer.stdout.strip()
                break
    return found


def _pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    command: Sequence[str] = [sys.executable, "-m", "pip", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
