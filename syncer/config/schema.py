"""The configuration file as pydantic models: what may be written, its defaults and meaning.

The text under each setting becomes its description in the JSON Schema. Options of sinks, and
what a target may say for one kind of sink only, belong to that kind (`SinkKind`); they are
extra fields here, validated in `kinds`. Checks that need more than one setting are in `checks`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    Tag,
)

from backends.clients.azure_options import AzureOptions
from backends.clients.kubernetes_options import KubernetesOptions
from backends.clients.references import SecretSetting
from backends.clients.vault_options import Place, VaultOptions
from backends.secret_value import SecretValue
from syncer.config.durations import Duration, DurationOrNone
from syncer.config.process import FileElection, LeaseElection, NoElection, TelemetrySettings
from syncer.config.serving import ApiSettings, CustomResourceSettings
from syncer.config.settings import DnsLabel, Glob, MatchSettings, Name, Settings, Text
from syncer.config.urls import check_literal_text, check_mongodb_url
from syncer.core.model import (
    ConflictPolicy,
    DeletionPolicy,
    KeyStyle,
    OnUninstall,
    Sensitivity,
    UpdatePolicy,
)
from syncer.core.templates import parse_value


def _template(text: str) -> str:
    pieces = parse_value(text).pieces
    check_literal_text("".join(piece for piece in pieces if isinstance(piece, str)))
    return text


# --- source --------------------------------------------------------------------------------


class FilesystemSecrets(Settings):
    """Porter's built-in `filesystem` secrets plugin: a folder with a file for each value."""

    kind: Literal["filesystem"]
    """Which secrets plugin Porter is configured with."""
    path: Path
    """Folder of the files, usually `~/.porter/secrets`. Only read."""


class KubernetesSecrets(KubernetesOptions):
    """Porter's `kubernetes.secrets` plugin: a Secret for each value."""

    kind: Literal["kubernetes"]
    """Which secrets plugin Porter is configured with."""
    namespace: DnsLabel
    """Namespace the plugin keeps its Secrets in. Only read."""


class VaultSecrets(VaultOptions):
    """Porter's `hashicorp.vault` plugin: fields of one KV v2 secret."""

    kind: Literal["vault"]
    """Which secrets plugin Porter is configured with."""
    path_prefix: Place
    """The plugin's `path_prefix`: the mount of the KV engine, and the path of the secret in it. Only read."""


class AzureKeyVaultSecrets(AzureOptions):
    """Porter's `azure.keyvault` plugin: a secret for each value."""

    kind: Literal["azure-keyvault"]
    """Which secrets plugin Porter is configured with."""


class NoSecrets(Settings):
    """No store of Porter's: targets that use a sensitive output are held."""

    kind: Literal["none"]
    """Which secrets plugin Porter is configured with."""


Secrets = Annotated[
    FilesystemSecrets | KubernetesSecrets | VaultSecrets | AzureKeyVaultSecrets | NoSecrets,
    Field(discriminator="kind"),
]


class SourceSettings(Settings):
    """What every kind of source has."""

    id: Name | None = None
    """Name of this source in every mark. Default: derived from where the source is. Give one
    where the same database may be reached under changing names; with another id, what was
    written before is kept and nothing of it is deleted."""
    poll_interval: Duration = 2.0
    """How often new results are looked for. Longer: changes arrive later, the database is
    asked less."""
    deletion_check_interval: Duration = 15.0
    """How often the list of installations is read to find deleted ones."""
    settle_time: DurationOrNone = 30.0
    """How long a succeeded run may take to write all its outputs. Until then its targets wait;
    afterwards they count as incomplete, and keep what they have."""


class MongoSource(SourceSettings):
    """Porter's own database."""

    kind: Literal["mongodb"]
    """Where Porter's data are: its database, a dump of it, or whatever Porter itself uses."""
    url: Annotated[SecretValue, SecretSetting(check_mongodb_url)]
    """MongoDB connection string: text without a password, `{env: NAME}` or `{file: PATH}`.
    Authentication and TLS are set by its options; the database is its path, default `porter`.
    A user that can only read is enough."""
    ca_file: Path | None = None
    """PEM file of the certificate authorities to trust. Default: the system's."""
    secrets: Secrets
    """Where Porter keeps sensitive values."""


class DumpSource(SourceSettings):
    """A folder written by `mongodump`."""

    kind: Literal["dump"]
    """Where Porter's data are: its database, a dump of it, or whatever Porter itself uses."""
    path: Path
    """Folder with `installations.bson` and the other collections of Porter's database."""
    secrets: Secrets
    """Where Porter keeps sensitive values."""


class PorterSource(SourceSettings):
    """The database and the secret store that Porter's own configuration names."""

    kind: Literal["porter"]
    """Where Porter's data are: its database, a dump of it, or whatever Porter itself uses."""
    home: Path | None = None
    """Porter's home folder. Default: the environment variable PORTER_HOME, else `~/.porter`."""
    context: Text | None = None
    """Context of Porter's configuration. Default: the environment variable PORTER_CONTEXT, else
    its current one."""


# --- sinks ---------------------------------------------------------------------------------


class SinkEntry(Settings):
    """A place secrets are written to, and what its kind needs to know."""

    model_config = ConfigDict(extra="allow")

    max_writes_per_second: Annotated[StrictInt, Field(ge=1)] | None = None
    """How many secrets `syncer run` writes there in a second at most. Default: as many as it takes."""
    name: Name
    """How targets, and the addresses in `plan`, call this sink. Unique."""
    kind: Text
    """Which kind of sink it is; the other settings here are that kind's."""


