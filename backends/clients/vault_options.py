"""How to log in to HashiCorp Vault or OpenBao, as the configuration says it.

Apart from `clients.vault` so that a configuration can be read without loading the client library.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StrictBool, StrictStr, model_validator

from backends.clients.client_options import ClientOptions, ServerOptions
from backends.clients.references import Credential

SERVICE_ACCOUNT_TOKEN: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
"""Where the kubelet puts a pod's token."""

_PLACE: Final = re.compile(r"[-_.A-Za-z0-9]+(?:/[-_.A-Za-z0-9]+)*", re.ASCII)


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("should be an address such as https://vault.example:8200")
    extra = (parts.username is not None, parts.query, parts.fragment, parts.path.strip("/"))
    if any(extra) or parts.port == 0:
        raise ValueError("should be scheme, host and port only, such as https://vault.example:8200")
    return url.rstrip("/")


def place(path: str) -> str:
    """A path of mounts or namespaces, without `/` at its ends. Raises `ValueError`."""
    bare = path.strip("/")
    # Vault refuses a path with ".." anywhere in it.
    if not _PLACE.fullmatch(bare) or ".." in bare or "." in bare.split("/"):
        raise ValueError("should be a path of letters, digits, '-', '_' and '.', without empty parts or '..'")
    return bare


Place = Annotated[StrictStr, AfterValidator(place)]
Text = Annotated[StrictStr, Field(min_length=1)]


class VaultAuth(ClientOptions):
    """Base of the ways to log in."""


class MountedAuth(VaultAuth):
    """Base of those that are an auth method of the server."""

    method: str
    mount: Place | None = None
    """Where the auth method is mounted. Default: under its own name."""

    @property
    def at(self) -> str:
        return self.mount or self.method


class TokenAuth(VaultAuth):
    """A token as it is: given, or in a file that somebody else (an agent) keeps fresh."""

    method: Literal["token"]
    """How to log in; the other settings here belong to that."""
    token: Credential | None = None
    """The token. Renewed while it can be."""
    token_file: Path | None = None
    """File with the token; read again when the token is refused or has expired."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.token is None) == (self.token_file is None):
            raise ValueError("needs token or tokenFile, and not both")
        return self


class KubernetesAuth(MountedAuth):
    """A service account of Kubernetes."""

    method: Literal["kubernetes"]
    """How to log in; the other settings here belong to that."""
    role: Text
    """Role of the auth method."""
    token_file: Path = SERVICE_ACCOUNT_TOKEN
    """File with the service account's token; read at each login."""


class AppRoleAuth(MountedAuth):
    """An AppRole."""

    method: Literal["approle"]
    """How to log in; the other settings here belong to that."""
    role_id: Text
    """The role's id, which is no secret."""
    secret_id: Credential | None = None
    """The secret id, where the role is bound to one."""


class JwtAuth(MountedAuth):
    """A JSON web token in a file, such as a workload's identity."""

    method: Literal["jwt"]
    """How to log in; the other settings here belong to that."""
    role: Text
    """Role of the auth method."""
    token_file: Path
    """File with the token; read at each login."""


class UserpassAuth(MountedAuth):
    """A user of Vault's own."""

    method: Literal["userpass"]
    """How to log in; the other settings here belong to that."""
    username: Text
    """Name of the user."""
    password: Credential
    """The user's password."""


class CertAuth(MountedAuth):
    """The client certificate that `clientCertificate` and `clientKey` name."""

    method: Literal["cert"]
    """How to log in; the other settings here belong to that."""
    role: Text | None = None
    """Name of the certificate role. Default: any that fits."""


class LdapAuth(MountedAuth):
    """A user of an LDAP directory. Experimental."""

    method: Literal["ldap"]
    """How to log in; the other settings here belong to that."""
    username: Text
    """Name of the user."""
    password: Credential
    """The user's password."""


class AwsAuth(MountedAuth):
    """Access keys of AWS IAM. Experimental."""

    method: Literal["aws"]
    """How to log in; the other settings here belong to that."""
    role: Text
    """Role of the auth method."""
    access_key: Credential
    """Access key id."""
    secret_key: Credential
    """Secret access key."""
    session_token: Credential | None = None
    """Session token, for temporary keys."""
    region: Text = "us-east-1"
    """Region of the STS endpoint that is signed for."""
    header_value: Text | None = None
    """Value of the server id header that the role may demand."""


class AzureAuth(MountedAuth):
    """An access token of Azure in a file. Experimental."""

    method: Literal["azure"]
    """How to log in; the other settings here belong to that."""
    role: Text
    """Role of the auth method."""
    token_file: Path
    """File with the token; read at each login."""
    subscription_id: Text | None = None
    """Subscription of the virtual machine, where the role is bound to one."""
    resource_group_name: Text | None = None
    """Resource group of the virtual machine."""
    vm_name: Text | None = None
    """Name of the virtual machine."""


class GcpAuth(MountedAuth):
    """A signed token of Google Cloud in a file. Experimental."""

    method: Literal["gcp"]
    """How to log in; the other settings here belong to that."""
    role: Text
    """Role of the auth method."""
    token_file: Path
    """File with the token; read at each login."""


AnyAuth = (
    TokenAuth
    | KubernetesAuth
    | AppRoleAuth
    | JwtAuth
    | UserpassAuth
    | CertAuth
    | LdapAuth
    | AwsAuth
    | AzureAuth
    | GcpAuth
)


class VaultOptions(ServerOptions):
    """Which server, and as whom."""

    address: Annotated[StrictStr, AfterValidator(_address)]
    """Scheme, host and port of the server."""
    namespace: Place | None = None
    """Namespace of the server (Vault Enterprise, OpenBao) that everything is in."""
    ca_file: Path | None = None
    """PEM file of the certificate authorities to trust. Default: the system's."""
    server_name: Text | None = None
    """Name that the server's certificate has to have, where it is not the host of `address`."""
    client_certificate: Path | None = None
    """PEM file of a client certificate, for a server that asks for one and for `auth: {method: cert}`."""
    client_key: Path | None = None
    """PEM file of its key. Default: it is in `clientCertificate`, too."""
    insecure: StrictBool = False
    """Allows an address with http://: values and tokens then travel in clear text."""
    auth: Annotated[AnyAuth, Field(discriminator="method")]
    """How to log in."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if urlsplit(self.address).scheme == "http" and not self.insecure:
            raise ValueError("the address should be https://; http:// needs insecure: true")
        if self.client_key is not None and self.client_certificate is None:
            raise ValueError("clientKey needs clientCertificate")
        if isinstance(self.auth, CertAuth) and self.client_certificate is None:
            raise ValueError("auth with method cert needs clientCertificate")
        return self
