"""Access for clients whose certificates the configuration names, where there is no Kubernetes to ask.

A certificate says only who it is; what each may read is in the configuration.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from fnmatch import fnmatchcase

from syncer.api.access import CertificateAccessOptions
from syncer.api.callers import Caller, Permission, Resource
from syncer.api.credentials import Credentials


class CertificateAccess:
    """An `Access`. A token proves nothing here. `now` is in seconds since 1970."""

    def __init__(self, options: CertificateAccessOptions, *, now: Callable[[], float] = time.time) -> None:
        self._clients = options.clients
        self._now = now

    async def caller(self, credentials: Credentials) -> Caller | None:
        certificate = credentials.certificate
        if certificate is None or certificate.valid_until <= self._now():
            return None
        name = certificate.common_name
        return Caller(name, certificate.organizations) if name in self._clients else None

    async def allows(self, caller: Caller, permission: Permission) -> bool:
        grant = self._clients.get(caller.name)
        if grant is None or (permission.resource is Resource.SENSITIVE_OUTPUTS and not grant.sensitive):
            return False
        if "*" in grant.namespaces:
            return True
        namespace = permission.namespace
        return namespace is not None and any(fnmatchcase(namespace, glob) for glob in grant.namespaces)
