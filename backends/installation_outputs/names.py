"""Names of resources are those of Secrets; outputs keep the names that Porter knows them by. Pure."""

from __future__ import annotations

from typing import Final

from backends.errors import NameRefused
from backends.kubernetes_secret.names import KubernetesNaming

MAX_OUTPUT_NAME: Final = 1024
"""Characters."""


class InstallationOutputsNaming(KubernetesNaming):
    """How this sink names things; outputs are shown, not mounted, so that any name will do."""

    def key(self, name: str) -> str:
        if not 0 < len(name) <= MAX_OUTPUT_NAME:
            raise NameRefused(f"the name of an output has 1 to {MAX_OUTPUT_NAME} characters, not {len(name)}")
        return name
