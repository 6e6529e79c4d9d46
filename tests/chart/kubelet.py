"""Starts a container of what Helm installed as a kubelet would: its environment, volumes, token, user and root.

What the API server has is all that is looked at. The process has a mount namespace of its own, with a read-only
root in which little is but Python and the product; that takes root, or unprivileged user namespaces. Excludes
what no test here turns on: images, the network, probes, limits, and any other kind of volume (a KeyError).
"""

from __future__ import annotations

import base64
import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.faults.running import ROOT, Syncer
from tests.servers.kube_client import KubeClient
from tests.servers.kubernetes import KubeCluster
from tests.servers.processes import Child

Json = dict[str, Any]

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
CONFIG = "/etc/porter-outputs-syncer/syncer.yaml"
_IS_ROOT = os.geteuid() == 0
_SEPARATE = ["unshare", "--mount"] if _IS_ROOT else ["unshare", "--user", "--map-root-user", "--mount"]
_SYSTEM: tuple[str, ...] = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/dev", "/proc"),
    *("/etc/ld.so.cache", "/etc/passwd", "/etc/group", "/etc/hosts", "/etc/ssl", "/etc/localtime"),
)


def missing() -> str | None:
    """Why no pod can be started on this machine."""
    done = subprocess.run([*_SEPARATE, "true"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"no mount namespace of its own: {done.stderr.strip()}"


# --- volumes


def laid_out(
    folder: Path, content: Mapping[str, bytes], *, mode: int = 0o644, group: int | None = None
) -> None:
    """Files as a kubelet lays them out, old ones replaced all at once: `..data` leads to where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    real = folder / f"..{secrets.token_hex(6)}"
    for name, data in content.items():
        path = real / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)
        if group is not None and _IS_ROOT:
            os.chown(path, -1, group)
    real.mkdir(exist_ok=True)
    former = (folder / "..data").readlink() if (folder / "..data").is_symlink() else None
    (folder / "..data_tmp").symlink_to(real.name)
    (folder / "..data_tmp").replace(folder / "..data")
    for top in {name.partition("/")[0] for name in content}:
        if not (folder / top).is_symlink():
            (folder / top).symlink_to(f"..data/{top}")
    if former is not None:
        subprocess.run(["rm", "-r", str(folder / former)], check=True)


def content_of(client: KubeClient, namespace: str, source: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a `configMap`, a `secret` or a `projected` source of a volume, by path."""
    if "sources" in source:
        parts = [content_of(client, namespace, one) for one in map(_unwrapped, source["sources"])]
        return {path: data for part in parts for path, data in part.items()}
    name = source.get("secretName") or source["name"]
    kind = "Secret" if "secretName" in source or source.get("kind") == "Secret" else "ConfigMap"
    data = _data(client, kind, namespace, name)
    wanted = source.get("items") or [{"key": key, "path": key} for key in data]
    return {one["path"]: data[one["key"]] for one in wanted}


def _unwrapped(source: Mapping[str, Any]) -> Json:
    ((kind, settings),) = source.items()
    return {"kind": {"secret": "Secret", "configMap": "ConfigMap"}[kind], **settings}


def _data(client: KubeClient, kind: str, namespace: str, name: str) -> dict[str, bytes]:
    found = client.get("v1", kind, name, namespace)
    assert found is not None, f"the pod would wait for {kind} {namespace}/{name}"
    texts = found.get("data") or {}
    if kind == "ConfigMap":
        return {key: text.encode() for key, text in texts.items()}
    return {key: base64.b64decode(text) for key, text in texts.items()}


def environment(client: KubeClient, namespace: str, container: Mapping[str, Any]) -> dict[str, str]:
    """The variables of a container; `env` wins over `envFrom`."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        kind = {"secretRef": "Secret", "configMapRef": "ConfigMap"}
        ((name, reference),) = ((kind[one], source[one]) for one in kind if one in source)
        data = _data(client, name, namespace, reference["name"])
        found |= {f"{source.get('prefix', '')}{key}": value.decode() for key, value in data.items()}
    for one in container.get("env", ()):
        found[one["name"]] = _value(client, namespace, one)
    return found


def _value(client: KubeClient, namespace: str, variable: Mapping[str, Any]) -> str:
    if "valueFrom" not in variable:
        return str(variable.get("value", ""))
    reference = variable["valueFrom"]["secretKeyRef"]
    return _data(client, "Secret", namespace, reference["name"])[reference["key"]].decode()


# --- a pod


@dataclass(kw_only=True)
class Pod:
    """One pod: `spec` is what the API server has, or what Helm gave it. `start` begins its container `name`."""

    cluster: KubeCluster
    namespace: str
    spec: Json
    folder: Path
    name: str = "syncer"
    container: Json = field(init=False)

    @classmethod
    def of(cls, cluster: KubeCluster, namespace: str, deployment: str, folder: Path) -> Self:
        found = cluster.admin.get("apps/v1", "Deployment", deployment, namespace)
        assert found is not None
        spec = found["spec"]["template"]["spec"]
        return cls(cluster=cluster, namespace=namespace, spec=spec, folder=folder)

    def __post_init__(self) -> None:
        (self.container,) = (one for one in self.spec["containers"] if one["name"] == self.name)
        self.folder.mkdir(parents=True)
        self.refresh()

    def refresh(self) -> None:
        """What a kubelet does every minute: bring the volumes up to date."""
        for volume in self.spec["volumes"]:
            self._fill(self._place(volume), volume)
        if self.spec["automountServiceAccountToken"]:
            laid_out(self.folder / "volumes" / "..account", self._login())

    def start(self, *command: str) -> Syncer:
        """With its own arguments, or as `kubectl exec` starts another command of the syncer beside it."""
        ports = [one["containerPort"] for one in self.container.get("ports", ()) if one["name"] == "metrics"]
        script = self.folder / "start.sh"
        return Syncer(self.folder, script, ports[0] if ports else 0, self._begin(script, command), {})

    def run(self, *command: str) -> tuple[int, str]:
        """Exit status and output of a command that ends by itself."""
        child = self._begin(self.folder / f"{secrets.token_hex(4)}.sh", command)
        status = child.process.wait(60)
        return status, child.log.read_text()

    def _begin(self, script: Path, command: Sequence[str]) -> Child:
        root = self.folder / "root"
        root.mkdir(exist_ok=True)
        arguments = [*command, "--config", CONFIG] if command else self.container["args"]
        script.write_text("\n".join(self._script(root, arguments)) + "\n")
        separate = [f"/usr/bin/{_SEPARATE[0]}", *_SEPARATE[1:]]
        shell = [*separate, "sh", "-e", str(script)]
        return Child.start(script.stem, shell, self.folder, self._environment())

    def _environment(self) -> dict[str, str]:
        """NB: what the image sets, and what a kubelet adds; nothing of ours."""
        image = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent", "PYTHONWARNINGS": "error"}
        image |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        service = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.cluster.port)}
        return image | service | environment(self.cluster.admin, self.namespace, self.container)

    def _fill(self, folder: Path, volume: Mapping[str, Any]) -> None:
        kinds = {"configMap", "secret", "projected", "emptyDir", "persistentVolumeClaim"}
        (kind,) = (one for one in volume if one in kinds)
        if kind in {"emptyDir", "persistentVolumeClaim"}:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)
            return
        content = content_of(self.cluster.admin, self.namespace, volume[kind])
        mode = volume[kind].get("defaultMode", 0o644)
        laid_out(folder, content, mode=mode, group=self.spec["securityContext"]["fsGroup"])

    def _place(self, volume: Mapping[str, Any]) -> Path:
        """Where it is on this machine; what is claimed outlives the pod."""
        claimed = volume.get("persistentVolumeClaim")
        if claimed is not None:
            return self.folder.parent / "claimed" / claimed["claimName"]
        return self.folder / "volumes" / volume["name"]

    def _login(self) -> dict[str, bytes]:
        account = self.spec["serviceAccountName"]
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token"
        wanted = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 3607},
        }
        token = self.cluster.admin.request("POST", path, wanted)["status"]["token"]
        authority = self.cluster.ca_file.read_bytes()
        return {"token": token.encode(), "ca.crt": authority, "namespace": self.namespace.encode()}

    def _mounts(self) -> Iterator[tuple[Path, str, bool]]:
        """Volume, where it is, and whether it may be written to."""
        for mount in self.container["volumeMounts"]:
            (volume,) = (one for one in self.spec["volumes"] if one["name"] == mount["name"])
            yield self._place(volume), mount["mountPath"], not mount.get("readOnly", False)
        if self.spec["automountServiceAccountToken"]:
            yield self.folder / "volumes" / "..account", ACCOUNT, False

    def _script(self, root: Path, arguments: list[str]) -> Iterator[str]:
        assert self.container["securityContext"]["readOnlyRootFilesystem"] is True
        yield f"mount -t tmpfs -o mode=755 image {root}"
        # NB: not the whole repository, in which a folder may hide the Python from other users (tox's own).
        for path in (*_SYSTEM, *_python(), f"{ROOT}/syncer", f"{ROOT}/backends"):
            yield from _shown(Path(path), root)
        for volume, place, is_writable in self._mounts():
            there = shlex.quote(f"{root}{place}")
            yield f"mkdir -p {there} && mount --bind {shlex.quote(str(volume))} {there}"
            if not is_writable:
                yield f"mount -o remount,bind,ro {there}"
        yield f"mount -o remount,ro {root}"
        command = [*_as_user(self.spec["securityContext"]), sys.executable, "-m", "syncer", *arguments]
        yield f"exec chroot {root} {shlex.join(command)}"


def _python() -> Iterator[str]:
    """The folders of this Python, where the system's own do not have them."""
    for path in dict.fromkeys((sys.prefix, sys.base_prefix)):
        if not path.startswith("/usr"):
            yield path


def _shown(path: Path, root: Path) -> Iterator[str]:
    """Nothing where there is no such file; folders above are new, so that anybody may pass."""
    if path.is_symlink():
        yield f"ln -s {path.readlink()} {root}{path}"
    elif path.exists():
        made = f"mkdir -p {root}{path}"
        if not path.is_dir():
            made = f"mkdir -p {root}{path.parent} && touch {root}{path}"
        yield f"{made} && mount --rbind {path} {root}{path}"


def _as_user(context: Mapping[str, Any]) -> list[str]:
    """No right of anybody else's; where we are not root, as ourselves."""
    dropped = ["setpriv", "--no-new-privs", "--pdeathsig", "KILL"]
    if not _IS_ROOT:
        return dropped
    user = [
        f"--reuid={context['runAsUser']}",
        f"--regid={context['runAsGroup']}",
        f"--groups={context['fsGroup']}",
    ]
    return [*dropped, *user, "--bounding-set=-all", "--inh-caps=-all"]
