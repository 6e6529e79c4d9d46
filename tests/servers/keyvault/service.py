"""One vault's HTTP service: who asks, may they, what do they ask, and the answer as JSON.

key-vault/general/authentication-requests-and-responses: without a token, or with one that is not accepted, 401
with a WWW-Authenticate that names the authority and the resource; JSON both ways. Order, headers and texts of the
401 are those of the SDK's recorded answers. key-vault/general/rest-error-codes: 403 for a caller without the
permission; its body is that of access policies (AccessDenied, as in common-error-codes) or of Azure RBAC
(ForbiddenByRbac, github.com/piyushsachdeva/Terraform_AKS/issues/2).

Assumed: authentication is checked first, then the address, the limits, the permission, and the body last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from threading import RLock

from aiohttp import web

from tests.servers.keyvault import requests, wire
from tests.servers.keyvault.endpoint import answered
from tests.servers.keyvault.faults import Arrival, Faults
from tests.servers.keyvault.journal import Journal, Request
from tests.servers.keyvault.model import Operation, VaultError
from tests.servers.keyvault.throttle import Throttle
from tests.servers.keyvault.tokens import PERMISSION_OF, RESOURCE, Entra, Identity
from tests.servers.keyvault.vault import VaultState

_HEADERS = {
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
    "Expires": "-1",
    "Strict-Transport-Security": "max-age=31536000;includeSubDomains",
    "X-Content-Type-Options": "nosniff",
}


class VaultService:
    """Answers for one vault; its address is known once its endpoint listens."""

    def __init__(
        self, state: VaultState, entra: Entra, throttle: Throttle, authority: Callable[[], str]
    ) -> None:
        self.url = ""
        self.state = state
        self.lock = RLock()
        self.faults = Faults()
        self.journal = Journal(state.clock)
        self.throttle = throttle
        self.rbac = False
        """Which words a missing permission is refused with: Azure RBAC's or those of access policies."""
        self.permitted: dict[str, frozenset[str]] = {}
        """Permissions that hold in this vault instead of the identity's own, by client id."""
        self._entra = entra
        self._authority = authority

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        call, identity = requests.call_of(request.method, request.path), self._identity(request)
        client_id = None if identity is None else identity.client_id
        at = self.journal.arrived(call.operation) if identity else self.state.clock()
        applied = False

        def apply() -> web.Response:
            nonlocal applied
            applied = True
            return self._response(identity, call, request.query, body)

        action = self.faults.take(Arrival(call.operation, call.name, client_id))
        response = await answered(request, action, apply)
        status = None if response is None else response.status
        self.journal.done(Request(at, request.method, call.operation, call.name, client_id, status, applied))
        return web.Response() if response is None else response  # nobody is there to read an empty one

    def _identity(self, request: web.BaseRequest) -> Identity | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return self._entra.verify(token.strip()) if scheme.lower() == "bearer" else None

    def _response(
        self, identity: Identity | None, call: requests.Call, query: Mapping[str, str], body: bytes
    ) -> web.Response:
        with self.lock:
            try:
                answer = self._answer(identity, call, query, body)
            except VaultError as refusal:
                return _json(wire.error(refusal), refusal.status, refusal.headers)
            self.journal.wrote(call.operation)
        return web.Response(status=204, headers=_HEADERS) if answer is None else _json(answer)

    def _answer(
        self, identity: Identity | None, call: requests.Call, query: Mapping[str, str], body: bytes
    ) -> wire.Body | None:
        if identity is None:
            raise self._unauthorized()
        requests.check_call(call, query)
        self.throttle.admit(call.operation)
        self._check_permission(identity, call)
        if call.name is None:
            return self._list(call.operation, query)
        match call.operation:
            case Operation.VERSIONS:
                return self._versions(call.name, query)
            case Operation.SET | Operation.GET | Operation.UPDATE:
                return self._version(call, call.name, body)
        return self._deletion(call.operation, call.name)

    def _version(self, call: requests.Call, name: str, body: bytes) -> wire.Body:
        rules = self.state.rules
        match call.operation:
            case Operation.SET:
                secret = self.state.set(name, requests.new_version(body, rules))
                version = secret.latest
            case Operation.UPDATE:
                secret, version = self.state.update(name, call.version, requests.changes(body, rules))
            case _:
                secret, version = self.state.get(name, call.version)
        with_value = call.operation is not Operation.UPDATE
        return wire.bundle(self.url, secret, version, rules, with_value=with_value)

    def _deletion(self, operation: Operation, name: str) -> wire.Body | None:
        match operation:
            case Operation.DELETE:
                secret = self.state.delete(name)
            case Operation.GET_DELETED:
                secret = self.state.get_deleted(name)
            case Operation.RECOVER:
                secret = self.state.recover(name)
            case _:
                self.state.purge(name)
                return None
        return wire.bundle(self.url, secret, secret.latest, self.state.rules, with_value=False)

    def _list(self, operation: Operation, query: Mapping[str, str]) -> wire.Body:
        after, size = wire.skipped_to(query), requests.page_size(query, self.state.rules)
        deleted = operation is Operation.LIST_DELETED
        found, more = (self.state.listed_deleted if deleted else self.state.listed)(after, size)
        items = [wire.item(self.url, secret, self.state.rules) for secret in found]
        address = f"{self.url}/{'deletedsecrets' if deleted else 'secrets'}"
        return wire.page(
            items, wire.next_link(address, query, found[-1].name.lower(), size) if more else None
        )

    def _versions(self, name: str, query: Mapping[str, str]) -> wire.Body:
        after, size = wire.skipped_to(query), requests.page_size(query, self.state.rules)
        secret, versions = self.state.versions(name)
        left = [version for version in versions if version.version > after]
        items = [wire.version_item(self.url, secret, each, self.state.rules) for each in left[:size]]
        address = f"{self.url}/secrets/{secret.name}/versions"
        more = len(left) > size
        return wire.page(
            items, wire.next_link(address, query, left[size - 1].version, size) if more else None
        )

    def _unauthorized(self) -> VaultError:
        challenge = f'Bearer authorization="{self._authority()}", resource="{RESOURCE}"'
        message = "AKV10000: Request is missing a Bearer or PoP token."
        return VaultError(401, "Unauthorized", message, headers={"WWW-Authenticate": challenge})

    def _check_permission(self, identity: Identity, call: requests.Call) -> None:
        permission = PERMISSION_OF[call.operation]
        if permission in self.permitted.get(identity.client_id, identity.permissions):
            return
        caller = f"appid={identity.client_id};oid={identity.object_id}"
        if self.rbac:
            message = f"Caller is not authorized to perform action on resource.\r\nCaller: {caller}\r\n"
            raise VaultError(403, "Forbidden", message, "ForbiddenByRbac")
        message = f"The user, group or application '{caller}' does not have secrets {permission} permission."
        raise VaultError(403, "Forbidden", message, "AccessDenied")


def _json(body: wire.Body, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        body=json.dumps(body).encode(),
        content_type="application/json",
        charset="utf-8",
        headers=_HEADERS | dict(headers or {}),
    )
