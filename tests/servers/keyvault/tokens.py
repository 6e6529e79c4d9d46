"""Microsoft Entra's part: who there is, by what they prove it, and the tokens they get. No I/O, thread-safe.

entra/identity-platform/v2-oauth2-client-creds-grant-flow (secret, certificate, federated credential),
entra/identity-platform/certificate-credentials (the signed assertion), and
entra/identity-platform/reference-error-codes (the AADSTS numbers). A token is an opaque random string, which
the vaults of the same server ask about here; nobody but its resource may read a token, so no client can tell.

Left out: users, consent, refresh tokens, continuous access evaluation, other resources than Key Vault's.
Assumed: the words around the AADSTS numbers, and that a wrong tenant is 90002 for every kind of client.
"""

from __future__ import annotations

import secrets
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.servers.keyvault.assertions import Certificate, is_signed_by
from tests.servers.keyvault.model import Operation

RESOURCE = "https://vault.azure.net"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

READ = frozenset(("get", "list"))
WRITE = READ | frozenset(("set", "delete", "recover"))
ALL = WRITE | frozenset(("purge",))

PERMISSION_OF = {
    Operation.SET: "set",
    Operation.GET: "get",
    Operation.UPDATE: "set",
    Operation.LIST: "list",
    Operation.VERSIONS: "list",
    Operation.DELETE: "delete",
    Operation.GET_DELETED: "get",
    Operation.LIST_DELETED: "list",
    Operation.RECOVER: "recover",
    Operation.PURGE: "purge",
}
"""The "secrets/... permission" each page of rest/api/keyvault/secrets asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """An application or managed identity, and what it may do in every vault that says nothing else."""

    client_id: str
    object_id: str
    permissions: frozenset[str]
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What was issued."""

    identity: Identity
    resource: str
    expires: float


class TokenRefusedError(Exception):
    """An error answer of the token endpoint."""

    def __init__(self, status: int, error: str, number: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.body = {
            "error": error,
            "error_description": f"AADSTS{number}: {text}",
            "error_codes": [number],
            "trace_id": str(uuid.uuid4()),
            "correlation_id": str(uuid.uuid4()),
        }


class Entra:
    """One tenant."""

    def __init__(self, clock: Callable[[], float], lifetime: float = 3600) -> None:
        self.clock = clock
        self.tenant = str(uuid.uuid4())
        self.lifetime = lifetime
        """Seconds a token issued from now on is good for."""
        self._lock = threading.Lock()
        self._identities: dict[str, Identity] = {}
        self._certificates: dict[str, list[Certificate]] = {}
        self._federated: dict[str, Callable[[str], bool]] = {}
        self._tokens: dict[str, Token] = {}
        self._requests: Counter[str] = Counter()

    def add(self, permissions: frozenset[str] = WRITE) -> Identity:
        """A new application with a client secret."""
        identity = Identity(
            client_id=str(uuid.uuid4()),
            object_id=str(uuid.uuid4()),
            permissions=permissions,
            client_secret=secrets.token_urlsafe(30),
        )
        with self._lock:
            self._identities[identity.client_id] = identity
        return identity

    def register(self, identity: Identity, certificate: Certificate) -> None:
        """From now on what this certificate signed proves the identity as well."""
        with self._lock:
            self._certificates.setdefault(identity.client_id, []).append(certificate)

    def federate(self, identity: Identity, accepts: Callable[[str], bool]) -> None:
        """From now on another issuer's token for which `accepts` holds proves the identity as well."""
        with self._lock:
            self._federated[identity.client_id] = accepts

    def requests(self) -> Counter[str]:
        """How often a token was asked for, by way: client_secret, client_assertion, managed, ..."""
        with self._lock:
            return Counter(self._requests)

    def count(self, way: str) -> None:
        """Notes that a token was asked for."""
        with self._lock:
            self._requests[way] += 1

    def issue(self, identity: Identity, resource: str = RESOURCE) -> str:
        """A token for this identity, without asking for proof; the endpoints and tests use it."""
        token = secrets.token_urlsafe(40)
        with self._lock:
            self._tokens[token] = Token(
                identity=identity, resource=resource, expires=self.clock() + self.lifetime
            )
        return token

    def verify(self, token: str) -> Identity | None:
        """Whose token this is; None when it is none, expired, or for another resource than Key Vault's."""
        with self._lock:
            found = self._tokens.get(token)
        if found is None or found.expires <= self.clock() or found.resource != RESOURCE:
            return None
        return found.identity

    def revoke_tokens(self) -> None:
        """No token issued so far is good any more."""
        with self._lock:
            self._tokens.clear()

    def token_for(self, tenant: str, form: Mapping[str, str], audience: str) -> Mapping[str, Any]:
        """The answer to a client_credentials request, or TokenRefusedError."""
        self.count("client_secret" if "client_secret" in form else "client_assertion")
        if tenant != self.tenant:
            raise TokenRefusedError(400, "invalid_request", 90002, f"Tenant '{tenant}' not found.")
        if form.get("grant_type") != "client_credentials":
            raise TokenRefusedError(
                400, "unsupported_grant_type", 70003, "The grant type is not served here."
            )
        identity = self._identity(form.get("client_id", ""))
        self._check_proof(identity, form, audience)
        resource, separator, scope = form.get("scope", "").rpartition("/")
        if not separator or scope != ".default":
            raise TokenRefusedError(400, "invalid_scope", 1002012, "The scope has to end with /.default.")
        seconds = int(self.lifetime)
        issued = self.issue(identity, resource.rstrip("/"))
        return {
            "token_type": "Bearer",
            "expires_in": seconds,
            "ext_expires_in": seconds,
            "access_token": issued,
        }

    def _identity(self, client_id: str) -> Identity:
        with self._lock:
            identity = self._identities.get(client_id)
        if identity is None:
            text = f"Application with identifier '{client_id}' was not found in the directory."
            raise TokenRefusedError(400, "unauthorized_client", 700016, text)
        return identity

    def _check_proof(self, identity: Identity, form: Mapping[str, str], audience: str) -> None:
        match form:
            case {"client_secret": given}:
                if not secrets.compare_digest(given.encode(), identity.client_secret.encode()):
                    raise TokenRefusedError(401, "invalid_client", 7000215, "Invalid client secret provided.")
            case {"client_assertion": assertion, "client_assertion_type": kind} if kind == JWT_BEARER:
                self._check_assertion(identity, assertion, audience)
            case _:
                text = "The request body must contain 'client_assertion' or 'client_secret'."
                raise TokenRefusedError(401, "invalid_client", 7000218, text)

    def _check_assertion(self, identity: Identity, assertion: str, audience: str) -> None:
        with self._lock:
            certificates = tuple(self._certificates.get(identity.client_id, ()))
            federated = self._federated.get(identity.client_id)
        if federated is not None and federated(assertion):
            return
        if any(is_signed_by(each, assertion, identity.client_id, audience) for each in certificates):
            return
        if federated is not None and not certificates:
            text = "No matching federated identity record found for presented assertion."
            raise TokenRefusedError(400, "invalid_client", 70021, text)
        raise TokenRefusedError(
            401, "invalid_client", 700027, "Client assertion failed signature validation."
        )
