"""What there is to configure about this sink and its targets, and what the sink can do."""

from __future__ import annotations

from typing import Final

from pydantic import StrictStr

from backends.clients.client_options import ClientOptions
from backends.contract import Capabilities, Layout, TargetOptions, TargetShape
from backends.installation_outputs.names import MAX_OUTPUT_NAME
from backends.kubernetes_secret.names import MAX_NAME, MAX_NAMESPACE
from backends.kubernetes_secret.options import KubernetesSinkOptions

CAPABILITIES: Final = Capabilities(
    compare_and_set=True,
    atomic_mark=False,
    lists_values=False,
    layouts=frozenset({Layout.BUNDLE}),
    max_secret_bytes=None,
    max_value_bytes=None,
    max_address_length=MAX_NAMESPACE + 1 + MAX_NAME,
    max_key_length=MAX_OUTPUT_NAME,
)


class InstallationOutputsOptions(KubernetesSinkOptions):
    """A cluster's InstallationOutputs: logged in to, and confined to namespaces, as its Secrets are."""


class InstallationOutputsTargetOptions(TargetOptions):
    """One resource for each installation."""

    model_config = ClientOptions.model_config

    namespace: StrictStr = "{namespace}"
    """Template of the Kubernetes namespace. It is never created."""
    name: StrictStr = "{installation}"
    """Template of the resource's name."""

    def shape(self) -> TargetShape:
        return TargetShape(parts=(self.namespace, self.name), layout=Layout.BUNDLE)
