"""How to log in to a Kubernetes API server, as the configuration says it.

Apart from `clients.kubernetes` so that a configuration can be read without loading the client
library.
"""

from __future__ import annotations

from pathlib import Path

from backends.clients.client_options import ServerOptions


class KubernetesOptions(ServerOptions):
    """Which API server, and as whom.

    With neither `kubeconfig` nor `context` it is the cluster the process runs in, as the pod's
    service account; outside of a pod the default kubeconfig (`KUBECONFIG`, else `~/.kube/config`).
    """

    kubeconfig: Path | None = None
    """Path of a kubeconfig file."""
    context: str | None = None
    """Context of the kubeconfig; default: its current one."""