# --- rules ---------------------------------------------------------------------------------


class OutputSettings(Settings):
    """Which outputs of a matching installation a rule takes."""

    include: Annotated[tuple[Glob, ...], Field(min_length=1)] = ("*",)
    """Globs of output names to take. Default: all."""
    exclude: tuple[Glob, ...] = ()
    """Globs of output names to leave out of those. Default: none."""
    sensitivity: Sensitivity = Sensitivity.ANY
    """`sensitive` or `plain` takes only such outputs; `any` both."""


class KeyTemplate(Settings):
    """A key composed of text and outputs."""

    template: Annotated[Text, AfterValidator(_template)]
    """Text with `{output}` or `{output|filter|filter}`; filters: base64, urlencode, json, trim,
    upper, lower, pointer:/a/b. A literal brace is doubled."""


def _key_form(given: object) -> str | None:
    if isinstance(given, str):
        return "an-output"
    return "a-template" if isinstance(given, dict) else None


KeyEntry = Annotated[
    Annotated[Text, Tag("an-output")] | Annotated[KeyTemplate, Tag("a-template")],
    Discriminator(
        _key_form,
        custom_error_type="key",
        custom_error_message="should be the name of an output or {template: TEXT}",
    ),
]


class TargetEntry(Settings):
    """Where a rule's outputs go, and in which shape.

    The settings named here are for every kind of sink; the rest belong to the sink's kind.
    """

    model_config = ConfigDict(extra="allow")

    sink: Text
    """Name of one of the `sinks`."""
    keys: Annotated[dict[Text, KeyEntry], Field(min_length=1)] | None = None
    """The keys of the secret, each with the output it holds or a template. Default: every
    output the rule takes, under its own name."""
    key_style: KeyStyle = KeyStyle.RAW
    """`upper-snake` turns `db-host` into `DB_HOST`, as environment variables are named. What
    `keys` names stays as it is."""
    update_policy: UpdatePolicy = UpdatePolicy.REPLACE
    """`IfNotExists` writes a secret once and never changes it afterwards."""
    conflict_policy: ConflictPolicy = ConflictPolicy.REFUSE
    """`Adopt` takes over a secret that somebody else wrote; `Refuse` leaves it and reports it."""


class RuleSettings(Settings):
    """Which outputs of which installations go where. Every rule that matches applies."""

    name: Name
    """Name of the rule, in marks and reports. Unique; another name is another rule."""
    match: MatchSettings = Field(default_factory=MatchSettings)
    """Which installations the rule is for. Default: all."""
    outputs: OutputSettings = Field(default_factory=OutputSettings)
    """Which of their outputs. Default: all."""
    carry_over: StrictBool = True
    """Whether an output that the latest succeeded run did not produce keeps the value of an
    earlier one, as long as the bundle still declares it."""
    on_uninstall: OnUninstall = OnUninstall.DELETE
    """What happens to the secrets of an installation that is uninstalled, but still known to
    Porter: `Delete` removes them, `Retain` leaves them as they are."""
    deletion_policy: DeletionPolicy = DeletionPolicy.DELETE
    """What happens to the secrets of an installation that Porter no longer knows."""
    prune: StrictBool = False
    """Whether secrets that this rule wrote and no longer wants, since the configuration was
    changed, are removed. Otherwise they are kept and reported as orphaned."""
    targets: Annotated[tuple[TargetEntry, ...], Field(min_length=1)]
    """Where the outputs go."""


# --- the whole -----------------------------------------------------------------------------


class GuardSettings(Settings):
    """When deletions are too many to be believed."""

    max_deletions: Annotated[StrictInt, Field(ge=0)] = 5
    """More deleted installations than this, and than `maxDeletionPercent`, are held until
    `syncer gc --approve`."""
    max_deletion_percent: Annotated[StrictInt, Field(ge=0, le=100)] = 20
    """The same as a percentage of the installations that have secrets; the larger of the two
    counts."""
    grace: DurationOrNone = 10.0
    """Time between the two looks at the source that prove that an installation is gone."""


class ConfigFile(Settings):
    """Configuration of porter-outputs-syncer."""

    instance: Name
    """Name of this instance, written into every mark. Two instances never touch each other's
    secrets; with another name, what was written before is somebody else's."""
    namespaces: dict[StrictStr, DnsLabel] = Field(default_factory=dict)
    """Porter namespace to what `{namespace}` becomes, a Kubernetes namespace. One that is not
    listed stays itself; "" is the global one and has to be mapped where a sink needs it."""
    source: Annotated[MongoSource | DumpSource | PorterSource, Field(discriminator="kind")]
    """Where installations and their outputs are read."""
    sinks: Annotated[tuple[SinkEntry, ...], Field(min_length=1)]
    """The places secrets are written to."""
    rules: Annotated[tuple[RuleSettings, ...], Field(min_length=1)]
    """Which outputs of which installations go where."""
    guard: GuardSettings = Field(default_factory=GuardSettings)
    """When deletions are held."""
    resync_interval: Duration = 600.0
    """How often everything is compared with the sinks, to repair what others changed there."""
    leader_election: Annotated[LeaseElection | FileElection | NoElection, Field(discriminator="kind")] = (
        Field(default_factory=lambda: FileElection(kind="file"))
    )
    """How several processes of `syncer run` agree on the one that writes. Default: by a file."""
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)
    """What `syncer run` tells about itself."""
    api: ApiSettings = Field(default_factory=ApiSettings)
    """The gRPC API of outputs."""
    custom_resources: CustomResourceSettings = Field(default_factory=CustomResourceSettings)
    """InstallationOutputs resources in Kubernetes."""
