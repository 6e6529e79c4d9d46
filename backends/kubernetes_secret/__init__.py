"""Kubernetes Secrets as a kind of sink. Importing this loads no client library; `create` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.contract import SinkKind
from backends.kubernetes_secret.names import KubernetesNaming
from backends.kubernetes_secret.options import CAPABILITIES, KubernetesSinkOptions, KubernetesTargetOptions

if TYPE_CHECKING:
    from backends.kubernetes_secret.sink import KubernetesSecretSink


def _naming(options: KubernetesSinkOptions, /) -> KubernetesNaming:
    return KubernetesNaming(options.namespaces)


def _create(options: KubernetesSinkOptions, /) -> KubernetesSecretSink:
    from backends.kubernetes_secret.sink import KubernetesSecretSink  # noqa: PLC0415  # half a second of imports

    return KubernetesSecretSink(options)


KIND = SinkKind(
    kind="kubernetes",
    options=KubernetesSinkOptions,
    target=KubernetesTargetOptions,
    capabilities=CAPABILITIES,
    naming=_naming,
    create=_create,
)
