"""A release that runs: what Helm installed, a database with a Porter that writes to it, and what happens then.

Everything of the happy path is a `Fact` here, looked at from outside. The release has one kind of everything
that takes a right: Secrets, Events, restarts, InstallationOutputs, the Lease, Porter's store, and the API. Excludes
how a pod is started (kubelet.py).
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import trustme
from chart_world import CHART, NAME, RELEASE, restricted
from kubelet import Pod

from syncer.api._generated.porter.outputs.v1alpha1 import porter_bundle_pb2 as protos
from tests.faults.running import Syncer
from tests.functional.api_site import AUDIENCE, OURS, Told, call
from tests.servers.helm import Helm
from tests.servers.kubernetes import KubeCluster
from tests.servers.porter import Porter
from tests.servers.processes import free_port

Json = dict[str, Any]

RBAC = "rbac.authorization.k8s.io/v1"
OUTPUTS_API = "outputs.porter.sh/v1alpha1"
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
RESTARTS = tuple(f"{kind} restarted" for kind in WORKLOADS)
FIRST = {"host": b"db-1.shop.internal", "password": b"canary-KXb2RqS0vwnQ4hFf"}
SECOND = {"host": b"db-2.shop.internal", "password": b"canary-9tVUeYd1mZx7LJpA"}


class PorterWithCluster(Porter):
    """A Porter with the plugin `kubernetes.secrets`."""

    keep: Callable[[str, bytes], None]

    def store(self, key: str, value: bytes) -> None:
        self.keep(key.lower(), value)


@dataclass(kw_only=True)
class Premises:
    """Namespaces of one test: the release's, with Pod Security `restricted`, its target and Porter's store."""

    helm: Helm
    cluster: KubeCluster
    url: str
    """Of Porter's database."""
    folder: Path
    home: str = field(default_factory=lambda: f"home-{secrets.token_hex(4)}")
    authority: trustme.CA = field(default_factory=trustme.CA)
    pages: int = field(default_factory=free_port)
    port: int = field(default_factory=free_port)
    deployment: str = NAME
    """Whose pods are started; their account has the same name."""

    def __post_init__(self) -> None:
        restricted(self.cluster, self.home)
        for name in (self.shop, self.store):
            self.cluster.admin.create_namespace(name)
        self.secret(self.home, "porter-mongodb", {"url": self.url.encode()})
        certificate = self.authority.issue_cert("localhost", "127.0.0.1")
        chain = b"".join(one.bytes() for one in certificate.cert_chain_pems)
        tls = {"tls.crt": chain, "tls.key": certificate.private_key_pem.bytes()}
        self.secret(self.home, "api-tls", tls, kind="kubernetes.io/tls")

    @property
    def shop(self) -> str:
        return f"{self.home}-shop"

    @property
    def store(self) -> str:
        return f"{self.home}-store"

    def secret(self, namespace: str, name: str, data: Mapping[str, bytes], *, kind: str = "Opaque") -> None:
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        metadata = {"name": name, "namespace": namespace}
        self.cluster.admin.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "data": encoded}
        )

    # --- the release

    def values(self, **config: Any) -> Json:
        """Values of the chart; settings of `config` may be replaced."""
        restart = [{"kind": kind, "name": "reader"} for kind in WORKLOADS]
        usual = {
            "namespaces": {"shop": self.shop},
            "source": self.source(),
            "sinks": [{"name": "cluster", "kind": "kubernetes", "namespaces": [self.shop]}],
            "rules": [{"name": "all", "targets": [{"sink": "cluster", "restart": restart}]}],
            "guard": {"grace": "500ms"},
            "resyncInterval": "10m",
            "leaderElection": {
                "kind": "lease",
                "leaseDuration": "8s",
                "renewDeadline": "5s",
                "retryPeriod": "1s",
            },
            "telemetry": {"listen": f"0.0.0.0:{self.pages}"},
            "customResources": {"enabled": True},
            "api": {"enabled": True, "listen": f"0.0.0.0:{self.port}"},
        }
        return {
            "config": usual | config,
            "credentials": [{"secretName": "porter-mongodb", "key": "url", "env": "PORTER_MONGODB_URL"}],
            "api": {"tls": {"existingSecret": "api-tls"}},
            "crds": {"create": False},
            "logLevel": "debug",
        }

    def source(self) -> Json:
        return {
            "kind": "mongodb",
            "url": {"env": "PORTER_MONGODB_URL"},
            "pollInterval": "200ms",
            "deletionCheckInterval": "500ms",
            "settleTime": "1s",
            "secrets": {"kind": "kubernetes", "namespace": self.store},
        }

    def helm_does(self, command: str, values: Mapping[str, Any], chart: Path = CHART) -> str:
        """`helm install` or `upgrade` with these values; what it says."""
        path = self.folder / f"values-{secrets.token_hex(3)}.yaml"
        path.write_text(json.dumps(values))
        return self.helm.run(command, RELEASE, chart, "--namespace", self.home, "--values", path)

    def uninstall(self) -> None:
        self.helm.run("uninstall", RELEASE, "--namespace", self.home)

    def pod(self) -> Pod:
        folder = self.folder / f"pod-{secrets.token_hex(3)}"
        return Pod.of(self.cluster, self.home, self.deployment, folder)

    @contextmanager
    def running(self, pod: Pod | None = None) -> Iterator[Syncer]:
        """The container of a pod, until the end of the block."""
        syncer = (pod or self.pod()).start()
        try:
            yield syncer
        finally:
            syncer.stop()

    @property
    def user(self) -> str:
        """Who the pods are to the API server."""
        return f"system:serviceaccount:{self.home}:{self.deployment}"

    def roles(self) -> Iterator[Json]:
        """What is bound to the pods' account, as it is stored: Roles and ClusterRoles."""
        for kind in ("RoleBinding", "ClusterRoleBinding"):
            for binding in self.cluster.admin.list(RBAC, kind):
                subjects = [(one["name"], one.get("namespace")) for one in binding.get("subjects", ())]
                if (self.deployment, self.home) in subjects:
                    reference, namespace = binding["roleRef"], binding["metadata"].get("namespace")
                    found = self.cluster.admin.get(RBAC, reference["kind"], reference["name"], namespace)
                    assert found is not None
                    yield found

    # --- Porter, and readers of its outputs

    def porter(self, database: Any) -> PorterWithCluster:
        porter = PorterWithCluster(database=database, secrets=self.folder / "unused")
        porter.keep = lambda key, value: self.secret(self.store, key, {"value": value})
        return porter

    def deploy_readers(self) -> None:
        """A workload of each kind that is restarted, and the operator's Installation that owns the outputs."""
        for kind in WORKLOADS:
            self.cluster.admin.apply(_workload(kind, self.shop))
        self.cluster.admin.apply(
            {
                "apiVersion": "getporter.org/v1",
                "kind": "Installation",
                "metadata": {"name": "orders", "namespace": self.shop},
                "spec": {"namespace": "shop", "name": "orders"},
            }
        )

    def caller(self) -> str:
        """A token of a service account that may list installations, and read outputs whole."""
        account = {"name": "caller", "namespace": self.home}
        self.cluster.admin.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
        group = {"apiGroups": ["outputs.porter.sh"]}
        rules = [group | {"resources": ["installations"], "verbs": ["list"]}]
        outputs = ["installations/outputs", "installations/sensitiveoutputs"]
        rules.append(group | {"resources": outputs, "verbs": ["get"]})
        self.cluster.grant(f"system:serviceaccount:{self.home}:caller", rules, self.shop)
        path = f"/api/v1/namespaces/{self.home}/serviceaccounts/caller/token"
        wanted = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [AUDIENCE]},
        }
        token: str = self.cluster.admin.request("POST", path, wanted)["status"]["token"]
        return token

    def called(self, token: str) -> Told:
        """How the API answers to who asks for the installations."""
        request = protos.ListInstallationsRequest(namespace="shop")
        return self._call(token, "ListInstallations", request, protos.ListInstallationsResponse)

    def read(self, token: str) -> dict[str, bytes]:
        """The outputs as the API tells them, sensitive ones among them; none where it refuses."""
        request = protos.ListInstallationRunOutputsRequest(
            namespace="shop", installation="orders", include_sensitive=True
        )
        answer = protos.ListInstallationRunOutputsResponse
        told = self._call(token, "ListInstallationRunOutputs", request, answer)
        return {one.name: one.value for one in told.answer.outputs} if told.answer else {}

    def _call(self, token: str, method: str, request: Any, answer: Any) -> Told:
        credentials = grpc.ssl_channel_credentials(self.authority.cert_pem.bytes())
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.secure_channel(f"localhost:{self.port}", credentials, options) as channel:
            return call(channel, f"{OURS}/{method}", request, answer, token=token)

    # --- what is there to see

    def published(self, name: str = "orders") -> dict[str, bytes] | None:
        """What a pod would read; None where there is no Secret."""
        found = self.cluster.admin.secret(self.shop, f"{name}-outputs")
        data: Mapping[str, str] = (found or {}).get("data") or {}
        return None if found is None else {key: base64.b64decode(text) for key, text in data.items()}

    def resource(self) -> Json | None:
        return self.cluster.admin.get(OUTPUTS_API, "InstallationOutputs", "orders", self.shop)

    def shown(self) -> dict[str, str]:
        """By plain output: its value in the resource."""
        status = (self.resource() or {}).get("status") or {}
        return {one["name"]: one["value"] for one in status.get("outputs", ()) if "value" in one}

    def events(self) -> list[str]:
        found = self.cluster.admin.list("events.k8s.io/v1", "Event", self.shop)
        return [one["reason"] for one in found if one["regarding"]["name"] == "orders-outputs"]

    def restarted(self, kind: str) -> bool:
        """Whether the pod template names a content, which rolls it out anew."""
        found = self.cluster.admin.get("apps/v1", kind, "reader", self.shop)
        assert found is not None
        notes = found["spec"]["template"]["metadata"].get("annotations") or {}
        return any(name.startswith("outputs.porter.sh/content.") for name in notes)

    def owned(self) -> bool:
        owners = (self.resource() or {"metadata": {}})["metadata"].get("ownerReferences", ())
        return [one["kind"] for one in owners] == ["Installation"]

    def lease(self) -> Json:
        found = self.cluster.admin.get("coordination.k8s.io/v1", "Lease", NAME, self.home)
        return {} if found is None else dict(found["spec"])

    def renewed(self) -> bool:
        lease = self.lease()
        return bool(lease.get("holderIdentity")) and lease["renewTime"] > lease["acquireTime"]


