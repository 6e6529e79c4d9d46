"""external-secrets' own reconcilers, for the example of docs/push-secret.md: built once under a main of ours.

The program is `go-external-secrets/main.go`, which says what runs in it. All of external-secrets' providers and generators
are built in, since its reconcilers import every one of them, so the first build takes long. Its definitions alone are
just downloaded.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.servers import builds
from tests.servers.cache import build_key, build_once, progress
from tests.servers.kubernetes import KubeCluster
from tests.servers.processes import Child

_MODULE = Path(__file__).resolve().parent / "go-external-secrets"
_LISTS = (_MODULE / "go.mod", _MODULE / "go.sum")
_PACKAGE = "github.com/external-secrets/external-secrets"
_READY_SECONDS = 60
_KINDS = ("externalsecrets", "pushsecrets", "secretstores")
"""What the tests make, beside the generators' state that the reconcilers look for."""


def built() -> Path:
    """The executable."""
    sources = [_MODULE / "main.go", *_LISTS]
    return build_once(build_key("external-secrets", version(), sources), _build) / "controller"


def version() -> str:
    """The version that is built."""
    return builds._first(rf"{_PACKAGE} (v\S+)", _MODULE / "go.mod")


def definitions() -> list[dict[str, Any]]:
    """Its CustomResourceDefinitions, as published; those that are asked for here."""
    folder = build_once(build_key("external-secrets-crds", version(), _LISTS), _fetch_definitions)
    names = [f"external-secrets.io_{kind}.yaml" for kind in _KINDS]
    names.append("generators.external-secrets.io_generatorstates.yaml")
    return [yaml.load((folder / name).read_text(), yaml.CSafeLoader) for name in names]


@contextmanager
def running(cluster: KubeCluster, folder: Path) -> Iterator[Child]:
    """Its reconcilers, as an administrator of the cluster, which has the definitions."""
    environ = {"KUBECONFIG": str(cluster.kubeconfig()), "HOME": str(folder)}
    child = Child.start("external-secrets", [str(built())], folder, environ)
    try:
        for name in ("pushsecret", "secretstore"):
            child.wait_for_line(rf'"(Starting workers)","controller":"{name}"', _READY_SECONDS)
        yield child
    finally:
        child.stop()


def _build(folder: Path) -> None:
    go = builds._go()
    progress(f"building external-secrets {version()} once, about 10 minutes ...")
    command = [go, "build", "-trimpath", "-ldflags", "-s -w", "-o", str(folder / "controller"), "."]
    builds._run(command, cwd=_MODULE, env=builds._go_environment())


def _fetch_definitions(folder: Path) -> None:
    """Out of the module as Go downloads it, checked against go.sum."""
    command = [builds._go(), "mod", "download", "-json", _PACKAGE]
    told = subprocess.check_output(command, cwd=_MODULE, text=True, env=builds._go_environment())
    for path in Path(json.loads(told)["Dir"], "config", "crds", "bases").iterdir():
        shutil.copyfile(path, folder / path.name)  # NB: not its mode: Go keeps modules read-only
