"""kubectl, for the commands that docs/ shows: built once from its Go module, of the API server's own version.

The machine's own, if it has one, is not looked at: it may be of any age, or not there.
"""

from __future__ import annotations

from pathlib import Path

from tests.servers import builds
from tests.servers.cache import build_key, build_once, progress

_MODULE = Path(__file__).resolve().parent / "go-kubectl"


def kubectl() -> Path:
    """The kubectl executable."""
    sources = [_MODULE / name for name in ("go.mod", "go.sum", "main.go")]
    return build_once(build_key("kubectl", _version(), sources), _build) / "kubectl"


def _build(folder: Path) -> None:
    go = builds._go()
    progress(f"building kubectl {_version()} once, about 2 minutes ...")
    flags = f"-s -w -X k8s.io/component-base/version.gitVersion={_version()}"
    command = [go, "build", "-trimpath", "-ldflags", flags, "-o", str(folder / "kubectl"), "."]
    builds._run(command, cwd=_MODULE, env=builds._go_environment())


def _version() -> str:
    """Kubernetes 1.x has its modules at 0.x."""
    return "v1" + builds._first(r"k8s\.io/kubectl v0(\.\S+)", _MODULE / "go.mod")
