"""HashiCorp Vault and OpenBao (KV engines) as a kind of sink. Importing this loads no client library.

`options`, `names`, `marks`, `metadata` and `fields` are pure; `kv2` and `kv1` are the requests it takes
with each version of the engine, `sink` finds out which it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.contract import SinkKind
from backends.vault.names import VaultNaming
from backends.vault.options import CAPABILITIES, VaultSinkOptions, VaultTarget

if TYPE_CHECKING:
    from backends.vault.sink import VaultSink


def _naming(options: VaultSinkOptions, /) -> VaultNaming:
    return VaultNaming(options.paths)


def _create(options: VaultSinkOptions, /) -> VaultSink:
    from backends.vault.sink import VaultSink  # noqa: PLC0415  # imports hvac and requests

    return VaultSink(options)


KIND = SinkKind(
    kind="vault",
    options=VaultSinkOptions,
    target=VaultTarget,
    capabilities=CAPABILITIES,
    naming=_naming,
    create=_create,
)
