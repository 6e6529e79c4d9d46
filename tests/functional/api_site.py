"""A `syncer api` in a process of its own, over TLS, and callers that a real Kubernetes knows.

Callers are service accounts with tokens from TokenRequest; what they may is RBAC's to say. Excludes what a
test puts into Porter's database.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.faults.running import ROOT, Syncer
from tests.servers.kubernetes import KubeCluster
from tests.servers.mongodb import MongoServer
from tests.servers.processes import Child, free_port

AUDIENCE = "porter-outputs-syncer"
QUICKSTART = ROOT / "examples" / "quickstart"
PROTOS = ROOT / "proto"
OURS = "porter.outputs.v1alpha1.PorterBundle"
PORTERS = "porter.v1alpha1.Porter"
SERVER = "syncer"
"""The user of the cluster that `syncer api` itself is: it may ask for reviews, and nothing else."""

_GROUP = "outputs.porter.sh"
_REVIEWS = [
    {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
    {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
]
_SECONDS = 20.0

Rules = Sequence[tuple[str, str]]
"""Verb and resource, such as `("get", "installations/outputs")`."""

LISTS: Rules = (("list", "installations"),)
RUNS: Rules = (("get", "installations"),)
OUTPUTS: Rules = (("get", "installations/outputs"),)
SENSITIVE: Rules = (("get", "installations/sensitiveoutputs"),)


@dataclass(frozen=True, kw_only=True)
class Told:
    """How a call ended: everything that a client can see of it."""

    code: grpc.StatusCode
    details: str = ""
    trailers: tuple[tuple[str, str | bytes], ...] = ()
    answer: Any = None


@dataclass(kw_only=True)
class ApiSite:
    """Start it as a context manager. Porter's namespace `shop` has its rights in `<prefix>-shop`."""

    cluster: KubeCluster
    folder: Path
    source: Mapping[str, object]
    spaces: Sequence[str] = ("", "shop", "prod", "staging")
    api: Mapping[str, object] = field(default_factory=dict)
    """Settings of `api` that replace the usual ones."""
    prefix: str = field(default_factory=lambda: f"api-{secrets.token_hex(4)}")
    authority: trustme.CA = field(default_factory=trustme.CA)
    port: int = field(default_factory=free_port)
    syncer: Syncer = field(init=False, repr=False)

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.crt"

    @contextmanager
    def running(self, *, level: str = "debug") -> Iterator[ApiSite]:
        self.authority.cert_pem.write_to_path(self.ca_file)
        certificate = self.authority.issue_cert("localhost", "127.0.0.1")
        (self.folder / "tls.crt").write_bytes(b"".join(one.bytes() for one in certificate.cert_chain_pems))
        certificate.private_key_pem.write_to_path(self.folder / "tls.key")
        for space in {*map(self.space, self.spaces), self.prefix}:
            self.cluster.admin.create_namespace(space)
        role = self.cluster.grant(SERVER, _REVIEWS)
        self.syncer = self._start(level)
        try:
            self.syncer.until(lambda: self.syncer.logged("serving the API"))
            yield self
        finally:
            self.syncer.stop()
            self.cluster.revoke(role)

    def document(self) -> dict[str, Any]:
        tls = {"certificate": str(self.folder / "tls.crt"), "key": str(self.folder / "tls.key")}
        access = {"kind": "kubernetes", "kubeconfig": str(self.cluster.kubeconfig(SERVER))}
        usual = {
            "listen": f"127.0.0.1:{self.port}",
            "tls": tls,
            "access": access,
            "porterService": {"sensitive": True},
        }
        return {
            "instance": "api",
            "namespaces": {space: self.space(space) for space in self.spaces},
            "source": dict(self.source),
            "sinks": [{"name": "files", "kind": "file", "path": str(self.folder / "out")}],
            "rules": [{"name": "all", "targets": [{"sink": "files", "path": "{namespace}/{installation}"}]}],
            "api": {**usual, **self.api},
        }

    def space(self, namespace: str) -> str:
        """The namespace of Kubernetes for one of Porter's."""
        return f"{self.prefix}-{namespace.lower() or 'global'}"

    def _start(self, level: str) -> Syncer:
        own = Path(tempfile.mkdtemp(prefix="api-", dir=self.folder))
        pages = free_port()
        config = own / "syncer.yaml"
        telemetry = {"telemetry": {"listen": f"127.0.0.1:{pages}"}}
        config.write_text(json.dumps({**telemetry, **self.document()}))
        command = [sys.executable, "-m", "syncer", "api", "--log-level", level, "-c", str(config)]
        ours = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
        variables = {**os.environ, **ours}  # noqa: TID251  # a child's
        child = Child.start("syncer-api", command, own, environ=variables)
        return Syncer(own, config, pages, child, variables)

    # --- callers

    def account(
        self,
        name: str,
        rules: Rules = (),
        *,
        spaces: Sequence[str | None] = (None,),
        names: Sequence[str] = (),
    ) -> str:
        """A service account with these rights in Porter's namespaces, None for all; a token for us.

        `names`: of these installations only; empty for any.
        """
        self.cluster.admin.apply(
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": name, "namespace": self.prefix},
            }
        )
        only = {"resourceNames": list(names)} if names else {}
        wanted = [
            {"apiGroups": [_GROUP], "resources": [what], "verbs": [verb], **only} for verb, what in rules
        ]
        for space in spaces if rules else ():
            where = None if space is None else self.space(space)
            self.cluster.grant(self.user(name), wanted, where)
        return self.token(name)

    def user(self, name: str) -> str:
        return f"system:serviceaccount:{self.prefix}:{name}"

    def token(self, name: str, audience: str = AUDIENCE) -> str:
        path = f"/api/v1/namespaces/{self.prefix}/serviceaccounts/{name}/token"
        spec = {"audiences": [audience], "expirationSeconds": 3600}
        wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        token: str = self.cluster.admin.request("POST", path, wanted)["status"]["token"]
        return token

    def expired(self, token: str) -> str:
        """What this token will be in an hour: signed by the cluster, and over."""
        header, claims, _ = token.split(".")
        content = json.loads(base64.urlsafe_b64decode(claims + "=="))
        content |= {name: int(time.time()) - ago for name, ago in (("exp", 60), ("iat", 3660), ("nbf", 3660))}
        claims = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
        return self._signed(f"{header}.{claims}")

    def resigned(self, token: str) -> str:
        """The same token, signed anew: shows that a signature of `expired` is good."""
        return self._signed(token.rpartition(".")[0])

    def _signed(self, content: str) -> str:
        pem = (self.cluster.folder / "certificates" / "apiserver.key").read_bytes()
        key = serialization.load_pem_private_key(pem, None)
        assert isinstance(key, rsa.RSAPrivateKey)
        signature = key.sign(content.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{content}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"

    # --- calls

    @contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        """A connection of its own."""
        credentials = grpc.ssl_channel_credentials(self.authority.cert_pem.bytes())
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        with grpc.secure_channel(self.address, credentials, options) as channel:
            yield channel


@contextmanager
def quickstart_served(
    cluster: KubeCluster, mongo: MongoServer, folder: Path, database: str
) -> Iterator[ApiSite]:
    """What real Porter wrote, out of a database of this name."""
    mongo.load_dump(QUICKSTART / "dump", database)
    store = {"kind": "filesystem", "path": str(QUICKSTART / "secrets")}
    source = {"kind": "mongodb", "url": mongo.url(database), "secrets": store}
    site = ApiSite(cluster=cluster, folder=folder, source=source)
    with site.running():
        yield site
    mongo.drop(database)


class Plain:
    """Answers as bytes, in place of a message's type."""

    @staticmethod
    def FromString(content: bytes) -> bytes:  # noqa: N802  # as messages have it
        return content


def call(
    channel: grpc.Channel,
    method: str,
    request: Any,
    answer: Any,
    *,
    token: str | None = None,
    metadata: Sequence[tuple[str, str | bytes]] = (),
    within: float = _SECONDS,
) -> Told:
    """One call; `request` is a message or bytes, `answer` the message's type."""
    login = () if token is None else (("authorization", f"Bearer {token}"),)
    content = request if isinstance(request, bytes) else request.SerializeToString()
    try:
        found, ended = channel.unary_unary(f"/{method}", response_deserializer=answer.FromString).with_call(
            content, timeout=within, metadata=(*login, *metadata)
        )
    except grpc.RpcError as error:
        return Told(
            code=error.code(), details=error.details() or "", trailers=_pairs(error.trailing_metadata())
        )
    return Told(code=ended.code(), trailers=_pairs(ended.trailing_metadata()), answer=found)


def _pairs(metadata: Any) -> tuple[tuple[str, str | bytes], ...]:
    return tuple((one.key, one.value) for one in metadata or ())
