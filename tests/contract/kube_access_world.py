"""Access by a real kube-apiserver: a login that may ask, tokens to show, rights to grant."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from backends.clients.kubernetes import KubernetesClient
from backends.clients.kubernetes_access import KubernetesReviews
from backends.clients.kubernetes_options import KubernetesOptions
from backends.secret_value import SecretValue
from syncer.api.access import KubernetesAccessOptions
from syncer.api.credentials import Credentials
from syncer.api.kubernetes_callers import GROUP, KubernetesAccess

AUDIENCE = "outputs.porter.sh"
REVIEWER = [
    {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
    {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
]
OUR_OWN = ["https://kubernetes.default.svc"]
"""The API server's audience: what a pod's usual token is for."""


class Moving:
    """A clock that is put forward, so that no answer is a remembered one where a test wants a new one."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead

    def forget(self) -> None:
        self.ahead += 60.0


@pytest.fixture
def clock() -> Moving:
    return Moving()


@pytest.fixture
async def reviews(kube_cluster) -> AsyncIterator[KubernetesReviews]:
    """With the rights that the chart gives and no others."""
    role = kube_cluster.grant("syncer", REVIEWER)
    async with KubernetesClient(KubernetesOptions(kubeconfig=kube_cluster.kubeconfig("syncer"))) as client:
        yield KubernetesReviews(client)
    kube_cluster.revoke(role)


@pytest.fixture
def access(reviews, kube_namespace, clock) -> KubernetesAccess:
    options = KubernetesAccessOptions(audience=AUDIENCE, namespaces={"dev": kube_namespace})
    return KubernetesAccess(reviews, options, clock=clock)


@pytest.fixture
def account(kube_cluster, kube_namespace) -> str:
    kube_cluster.admin.apply(
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "app", "namespace": kube_namespace},
        }
    )
    return "app"


def token_for(kube_cluster, namespace: str, audiences: list[str], account: str = "app") -> str:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": audiences, "expirationSeconds": 600},
    }
    return kube_cluster.admin.request("POST", path, request)["status"]["token"]


def bearer(token: str) -> Credentials:
    return Credentials(token=SecretValue(token.encode()))


def rules(
    *resources: str, verbs: tuple[str, ...] = ("get",), names: tuple[str, ...] = ()
) -> list[dict[str, object]]:
    rule: dict[str, object] = {"apiGroups": [GROUP], "resources": list(resources), "verbs": list(verbs)}
    return [rule | ({"resourceNames": list(names)} if names else {})]
