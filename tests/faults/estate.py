"""A small estate for the fault tests: Porter's database, a Kubernetes namespace and a folder of files.

Porter's namespace `shop` goes to a Kubernetes namespace of the test's own, and each installation to the
Secret `<installation>-outputs` and the folder `<installation>`. A test may put a proxy before any of them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.kubernetes import KubeCluster
from tests.servers.porter import Porter

SPACE = "shop"
"""Porter's namespace."""
USER = "syncer"
RIGHTS = ["get", "list", "watch", "create", "update", "delete"]
POLL = 0.2
"""Seconds between two polls of the source."""

Document = dict[str, Any]


@dataclass(kw_only=True)
class Estate:
    """`namespace` is empty at first, and the user `syncer` has a Role there and nothing else."""

    porter: Porter
    url: str
    """Of Porter's database."""
    cluster: KubeCluster
    namespace: str
    folder: Path
    instance: str = "faults"
    role: str = field(init=False)

    def __post_init__(self) -> None:
        rules = [
            {"apiGroups": [""], "resources": ["secrets"], "verbs": RIGHTS},
            {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
            {
                "apiGroups": ["coordination.k8s.io"],
                "resources": ["leases"],
                "verbs": ["get", "create", "update"],
            },
            {
                "apiGroups": ["apps"],
                "resources": ["deployments", "statefulsets", "daemonsets"],
                "verbs": ["get", "list", "patch"],
            },
        ]
        self.role = self.cluster.grant(USER, rules, self.namespace)

    # --- configuration

    @property
    def kubernetes(self) -> Document:
        """The sink `cluster`."""
        return {
            "name": "cluster",
            "kind": "kubernetes",
            "kubeconfig": str(self.cluster.kubeconfig(USER)),
            "namespaces": [self.namespace],
        }

    def kubernetes_at(self, url: str, ca_file: Path) -> Document:
        """The sink `cluster` by way of a proxy at this address."""
        config = json.loads(self.cluster.kubeconfig(USER).read_text())
        config["clusters"][0]["cluster"] = {"server": url, "certificate-authority": str(ca_file)}
        path = self.folder / "proxy.kubeconfig"
        path.write_text(json.dumps(config))
        return {**self.kubernetes, "kubeconfig": str(path)}

    @property
    def files(self) -> Document:
        """The sink `files`."""
        return {"name": "files", "kind": "file", "path": str(self.folder / "out")}

    def source(self, **settings: Any) -> Document:
        return {
            "kind": "mongodb",
            "url": self.url,
            "pollInterval": f"{int(POLL * 1000)}ms",
            "deletionCheckInterval": "500ms",
            "settleTime": "1s",
            "secrets": {"kind": "filesystem", "path": str(self.porter.secrets)},
            **settings,
        }

    def source_through(self, port: int, **settings: Any) -> Document:
        """The source, by way of a proxy on this port."""
        return self.source(url=f"mongodb://127.0.0.1:{port}/{self.url.rpartition('/')[2]}", **settings)

    def document(self, **settings: Any) -> Document:
        """A whole configuration; top-level settings may be replaced."""
        targets = [
            {"sink": "cluster", "namespace": self.namespace},
            {"sink": "files", "path": "{installation}"},
        ]
        return {
            "instance": self.instance,
            "source": self.source(),
            "sinks": [self.kubernetes, self.files],
            "rules": [{"name": "all", "targets": targets}],
            "guard": {"grace": "1s"},
            "resyncInterval": "1h",
            **settings,
        }

    def with_annexe(self, namespace: str, **settings: Any) -> Document:
        """A whole configuration, with Porter's namespace `annexe` in a Kubernetes namespace of its own."""
        targets = [
            {"sink": "cluster", "namespace": "{namespace}"},
            {"sink": "files", "path": "{installation}"},
        ]
        return self.document(
            namespaces={SPACE: self.namespace, "annexe": namespace},
            sinks=[{**self.kubernetes, "namespaces": [self.namespace, namespace]}, self.files],
            rules=[{"name": "all", "targets": targets}],
            **settings,
        )

    # --- what is in the sinks

    def secret(self, installation: str) -> Document | None:
        """The whole Secret."""
        return self.cluster.admin.secret(self.namespace, f"{installation}-outputs")

    def events(self, installation: str) -> list[str]:
        """The reasons of the Events about its Secret, in the order in which they happened."""
        found = self.cluster.admin.list("events.k8s.io/v1", "Event", self.namespace)
        mine = [one for one in found if one["regarding"]["name"] == f"{installation}-outputs"]
        return [one["reason"] for one in sorted(mine, key=lambda one: one["eventTime"])]

    def in_cluster(self, installation: str) -> dict[str, bytes] | None:
        """What a pod would read; None where there is no Secret."""
        found = self.secret(installation)
        data: Mapping[str, str] = (found or {}).get("data") or {}
        return None if found is None else {key: base64.b64decode(text) for key, text in data.items()}

    def in_files(self, installation: str) -> dict[str, bytes] | None:
        """What an application on the machine would read; nothing while a key of it dangles."""
        folder = self.folder / "out" / installation
        if not (folder / "..data").exists():
            return None
        keys = (path for path in folder.iterdir() if not path.name.startswith(".."))
        try:
            return {path.name: path.read_bytes() for path in keys}
        except FileNotFoundError:
            return {}

    def everywhere(self, installation: str, data: Mapping[str, bytes] | None) -> bool:
        """Whether both sinks have just this."""
        return self.in_cluster(installation) == data and self.in_files(installation) == data

    def state(self) -> Document:
        """Everything in both sinks; whatever is written again differs, if only by its version."""
        secrets = self.cluster.admin.list("v1", "Secret", self.namespace)
        files = (path for path in (self.folder / "out").rglob("*") if path.is_symlink() or path.is_file())
        return {
            **{one["metadata"]["name"]: one for one in secrets},
            **{str(one): one.readlink() if one.is_symlink() else one.read_bytes() for one in files},
        }
