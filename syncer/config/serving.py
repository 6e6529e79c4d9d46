"""The part of the configuration file about those who read from us: callers of the API, and of Kubernetes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, StrictBool, StrictStr, model_validator

from backends.clients.kubernetes_options import KubernetesOptions
from syncer.config.process import ADDRESS_PATTERN
from syncer.config.settings import MatchSettings, Settings, Text, glob

_LOOPBACK: Final = ("127.", "localhost:", "[::1]:")
_DEFAULT_AUDIENCES: Final = ("https://kubernetes.default.svc", "kubernetes", "api")


def _own_audience(audience: str) -> str:
    if audience in _DEFAULT_AUDIENCES or audience.startswith("https://kubernetes.default.svc"):
        raise ValueError("is the API server's own audience: a token for us would open everything there")
    return audience


class TlsSettings(Settings):
    """Certificates of the API; the files are read again when they change."""

    certificate: Path
    """PEM file of the certificate that callers see, with the ones between it and its authority."""
    key: Path
    """PEM file of its private key."""
    client_ca: Path | None = None
    """PEM file of the authorities whose client certificates are accepted. Default: none are."""


class KubernetesAccess(KubernetesOptions):
    """Callers show tokens of a Kubernetes cluster, or client certificates, and its RBAC decides."""

    kind: Literal["kubernetes"]
    """Who decides who may read what: a cluster (`kubernetes`), this file (`certificates`), or nobody
    (`loopback`)."""
    audience: Annotated[Text, AfterValidator(_own_audience)] = "porter-outputs-syncer"
    """What a token must have been issued for: `audience` of the projected service account token."""


class CertificateClient(Settings):
    """One caller, known by its certificate."""

    name: Text
    """Common name of its certificate."""
    namespaces: Annotated[tuple[Annotated[StrictStr, AfterValidator(glob)], ...], Field(min_length=1)]
    """Globs of the Porter namespaces it may read; "" is the global one, "*" all of them at once."""
    sensitive: StrictBool = False
    """Whether it may read sensitive values."""


class CertificatesAccess(Settings):
    """Callers show client certificates, and this file says what each may read."""

    kind: Literal["certificates"]
    """Who decides who may read what: a cluster (`kubernetes`), this file (`certificates`), or nobody
    (`loopback`)."""
    clients: Annotated[tuple[CertificateClient, ...], Field(min_length=1)]
    """Who may call; nobody else does."""


class LoopbackAccess(Settings):
    """Whoever can connect from this machine, or this pod, may read."""

    kind: Literal["loopback"]
    """Who decides who may read what: a cluster (`kubernetes`), this file (`certificates`), or nobody
    (`loopback`)."""
    sensitive: StrictBool = False
    """Whether sensitive values, too."""


class PorterServiceSettings(Settings):
    """The service that Porter itself has, for what was written for that: its operator."""

    enabled: StrictBool = True
    """Whether it is served beside our own."""
    sensitive: StrictBool = False
    """Whether it answers sensitive values, to callers who may read them; a caller cannot ask for them
    there, it gets them or does not."""


class ApiSettings(Settings):
    """The gRPC API; `syncer api` serves it alone, whatever `enabled` says."""

    enabled: StrictBool = False
    """Whether `syncer run` serves it."""
    listen: Annotated[StrictStr, Field(pattern=ADDRESS_PATTERN)] = "127.0.0.1:3001"
    """Address and port, such as `0.0.0.0:3001`. Beyond this machine only with `tls`."""
    tls: TlsSettings | None = None
    """Certificates. Default: plain text, for this machine only."""
    access: Annotated[KubernetesAccess | CertificatesAccess | LoopbackAccess, Field(discriminator="kind")] = (
        Field(default_factory=lambda: LoopbackAccess(kind="loopback"))
    )
    """Who may read what. Default: whoever is on this machine, but no sensitive value."""
    porter_service: PorterServiceSettings = Field(default_factory=PorterServiceSettings)
    """The service `porter.v1alpha1.Porter`."""
    reflection: StrictBool = False
    """Whether clients may ask for the protos; they are no secret, and few clients need to."""

    @model_validator(mode="after")
    def _closed_to_strangers(self) -> Self:
        here = self.listen.startswith(_LOOPBACK)
        if not here and self.tls is None:
            raise ValueError("listens beyond this machine, and so needs tls")
        if not here and isinstance(self.access, LoopbackAccess):
            raise ValueError("listens beyond this machine, and so needs access of another kind than loopback")
        if isinstance(self.access, CertificatesAccess) and (self.tls is None or self.tls.client_ca is None):
            raise ValueError("has access by certificates, and so needs tls with clientCa")
        return self


class CustomResourceSettings(Settings):
    """InstallationOutputs: one resource for each installation, with its outputs and how they are kept."""

    enabled: StrictBool = False
    """Whether they are written. The CRD has to be installed."""
    sink: Text | None = None
    """Name of the sink of kind `kubernetes` in whose cluster and namespaces they are, and whose Secrets
    they refer to. Default: the only one there is."""
    match: MatchSettings = Field(default_factory=MatchSettings)
    """For which installations. Default: all."""
