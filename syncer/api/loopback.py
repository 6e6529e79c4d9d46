"""Access for whoever can connect from this machine: for trying out, and for a sidecar in one pod.

Safe only on a loopback address, which the server checks. Every process of the machine, or of the pod, may
call.
"""

from __future__ import annotations

from typing import Final

from syncer.api.access import LoopbackAccessOptions
from syncer.api.callers import Caller, Permission, Resource
from syncer.api.credentials import Credentials

LOOPBACK: Final = Caller("loopback")


class LoopbackAccess:
    """An `Access` that knows one caller."""

    def __init__(self, options: LoopbackAccessOptions) -> None:
        self._options = options

    async def caller(self, credentials: Credentials) -> Caller | None:  # noqa: ARG002  # nothing has to be shown
        return LOOPBACK

    async def allows(self, caller: Caller, permission: Permission) -> bool:
        if caller != LOOPBACK:
            return False
        return self._options.sensitive or permission.resource is not Resource.SENSITIVE_OUTPUTS
