"""How to log in to Azure, and which key vault, as the configuration says it.

Apart from `clients.azure` so that a configuration can be read without loading the client library.
What a workload's or a managed identity leaves out here, azure-identity itself takes from the
environment that Azure's webhook or platform injects (AZURE_CLIENT_ID, IDENTITY_ENDPOINT, ...).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, StrictBool, StrictStr, model_validator

from backends.clients.client_options import ClientOptions, ServerOptions
from backends.clients.references import Credential

CLOUDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "AzurePublic": "https://login.microsoftonline.com",
        "AzureGovernment": "https://login.microsoftonline.us",
        "AzureChina": "https://login.chinacloudapi.cn",
    }
)
"""Names for `authority`, and the login endpoints they stand for."""

_HOST: Final = r"(?:[A-Za-z0-9](?:[-.A-Za-z0-9]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
_ORIGIN: Final = re.compile(rf"https://{_HOST}(?::[0-9]{{1,5}})?/?", re.ASCII | re.IGNORECASE)
_TENANT: Final = re.compile(r"[-.0-9A-Za-z]+", re.ASCII)


def _vault_url(url: str) -> str:
    if not _ORIGIN.fullmatch(url):
        raise ValueError("should be an https address, host only, such as https://example.vault.azure.net")
    return url.rstrip("/").lower()


def _authority(text: str) -> str:
    if text not in CLOUDS and not _ORIGIN.fullmatch(text):
        raise ValueError(f"should be one of {', '.join(CLOUDS)}, or an https address without a path")
    return text.rstrip("/")


def _tenant(text: str) -> str:
    if not _TENANT.fullmatch(text):
        raise ValueError("should be the id or the domain of a tenant")
    return text


Text = Annotated[StrictStr, Field(min_length=1)]
Tenant = Annotated[StrictStr, AfterValidator(_tenant)]


class AzureAuth(ClientOptions):
    """Base of the ways to log in."""


class WorkloadIdentityAuth(AzureAuth):
    """A federated identity of the pod. What is left out is taken from what Azure's webhook injects."""

    method: Literal["workload-identity"]
    """How to log in; the other settings here belong to that."""
    tenant_id: Tenant | None = None
    """Tenant of the identity. Default: AZURE_TENANT_ID."""
    client_id: Text | None = None
    """Client id of the identity. Default: AZURE_CLIENT_ID."""
    token_file: Path | None = None
    """File with the service account's token; read at each login. Default: AZURE_FEDERATED_TOKEN_FILE."""


class ManagedIdentityAuth(AzureAuth):
    """The identity of the machine: a user-assigned one, or (neither id given) the system's."""

    method: Literal["managed-identity"]
    """How to log in; the other settings here belong to that."""
    client_id: Text | None = None
    """Client id of a user-assigned identity."""
    resource_id: Text | None = None
    """Resource id of a user-assigned identity (`/subscriptions/...`), instead of its client id."""

    @model_validator(mode="after")
    def _one_identity(self) -> Self:
        if self.client_id is not None and self.resource_id is not None:
            raise ValueError("takes clientId or resourceId, and not both")
        return self


class ClientSecretAuth(AzureAuth):
    """An application with a secret."""

    method: Literal["client-secret"]
    """How to log in; the other settings here belong to that."""
    tenant_id: Tenant
    """Tenant of the application."""
    client_id: Text
    """Client id of the application."""
    client_secret: Credential
    """Secret of the application."""


class ClientCertificateAuth(AzureAuth):
    """An application with a certificate."""

    method: Literal["client-certificate"]
    """How to log in; the other settings here belong to that."""
    tenant_id: Tenant
    """Tenant of the application."""
    client_id: Text
    """Client id of the application."""
    certificate: Path
    """PEM or PKCS #12 file with the certificate and its RSA key. Read anew after a refused login."""
    password: Credential | None = None
    """Password of that file, where it has one."""


class AzureCliAuth(AzureAuth):
    """Whoever is logged in to the `az` command. For trying things out."""

    method: Literal["azure-cli"]
    """How to log in; the other settings here belong to that."""
    tenant_id: Tenant | None = None
    """Tenant to get a token from. Default: the command's."""


AnyAuth = WorkloadIdentityAuth | ManagedIdentityAuth | ClientSecretAuth | ClientCertificateAuth | AzureCliAuth


class AzureOptions(ServerOptions):
    """Which vault, and as whom."""

    vault_url: Annotated[StrictStr, AfterValidator(_vault_url)]
    """Address of the vault, such as `https://example.vault.azure.net`."""
    auth: Annotated[AnyAuth, Field(discriminator="method")]
    """How to log in."""
    authority: Annotated[StrictStr, AfterValidator(_authority)] | None = None
    """Where to log in: AzurePublic, AzureGovernment, AzureChina, or the https address of a login endpoint.
    Default: AZURE_AUTHORITY_HOST, which Azure's webhook injects, else AzurePublic."""
    ca_file: Path | None = None
    """PEM file of certificate authorities to trust beside the system's, for the vault and the login."""
    verify_challenge_resource: StrictBool = True
    """Demands that the vault asks for a token of its own domain. Off only for a vault under a name of
    one's own, such as a private endpoint's: whoever answers there gets a token for any vault."""
    disable_instance_discovery: StrictBool = False
    """Does not ask the public cloud whether it knows the authority; for a private cloud's."""

    @property
    def authority_url(self) -> str | None:
        """The login endpoint; None: azure-identity's own default."""
        return None if self.authority is None else CLOUDS.get(self.authority, self.authority)
