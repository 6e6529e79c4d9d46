"""Azure Key Vault as a kind of sink. Importing this loads no client library; `create` does.

`options`, `names`, `marks`, `objects` and `csi` are pure; `sink` is the sink.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.azure_keyvault.names import AzureKeyVaultNaming
from backends.azure_keyvault.options import CAPABILITIES, AzureKeyVaultOptions, AzureKeyVaultTarget
from backends.contract import SinkKind

if TYPE_CHECKING:
    from backends.azure_keyvault.sink import AzureKeyVaultSink


def _naming(_: AzureKeyVaultOptions, /) -> AzureKeyVaultNaming:
    return AzureKeyVaultNaming()


def _create(options: AzureKeyVaultOptions, /) -> AzureKeyVaultSink:
    from backends.azure_keyvault.sink import AzureKeyVaultSink  # noqa: PLC0415  # half a second of imports

    return AzureKeyVaultSink(options)


KIND = SinkKind(
    kind="azure-keyvault",
    options=AzureKeyVaultOptions,
    target=AzureKeyVaultTarget,
    capabilities=CAPABILITIES,
    naming=_naming,
    create=_create,
)
