"""The two questions of access control: who is that, and what may they do.

The Protocol that the kinds of access implement, and their options. Default deny: what no kind of access
allows is not allowed, and whoever cannot find out says so instead of guessing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from syncer.api.callers import Caller, Permission
from syncer.api.credentials import Credentials


class AccessUnavailable(Exception):
    """It cannot be found out right now. `reason` is fit for a log: one sentence, no token in it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Access(Protocol):
    """Decides who gets in, and what they may read. Both methods raise `AccessUnavailable`."""

    async def caller(self, credentials: Credentials) -> Caller | None:
        """Who shows these, None where they prove nobody."""
        ...

    async def allows(self, caller: Caller, permission: Permission) -> bool:
        """Whether the caller has this permission, now or not long ago (10 seconds)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesAccessOptions:
    """Tokens, or client certificates, of Kubernetes users; Kubernetes decides what they may."""

    audience: str
    """What a token must have been issued for. Never the API server's own audience."""
    namespaces: Mapping[str, str] = field(default_factory=dict)
    """Porter's namespace to that of Kubernetes in which rights are granted; two may share one.
    One that is not listed stays itself; "" (global) is closed to everybody unless it is listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateGrant:
    """What one client may read."""

    namespaces: tuple[str, ...]
    """Globs of Porter namespaces; all at once only with "*"."""
    sensitive: bool = False
    """Sensitive values as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateAccessOptions:
    """Clients known by the common name of their certificate."""

    clients: Mapping[str, CertificateGrant]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopbackAccessOptions:
    """Whoever can connect from this machine, without a login."""

    sensitive: bool = False
    """Sensitive values as well."""


AccessOptions = KubernetesAccessOptions | CertificateAccessOptions | LoopbackAccessOptions
