"""What the configuration may say about this sink and its targets, and what the sink can do."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Annotated, Final

from pydantic import AfterValidator, StrictStr

from backends.clients.client_options import ClientOptions
from backends.clients.vault_options import Place, VaultOptions
from backends.contract import Capabilities, Layout, TargetOptions, TargetShape
from backends.vault.names import MAX_ADDRESS

CAPABILITIES: Final = Capabilities(
    compare_and_set=True,
    atomic_mark=False,
    lists_values=False,
    layouts=frozenset(Layout),
    max_secret_bytes=1_000_000,
    max_value_bytes=None,
    max_address_length=MAX_ADDRESS,
    max_key_length=None,
)
"""Of KV v2. The size leaves room for JSON in the 1 MiB that the integrated storage takes as one entry."""

KV1_CAPABILITIES: Final = replace(CAPABILITIES, compare_and_set=False, lists_values=True)


def _paths(paths: tuple[str, ...]) -> tuple[str, ...]:
    if not paths:
        raise ValueError("should list at least one path, or be left out")
    for path, other in permutations(paths, 2):
        if f"{other}/".startswith(f"{path}/"):
            raise ValueError(f"{other} is already below, or the same as, {path}")
    for path in paths:
        if any(segment.startswith(".") for segment in path.split("/")):
            raise ValueError(f"{path}: names that begin with a dot are the sink's own")
    return paths


def _relative(template: str) -> str:
    for part in template.split("/"):
        if part in ("", ".", ".."):
            raise ValueError(f"{template!r} is not a path below the mount: it has a part {part!r}")
    return template


class VaultSinkOptions(VaultOptions):
    """A KV engine, version 1 or 2: which it is, is found out from the mount."""

    mount: Place = "secret"
    """Where the KV engine is mounted."""
    paths: Annotated[tuple[Place, ...], AfterValidator(_paths)] = ("porter",)
    """The only paths below the mount that are written to, and listed: a policy for them is enough."""

    def places(self) -> list[tuple[object, ...]]:
        """`backends.contract.SaysPlaces`: logins and certificates lead to the same place."""
        where = (self.address.lower(), *(self.namespace or "").split("/"), "", *self.mount.split("/"), "")
        return [(*where, *path.split("/")) for path in self.paths]


class VaultTarget(TargetOptions):
    """A secret for each installation, or for each output."""

    model_config = ClientOptions.model_config

    path: Annotated[StrictStr, AfterValidator(_relative)] | None = None
    """Template of the path below the mount. Default: `porter/{namespace}/{installation}`, and
    `/{output}` behind it with the layout `perOutput`."""
    layout: Layout = Layout.BUNDLE
    """`bundle`: one secret with a field for each output. `perOutput`: one secret for each output,
    with the field `value`."""

    def shape(self) -> TargetShape:
        default = "porter/{namespace}/{installation}"
        if self.layout is Layout.PER_OUTPUT:
            default = f"{default}/{{output}}"
        return TargetShape(parts=tuple((self.path or default).split("/")), layout=self.layout)
