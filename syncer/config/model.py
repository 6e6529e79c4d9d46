"""What a configuration file comes to: plain frozen values for the rest of the program.

Paths are absolute, references to the environment and to files are resolved, and nothing here
knows pydantic except through a sink's own options, which only that sink reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from backends.clients.azure_options import AzureOptions
from backends.clients.kubernetes_options import KubernetesOptions
from backends.clients.vault_options import VaultOptions
from backends.contract import SinkKind
from backends.secret_value import SecretValue
from syncer.core.model import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesystemSecretsConfig:
    """Porter's built-in `filesystem` secrets plugin."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesSecretsConfig:
    """Porter's `kubernetes.secrets` plugin."""

    namespace: str
    connection: KubernetesOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultSecretsConfig:
    """Porter's `hashicorp.vault` plugin."""

    path_prefix: str
    connection: VaultOptions = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureSecretsConfig:
    """Porter's `azure.keyvault` plugin."""

    connection: AzureOptions = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSecretsConfig:
    """No secret store: sensitive outputs cannot be resolved."""


SecretsConfig = (
    FilesystemSecretsConfig
    | KubernetesSecretsConfig
    | VaultSecretsConfig
    | AzureSecretsConfig
    | NoSecretsConfig
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MongoSourceConfig:
    """Porter's database."""

    url: SecretValue
    """UTF-8 text. Secret, because it usually holds a password."""
    ca_file: Path | None
    id: str | None
    """What marks name as their source; None: derived from the URL."""
    secrets: SecretsConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpSourceConfig:
    """A mongodump folder."""

    path: Path
    id: str | None
    """What marks name as their source; None: derived from the path."""
    secrets: SecretsConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class PorterSourceConfig:
    """Whatever Porter's own configuration names."""

    home: Path
    context: str | None
    """None: the current one."""
    id: str | None
    environ: Mapping[str, str] = field(repr=False)
    """For `${env.NAME}` in Porter's configuration. Holds secrets."""


SourceConfig = MongoSourceConfig | DumpSourceConfig | PorterSourceConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkConfig:
    """One configured sink. `options` is an instance of `kind.options`."""

    name: str
    kind: SinkKind
    options: BaseModel = field(repr=False)
    writes_per_second: int | None = None
    """None: as many as the sink takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseElectionConfig:
    """Election by a Lease. Durations are seconds."""

    namespace: str
    name: str
    lease_duration: float
    renew_deadline: float
    retry_period: float
    connection: KubernetesOptions = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileElectionConfig:
    """Election by a locked file."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class NoElectionConfig:
    """No election."""


ElectionConfig = LeaseElectionConfig | FileElectionConfig | NoElectionConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryConfig:
    """What a running process tells."""

    listen: str | None
    """`HOST:PORT`, None for nothing."""
    events: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """PEM files of the API."""

    certificate: Path
    key: Path
    client_ca: Path | None
    """None: client certificates are not asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesAccessConfig:
    """Callers of the API are users of a cluster."""

    audience: str
    namespaces: Mapping[str, str]
    """Porter namespace to that of Kubernetes in which rights are looked up; others stay themselves."""
    connection: KubernetesOptions = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateClientConfig:
    """One caller of the API, by the common name of its certificate."""

    name: str
    namespaces: tuple[str, ...]
    sensitive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificatesAccessConfig:
    """Callers of the API are named one by one."""

    clients: tuple[CertificateClientConfig, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopbackAccessConfig:
    """Whoever connects from this machine is a caller of the API."""

    sensitive: bool


AccessConfig = KubernetesAccessConfig | CertificatesAccessConfig | LoopbackAccessConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiConfig:
    """The gRPC API."""

    enabled: bool
    """Whether `syncer run` serves it."""
    listen: str
    """`HOST:PORT`."""
    tls: TlsConfig | None
    access: AccessConfig
    porter_service: bool
    porter_service_sensitive: bool
    reflection: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything one configuration file says. Durations are seconds."""

    path: Path
    policy: Policy
    source: SourceConfig
    sinks: tuple[SinkConfig, ...]
    poll_interval: float
    deletion_check_interval: float
    resync_interval: float
    election: ElectionConfig
    telemetry: TelemetryConfig
    api: ApiConfig
    files: tuple[Path, ...]
    """Every path the file names, itself included: what has to be read again when it changes."""
