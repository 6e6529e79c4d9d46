"""Access that Kubernetes decides: its users call, its RBAC says what they may.

A token is reviewed for an audience of our own, so that one that was stolen from us opens nothing else, and
one for the API server opens nothing here. Answers are remembered for seconds only: a right that was taken
away is gone after `ALLOWED_SECONDS` at the latest. (The API server, seen at 1.37, itself remembers for as
long again that a token was good.)
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol, TypeVar

from backends.clients.kubernetes_access import Attributes, Subject
from backends.errors import SinkError
from backends.secret_value import SecretValue
from syncer.api.access import AccessUnavailable, KubernetesAccessOptions
from syncer.api.caching import AnswerCache, Lasting
from syncer.api.callers import Caller, Permission
from syncer.api.credentials import ClientCertificate, Credentials

GROUP: Final = "outputs.porter.sh"
ALLOWED_SECONDS: Final = 10.0
DENIED_SECONDS: Final = 2.0
"""Short: somebody may be waiting for the right to be granted."""

_REVIEW_SECONDS: Final = 5.0
"""An answer is as old as its question, and so is what those get who joined in asking it."""
_REVIEWS: Final = 32
"""At a time: nobody who tries tokens may keep the API server busy."""
_KNOWN_TOKENS: Final = 2048
_KNOWN_PERMISSIONS: Final = 8192
_DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_AUTHENTICATED: Final = "system:authenticated"
_RESERVED: Final = "system:"

_T = TypeVar("_T")


class Reviews(Protocol):
    """Who is asked (`KubernetesReviews`). Raises `SinkError`."""

    async def authenticate(self, token: SecretValue, audience: str) -> Subject | None: ...

    async def authorize(self, subject: Subject, attributes: Attributes) -> bool: ...


class KubernetesAccess:
    """An `Access`. `clock` is monotonic; `now` is in seconds since 1970, for what expires."""

    def __init__(
        self,
        reviews: Reviews,
        options: KubernetesAccessOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._reviews = reviews
        self._options = options
        self._now = now
        self._free = asyncio.Semaphore(_REVIEWS)
        self._callers: AnswerCache[Caller | None] = AnswerCache(size=_KNOWN_TOKENS, clock=clock)
        self._decisions: AnswerCache[bool] = AnswerCache(size=_KNOWN_PERMISSIONS, clock=clock)

    async def caller(self, credentials: Credentials) -> Caller | None:
        """A token decides alone where there is one: a bad one is not made good by a certificate."""
        token = credentials.token
        if token is not None:
            key = hashlib.sha256(token.reveal()).digest()
            return await self._callers.get(key, lambda: self._bearer(token))
        if credentials.certificate is not None:
            return self._owner(credentials.certificate)
        return None

    async def allows(self, caller: Caller, permission: Permission) -> bool:
        attributes = self._attributes(permission)
        if attributes is None:
            return False
        return await self._decisions.get(
            (caller.identity, attributes), lambda: self._decided(caller, attributes)
        )

    async def _bearer(self, token: SecretValue) -> Lasting[Caller | None]:
        left = expiry(token) - self._now()
        subject = await self._asked(lambda: self._reviews.authenticate(token, self._options.audience))
        if subject is None:
            return Lasting(None, DENIED_SECONDS)
        caller = Caller(subject.name, subject.groups, subject.uid, subject.extra)
        return Lasting(caller, min(ALLOWED_SECONDS, left))

    def _owner(self, certificate: ClientCertificate) -> Caller | None:
        """User and groups as the API server reads them in a certificate.

        NB: our client authority need not be the cluster's, so it cannot make members of the cluster's own
        groups, nor service accounts.
        """
        names = (certificate.common_name, *certificate.organizations)
        if certificate.valid_until <= self._now() or any(name.startswith(_RESERVED) for name in names):
            return None
        return Caller(certificate.common_name, (*certificate.organizations, _AUTHENTICATED))

    async def _decided(self, caller: Caller, attributes: Attributes) -> Lasting[bool]:
        subject = Subject(name=caller.name, uid=caller.uid, groups=caller.groups, extra=caller.extra)
        allowed = await self._asked(lambda: self._reviews.authorize(subject, attributes))
        return Lasting(allowed, ALLOWED_SECONDS if allowed else DENIED_SECONDS)

    async def _asked(self, review: Callable[[], Awaitable[_T]]) -> _T:
        try:
            async with asyncio.timeout(_REVIEW_SECONDS), self._free:
                return await review()
        except TimeoutError:
            raise AccessUnavailable("the API server does not answer reviews in time") from None
        except SinkError as error:
            raise AccessUnavailable(error.reason) from None

    def _attributes(self, permission: Permission) -> Attributes | None:
        """None where there is no namespace in which the right could have been granted."""
        namespace: str | None = ""
        if permission.namespace is not None:
            namespace = kubernetes_namespace(permission.namespace, self._options.namespaces)
        if namespace is None:
            return None
        resource, _, subresource = permission.resource.value.partition("/")
        return Attributes(
            verb=permission.verb.value,
            group=GROUP,
            resource=resource,
            subresource=subresource,
            namespace=namespace,
            name=permission.name,
        )


def kubernetes_namespace(namespace: str, mapping: Mapping[str, str]) -> str | None:
    """Where rights in this namespace of Porter's are granted, None where they cannot be.

    NB: never "": in a review that means all namespaces.
    """
    mapped = mapping.get(namespace, namespace)
    return mapped if _DNS_LABEL.fullmatch(mapped) else None


def expiry(token: SecretValue) -> float:
    """When the token says that it ends, in seconds since 1970; infinity where it does not say."""
    parts = token.reveal().split(b".")
    if len(parts) != 3:  # noqa: PLR2004  # header, claims, signature
        return float("inf")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4)))
        return float(claims["exp"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return float("inf")
