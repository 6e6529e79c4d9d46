"""The HTTP side of Entra and of managed identities; what is decided stands in `tokens`.

- The token endpoint and its errors: entra/identity-platform/v2-oauth2-client-creds-grant-flow.
- Discovery documents, reduced to what a client looks at: entra/identity-platform/v2-protocols-oidc.
- IMDS: entra/identity/managed-identities-azure-resources/how-to-use-vm-token (Metadata: true, api-version,
  resource, client_id | object_id | msi_res_id; numbers as strings).
- App Service: azure/app-service/overview-managed-identity, "REST endpoint reference" (X-IDENTITY-HEADER;
  client_id | principal_id | mi_res_id).

Managed identities are served over plain HTTP, as in Azure, and take their tokens from the same tenant. Assumed:
the text of IMDS' refusals, and 401 for a wrong X-IDENTITY-HEADER.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from tests.servers.keyvault.endpoint import answered
from tests.servers.keyvault.faults import Arrival, Faults
from tests.servers.keyvault.tokens import Entra, Identity, TokenRefusedError


class EntraService:
    """Operations for faults: "token" (its name is the client id) and "discovery"."""

    def __init__(self, entra: Entra) -> None:
        self.url = ""
        self.faults = Faults(unauthenticated=True)
        self._entra = entra

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        form = dict(parse_qsl(await request.text()))
        operation = "token" if request.path.endswith("/oauth2/v2.0/token") else "discovery"
        action = self.faults.take(Arrival(operation, form.get("client_id"), None))
        response = await answered(request, action, lambda: self._response(request, form))
        return web.Response() if response is None else response

    def _response(self, request: web.BaseRequest, form: Mapping[str, str]) -> web.Response:
        match (request.method, request.path.strip("/").split("/")):
            case ("POST", [tenant, "oauth2", "v2.0", "token"]):
                return self._token(tenant, form)
            case ("GET", [_, "discovery", "instance"]):
                return web.json_response(self._instance())
            case ("GET", [tenant, "v2.0", ".well-known", "openid-configuration"]):
                return web.json_response(self._configuration(tenant))
        return web.json_response({"error": "not_found"}, status=404)

    def _token(self, tenant: str, form: Mapping[str, str]) -> web.Response:
        try:
            answer = self._entra.token_for(tenant, form, f"{self.url}/{tenant}/oauth2/v2.0/token")
        except TokenRefusedError as refusal:
            return web.json_response(refusal.body, status=refusal.status)
        return web.json_response(answer, headers={"Cache-Control": "no-store, no-cache"})

    def _instance(self) -> dict[str, Any]:
        host = self.url.removeprefix("https://")
        names = {"preferred_network": host, "preferred_cache": host, "aliases": [host]}
        endpoint = f"{self.url}/{self._entra.tenant}/v2.0/.well-known/openid-configuration"
        return {"tenant_discovery_endpoint": endpoint, "api-version": "1.1", "metadata": [names]}

    def _configuration(self, tenant: str) -> dict[str, str]:
        base = f"{self.url}/{tenant}"
        return {
            "issuer": f"{base}/v2.0",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
        }


class ManagedIdentityService:
    """IMDS and App Service's endpoint in one; the operation for faults is "managed"."""

    def __init__(self, entra: Entra) -> None:
        self.faults = Faults(unauthenticated=True)
        self.header = secrets.token_urlsafe(24)
        """App Service's IDENTITY_HEADER."""
        self.system: Identity | None = None
        self.users: dict[str, Identity] = {}
        """User-assigned identities by client, object or resource id."""
        self._entra = entra

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        asked = _asked_for(request.query)
        action = self.faults.take(Arrival("managed", asked, None))
        response = await answered(request, action, lambda: self._response(request, asked))
        return web.Response() if response is None else response

    def _response(self, request: web.BaseRequest, asked: str | None) -> web.Response:
        match request.path:
            case "/metadata/identity/oauth2/token":
                if request.headers.get("Metadata") != "true":
                    return _refusal(400, "invalid_request", "Required metadata header not specified")
            case "/msi/token":
                if request.headers.get("X-IDENTITY-HEADER") != self.header:
                    return _refusal(401, "unauthorized_client", "The identity header is not valid")
            case _:
                return _refusal(404, "not_found", "No such address")
        self._entra.count("managed")
        identity = self.system if asked is None else self.users.get(asked)
        if identity is None or not {"api-version", "resource"} <= request.query.keys():
            return _refusal(400, "invalid_request", "Identity not found")
        return web.json_response(self._token(identity, request.query["resource"]))

    def _token(self, identity: Identity, resource: str) -> dict[str, str]:
        return {
            "access_token": self._entra.issue(identity, resource.rstrip("/")),
            "client_id": identity.client_id,
            "expires_in": str(int(self._entra.lifetime)),
            "expires_on": str(int(self._entra.clock() + self._entra.lifetime)),
            "resource": resource,
            "token_type": "Bearer",
        }


def _asked_for(query: Mapping[str, str]) -> str | None:
    names = ("client_id", "object_id", "principal_id", "msi_res_id", "mi_res_id")
    return next((query[name] for name in names if name in query), None)


def _refusal(status: int, error: str, text: str) -> web.Response:
    return web.json_response({"error": error, "error_description": text}, status=status)
