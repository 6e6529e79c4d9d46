"""Helm, the program that installs charts: built once from its Go modules, run in a home of its own.

Two majors: the current one, and the one before. Nothing of the machine's own Helm, its repositories or its
kubeconfig is looked at.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.servers import builds
from tests.servers.cache import build_key, build_once, progress

_MODULE = Path(__file__).resolve().parent / "go-helm"
_SECONDS = 60


class HelmFailedError(Exception):
    """Helm refused; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Helm:
    """One program. `home` is where it may keep what it likes; `kubeconfig` the cluster it talks to, if any."""

    program: Path
    home: Path
    kubeconfig: Path | None = None

    def run(self, *arguments: str | Path) -> str:
        """What it prints. Raises HelmFailedError with what it complains about."""
        environ = {"HOME": str(self.home), "HELM_NO_PLUGINS": "1"}
        if self.kubeconfig is not None:
            environ["KUBECONFIG"] = str(self.kubeconfig)
        command = [str(self.program), *map(str, arguments)]
        done = subprocess.run(
            command,
            env=environ,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        if done.returncode:
            raise HelmFailedError(done.stderr + done.stdout)
        return done.stdout

    def json(self, *arguments: str | Path) -> Any:
        """What it prints with `--output json`."""
        return json.loads(self.run(*arguments, "--output", "json"))


def helm(major: int = 4) -> Path:
    """The helm executable of this major version."""
    module = f"helm.sh/helm/v{major}"
    version = _version(module)
    sources = [_MODULE / "go.mod", _MODULE / "go.sum"]
    build = partial(_build, module, version)
    return build_once(build_key(f"helm{major}", version, sources), build) / "helm"


def _build(module: str, version: str, folder: Path) -> None:
    go = builds._go()
    progress(f"building helm {version} once, about 2 minutes ...")
    flags = f"-s -w -X {module}/internal/version.version={version}"
    package = f"{module}/cmd/helm"
    command = [go, "build", "-trimpath", "-ldflags", flags, "-o", str(folder / "helm"), package]
    builds._run(command, cwd=_MODULE, env=builds._go_environment())


def _version(module: str) -> str:
    found = re.search(rf"^\s+{re.escape(module)} (v\S+)", (_MODULE / "go.mod").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]
