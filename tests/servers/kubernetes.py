"""A real Kubernetes API: etcd and kube-apiserver, with TLS, users, RBAC and an audit log.

There is no controller manager, scheduler or kubelet: no garbage collection, no service account tokens
made by themselves, a deleted namespace is never emptied, and no pod ever runs.
"""

from __future__ import annotations

import json
import secrets
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Self

from tests.servers import builds
from tests.servers.audit import POLICY, AuditLog
from tests.servers.kube_client import KubeClient, KubeError, Manifest
from tests.servers.processes import Child, ServerFailedError, free_port

ADMIN = "admin"
USERS = ("syncer", "reader", "nobody")
"""Users without any right until a test grants one."""

_READY_SECONDS = 60


@dataclass
class KubeCluster:
    """One running cluster; `start` makes it, `stop` ends it and forgets its data."""

    folder: Path
    etcd_url: str
    port: int
    tokens: Mapping[str, str]
    with_audit: bool
    _scratch: tempfile.TemporaryDirectory[str] = field(repr=False)
    _etcd: Child = field(repr=False)
    _apiserver: Child | None = field(default=None, repr=False)

    @classmethod
    def start(cls, *, audit: bool = True, users: Sequence[str] = USERS) -> Self:
        """Builds what is not built yet, starts both servers and waits until they are ready (about 3 s)."""
        programs = (builds.etcd(), builds.kube_apiserver())
        scratch = tempfile.TemporaryDirectory(prefix="kube-cluster-")
        with ExitStack() as undo:
            undo.callback(scratch.cleanup)
            folder = Path(scratch.name)
            etcd, etcd_url = _start_etcd(programs[0], folder)
            undo.callback(etcd.stop, grace=0)
            tokens = {name: secrets.token_urlsafe(24) for name in (ADMIN, *users)}
            _write_files(folder, tokens)
            cluster = cls(folder, etcd_url, free_port(), tokens, audit, scratch, etcd)
            undo.callback(cluster.stop_apiserver)
            cluster.start_apiserver()
            undo.pop_all()
        return cluster

    @property
    def url(self) -> str:
        """The API server's address, the same after a restart."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> Path:
        """PEM of the certificate authority that signed the server's certificate."""
        return self.folder / "certificates" / "apiserver.crt"

    @cached_property
    def admin(self) -> KubeClient:
        """The cluster's administrator."""
        return self.client(ADMIN)

    @property
    def audit(self) -> AuditLog:
        """What was asked of the API server; empty when started with `audit=False`."""
        return AuditLog(self.folder / "audit.log")

    def client(self, user: str) -> KubeClient:
        """A blocking client that acts as this user."""
        return KubeClient(self.url, self.ca_file, self.tokens[user])

    def kubeconfig(self, user: str = ADMIN, namespace: str = "default") -> Path:
        """A kubeconfig file (JSON, which is YAML) for this user."""
        cluster = {"server": self.url, "certificate-authority": str(self.ca_file)}
        context = {"cluster": "test", "user": user, "namespace": namespace}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self.tokens[user]}}],
            "contexts": [{"name": "test", "context": context}],
            "current-context": "test",
        }
        path = self.folder / f"{user}-{namespace}.kubeconfig"
        path.write_text(json.dumps(config, indent=2))
        return path

    def grant(self, user: str, rules: Sequence[Mapping[str, object]], namespace: str | None = None) -> str:
        """Gives the user the rights of RBAC rules, in one namespace or everywhere; returns the role's name."""
        kind, name = ("Role" if namespace else "ClusterRole"), f"test-{secrets.token_hex(4)}"
        group = "rbac.authorization.k8s.io"
        metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
        common = {"apiVersion": f"{group}/v1", "metadata": metadata}
        subject = {"kind": "User", "name": user, "apiGroup": group}
        role = {"kind": kind, "name": name, "apiGroup": group}
        self.admin.apply({**common, "kind": kind, "rules": list(rules)})
        self.admin.apply({**common, "kind": f"{kind}Binding", "subjects": [subject], "roleRef": role})
        return name

    def revoke(self, role: str, namespace: str | None = None) -> None:
        """Takes back what `grant` gave."""
        for kind in ("RoleBinding", "Role") if namespace else ("ClusterRoleBinding", "ClusterRole"):
            self.admin.delete("rbac.authorization.k8s.io/v1", kind, role, namespace)

    def install(self, definition: Manifest) -> None:
        """Applies a CustomResourceDefinition and returns once its first version is served."""
        self.admin.apply(definition)
        spec = definition["spec"]
        probe = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
        self._running.wait_until(lambda: self._serves(probe), _READY_SECONDS)

    def start_apiserver(self) -> None:
        """Starts the API server over the data that is there; for tests that stopped it."""
        command = [str(builds.kube_apiserver()), *_apiserver_flags(self)]
        self._apiserver = Child.start("kube-apiserver", command, self.folder)
        self._apiserver.wait_until(self._is_ready, _READY_SECONDS)

    def stop_apiserver(self, grace: float = 0) -> None:
        """Ends the API server, at once by default: connections break, nothing listens any more."""
        if self._apiserver is not None:
            self._apiserver.stop(grace)
            self._apiserver = None

    def restart_apiserver(self) -> None:
        """Breaks every connection and comes back with the same data (about 2 s)."""
        self.stop_apiserver()
        self.start_apiserver()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside the block the API server accepts connections and answers nothing."""
        with self._running.paused():
            yield

    def log_tail(self) -> str:
        """The last lines of the API server's log."""
        return "" if self._apiserver is None else self._apiserver.log_tail()

    def stop(self) -> None:
        """Ends both servers and removes their data."""
        self.stop_apiserver()
        self._etcd.stop(grace=0)
        self._scratch.cleanup()

    @property
    def _running(self) -> Child:
        assert self._apiserver is not None, "the API server is stopped"
        return self._apiserver

    def _is_ready(self) -> bool:
        return self._serves("/readyz") and self._serves("/api/v1/namespaces/default")

    def _serves(self, path: str) -> bool:
        try:
            self.admin.request("GET", path)
        except (OSError, KubeError):
            return False
        return True


