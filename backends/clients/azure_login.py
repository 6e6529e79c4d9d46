"""Tokens of Microsoft Entra: every way to log in, through azure-identity, with errors of our own.

Waits nowhere and retries nothing: whoever calls knows better. Reads no environment; azure-identity
does, for what workload's and managed identities are left to find there.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self, assert_never

from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions
from azure.core.credentials_async import AsyncSupportsTokenInfo
from azure.core.pipeline import PipelineRequest
from azure.identity.aio import (
    AzureCliCredential,
    CertificateCredential,
    ClientSecretCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)

from backends.clients.azure_options import (
    AzureCliAuth,
    AzureOptions,
    ClientCertificateAuth,
    ClientSecretAuth,
    ManagedIdentityAuth,
    WorkloadIdentityAuth,
)
from backends.clients.azure_transport import LoginTransport
from backends.errors import AuthenticationFailed, SinkError

_NO_RETRIES: Final[Mapping[str, Any]] = {"retry_total": 0, "retry_status": 0, "permit_redirects": False}

_FORGETTING_PAUSE: Final = 10.0
"""Seconds in which a token is dropped only once, however many requests it is refused for."""


class Login:
    """A credential for the SDK that raises `SinkError`s and asks for one token at a time.

    Made with the options' credential: raises `AuthenticationFailed` where what it takes is not there.
    """

    def __init__(self, options: AzureOptions, transport: LoginTransport, clock: Callable[[], float]) -> None:
        self._options = options
        self._transport = transport
        self._clock = clock
        self._turn = asyncio.Lock()
        self._failed: tuple[float, SinkError] | None = None
        self._forgotten = -math.inf
        self._credential: AsyncSupportsTokenInfo | None = self._new_credential()

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        """A token, cached while it is good. Raises `AuthenticationFailed` or `SinkUnavailable`."""
        asked = self._clock()
        async with self._turn:
            if self._failed is not None and self._failed[0] >= asked:
                raise self._again(self._failed[1])
            try:
                return await self._token(scopes, self._in_our_tenant(options or {}))
            except SinkError as error:
                self._failed = self._clock(), error
                raise

    async def get_token(
        self, *scopes: str, claims: str | None = None, tenant_id: str | None = None, **_: Any
    ) -> AccessToken:
        """The same in the SDK's older form."""
        options = TokenRequestOptions()
        if claims is not None:
            options["claims"] = claims
        if tenant_id is not None:
            options["tenant_id"] = tenant_id
        info = await self.get_token_info(*scopes, options=options)
        return AccessToken(info.token, info.expires_on)

    def forget(self, since: float) -> bool:
        """Drop every cached token: the vault refused one, to a request sent at `since` (by the clock).

        azure-identity would give the same one out until it expires. Whether there is another by now than
        that request had; False: tokens are being refused, however new they are.
        """
        now = self._clock()
        if now >= self._forgotten + _FORGETTING_PAUSE:
            self._credential, self._forgotten = None, now
        return self._forgotten >= since

    async def close(self) -> None:
        """Nothing is left open: the transport is its maker's."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        return None

    def _in_our_tenant(self, options: TokenRequestOptions) -> TokenRequestOptions:
        """Without the tenant that the vault names: whom a secret or an assertion is sent to is configured.

        Only `az` has no tenant of its own here, unless it is given one.
        """
        match self._options.auth:
            case AzureCliAuth(tenant_id=None):
                return options
            case _:
                ours = options.copy()
                ours.pop("tenant_id", None)
                return ours

    async def _token(self, scopes: tuple[str, ...], options: TokenRequestOptions) -> AccessTokenInfo:
        if self._credential is None:
            self._credential = self._new_credential()
        self._transport.begin()
        try:
            return await self._credential.get_token_info(*scopes, options=options)
        except Exception:  # noqa: BLE001  # the libraries raise anything, and their texts quote answers
            failure = self._transport.outcome or AuthenticationFailed(
                f"no login by {self._options.auth.method}: what it takes is not there"
            )

        if isinstance(failure, AuthenticationFailed):
            self._credential = None  # a certificate may have been replaced: read it again
        raise failure

    def _again(self, failure: SinkError) -> SinkError:
        """Who waited while somebody else's login failed shares its outcome."""
        return type(failure)(failure.reason, retry_after=failure.retry_after)

    def _new_credential(self) -> AsyncSupportsTokenInfo:
        try:
            return _credential(self._options, self._transport)
        except Exception as error:  # noqa: BLE001  # a malformed certificate raises anything
            reason = f"no login by {self._options.auth.method}: {_missing_part(self._options)}"
            raise AuthenticationFailed(f"{reason} ({type(error).__name__})") from None


def _credential(options: AzureOptions, transport: LoginTransport) -> AsyncSupportsTokenInfo:
    common: dict[str, Any] = {**_NO_RETRIES, "transport": transport}
    entra = common | {"disable_instance_discovery": options.disable_instance_discovery}
    if options.authority_url is not None:
        entra |= {"authority": options.authority_url}
    match options.auth:
        case WorkloadIdentityAuth(tenant_id=tenant, client_id=client, token_file=path):
            file = None if path is None else str(path)
            return WorkloadIdentityCredential(
                tenant_id=tenant, client_id=client, token_file_path=file, **entra
            )
        case ManagedIdentityAuth(client_id=client, resource_id=resource):
            if resource is not None:
                common |= {"identity_config": {"resource_id": resource}, "raw_request_hook": _name_resource}
            return ManagedIdentityCredential(client_id=client, **common)
        case ClientSecretAuth(tenant_id=tenant, client_id=client, client_secret=secret):
            return ClientSecretCredential(tenant, client, secret.reveal().decode(), **entra)
        case ClientCertificateAuth(tenant_id=tenant, client_id=client, certificate=path, password=password):
            opened = {} if password is None else {"password": password.reveal()}
            return CertificateCredential(tenant, client, str(path), **opened, **entra)
        case AzureCliAuth(tenant_id=tenant):
            return AzureCliCredential(
                tenant_id=tenant or "", process_timeout=int(options.request_timeout) or 1
            )
        case _:
            assert_never(options.auth)


def _missing_part(options: AzureOptions) -> str:
    match options.auth:
        case ClientCertificateAuth(certificate=path):
            return f"the certificate {str(path)!r} cannot be used"
        case WorkloadIdentityAuth():
            return "tenantId, clientId and tokenFile are neither given nor in the environment"
        case _:
            return "its settings cannot be used"


def _name_resource(request: PipelineRequest[Any]) -> None:
    """Virtual machines and App Service call a resource id differently, which the library leaves to us."""
    url = request.http_request.url
    name = "msi_res_id" if "/metadata/identity/" in url else "mi_res_id"
    request.http_request.url = url.replace("&resource_id=", f"&{name}=", 1)
