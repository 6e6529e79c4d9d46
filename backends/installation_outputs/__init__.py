"""InstallationOutputs as a kind of sink: what installations put out, for people and for tools that wait.

A sink, so that queue, plan, guard, conflicts and deletions are the engine's here as everywhere. Not for
users to configure among theirs. Importing this loads no client library; `create` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.contract import SinkKind
from backends.installation_outputs.names import InstallationOutputsNaming
from backends.installation_outputs.options import (
    CAPABILITIES,
    InstallationOutputsOptions,
    InstallationOutputsTargetOptions,
)

if TYPE_CHECKING:
    from backends.installation_outputs.sink import InstallationOutputsSink


def _naming(options: InstallationOutputsOptions, /) -> InstallationOutputsNaming:
    return InstallationOutputsNaming(options.namespaces)


def _create(options: InstallationOutputsOptions, /) -> InstallationOutputsSink:
    from backends.installation_outputs.sink import InstallationOutputsSink  # noqa: PLC0415  # half a second of imports

    return InstallationOutputsSink(options)


KIND = SinkKind(
    kind="installation-outputs",
    options=InstallationOutputsOptions,
    target=InstallationOutputsTargetOptions,
    capabilities=CAPABILITIES,
    naming=_naming,
    create=_create,
)