def _workload(kind: str, namespace: str) -> Json:
    pod = {
        "metadata": {"labels": {"app": kind.lower()}},
        "spec": {"containers": [{"name": "main", "image": "shop:1.0"}]},
    }
    spec: Json = {"selector": {"matchLabels": {"app": kind.lower()}}, "template": pod}
    if kind == "StatefulSet":
        spec["serviceName"] = "reader"
    metadata = {"name": "reader", "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec}


# --- the happy path, in facts


@dataclass(kw_only=True)
class Story:
    """An installation's life, told step by step; each fact holds after its step where nothing is wrong."""

    premises: Premises
    porter: Porter
    token: str

    def install(self) -> None:
        """Two, because a source that knows none any more would prove no absence."""
        self.porter.install("shop", "other", FIRST, sensitive=["password"]).finish()
        self.porter.install("shop", "orders", FIRST, sensitive=["password"]).finish()

    def upgrade(self) -> None:
        self.porter.upgrade("shop", "orders", SECOND, sensitive=["password"]).finish()

    def upgrade_other(self) -> None:
        self.porter.upgrade("shop", "other", SECOND, sensitive=["password"]).finish()

    def tamper(self) -> None:
        """As somebody would by hand; the syncer has nothing left to do with it of its own."""
        self.premises.secret(self.premises.shop, "orders-outputs", {"host": b"elsewhere"})

    def delete(self) -> None:
        self.porter.delete("shop", "orders").finish()

    def facts(self) -> dict[str, tuple[Callable[[], bool], tuple[Callable[[], None], ...]]]:
        """By name: whether it holds, and the steps after which it does."""
        world = self.premises
        installed, upgraded = (self.install,), (self.install, self.upgrade)
        restarts = {
            name: partial(world.restarted, kind) for name, kind in zip(RESTARTS, WORKLOADS, strict=True)
        }
        return {
            "renewed": (world.renewed, ()),
            "published": (lambda: world.published() == FIRST, installed),
            "event": (lambda: "Created" in world.events(), installed),
            "shown": (lambda: world.shown() == {"host": FIRST["host"].decode()}, installed),
            "owned": (world.owned, installed),
            "answered": (self._answered, installed),
            "updated": (lambda: world.published() == SECOND, upgraded),
            "shown anew": (lambda: world.shown() == {"host": SECOND["host"].decode()}, upgraded),
            **{name: (holds, upgraded) for name, holds in restarts.items()},
            "repaired": (lambda: world.published() == SECOND, (*upgraded, self.tamper)),
            "other follows": (lambda: world.published("other") == SECOND, (self.install, self.upgrade_other)),
            "collected": (lambda: world.published() is None, (self.install, self.delete)),
            "resource collected": (lambda: world.resource() is None, (self.install, self.delete)),
        }

    def _answered(self) -> bool:
        told = self.premises.called(self.token)
        if told.code is not grpc.StatusCode.OK:
            return False
        return {one.name for one in told.answer.installations} == {"orders", "other"}