def _start_etcd(program: Path, folder: Path, attempts: int = 3) -> tuple[Child, str]:
    """The running etcd and its address; tries again when another process was quicker to take its ports."""
    url, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    flags = [f"--listen-client-urls={url}", f"--advertise-client-urls={url}", f"--listen-peer-urls={peer}"]
    peers = [f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"]
    command = [str(program), "--data-dir=etcd", "--unsafe-no-fsync", "--log-level=warn", *flags, *peers]
    child = Child.start("etcd", command, folder)
    try:
        child.wait_until(partial(_answers, f"{url}/health"), _READY_SECONDS)
    except ServerFailedError:
        child.stop(grace=0)
        if attempts == 1:
            raise
        return _start_etcd(program, folder, attempts - 1)
    return child, url


def _write_files(folder: Path, tokens: Mapping[str, str]) -> None:
    lines = [f"{token},{name},{name}" for name, token in tokens.items() if name != ADMIN]
    lines.append(f'{tokens[ADMIN]},{ADMIN},{ADMIN},"system:masters"')
    (folder / "tokens.csv").write_text("\n".join(lines) + "\n")
    (folder / "audit-policy.json").write_text(json.dumps(POLICY))


def _apiserver_flags(cluster: KubeCluster) -> list[str]:
    # The server makes certificates/apiserver.key itself; it serves as the service accounts' key as well.
    key = cluster.folder / "certificates" / "apiserver.key"
    flags = [
        f"--etcd-servers={cluster.etcd_url}",
        "--bind-address=127.0.0.1",
        f"--secure-port={cluster.port}",
        f"--cert-dir={key.parent}",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--token-auth-file=tokens.csv",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--disable-admission-plugins=ServiceAccount",
    ]
    audit = [
        "--audit-policy-file=audit-policy.json",
        "--audit-log-path=audit.log",
        "--audit-log-maxsize=10000",
    ]
    return flags + (audit if cluster.with_audit else [])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except OSError:
        return False
