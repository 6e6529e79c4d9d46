"""Turns a checked configuration file into the plain values of `model` and `core.model`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar, assert_never

from pydantic import BaseModel

from backends.clients.azure_options import AzureOptions
from backends.clients.kubernetes_options import KubernetesOptions
from backends.clients.surroundings import Surroundings
from backends.clients.vault_options import VaultOptions
from syncer.config.custom_resources import NAME, beside, custom_resource_rule
from syncer.config.errors import FieldPath
from syncer.config.kinds import CheckedSink, CheckedTarget
from syncer.config.model import (
    AccessConfig,
    ApiConfig,
    AzureSecretsConfig,
    CertificateClientConfig,
    CertificatesAccessConfig,
    Config,
    DumpSourceConfig,
    ElectionConfig,
    FileElectionConfig,
    FilesystemSecretsConfig,
    KubernetesAccessConfig,
    KubernetesSecretsConfig,
    LeaseElectionConfig,
    LoopbackAccessConfig,
    MongoSourceConfig,
    NoElectionConfig,
    NoSecretsConfig,
    PorterSourceConfig,
    SecretsConfig,
    SinkConfig,
    SourceConfig,
    TelemetryConfig,
    TlsConfig,
    VaultSecretsConfig,
)
from syncer.config.process import FileElection, LeaseElection, NoElection
from syncer.config.schema import (
    AzureKeyVaultSecrets,
    ConfigFile,
    DumpSource,
    FilesystemSecrets,
    KeyTemplate,
    KubernetesSecrets,
    MongoSource,
    NoSecrets,
    OutputSettings,
    PorterSource,
    RuleSettings,
    Secrets,
    SinkEntry,
    TargetEntry,
    VaultSecrets,
)
from syncer.config.serving import (
    ApiSettings,
    CertificatesAccess,
    KubernetesAccess,
    LoopbackAccess,
)
from syncer.config.settings import MatchSettings
from syncer.core.model import FromOutput, GuardLimits, KeySource, Match, OutputFilter, Policy, Rule, Target
from syncer.core.templates import parse_value

_PROGRAM: Final = "porter-outputs-syncer"

_Options = TypeVar("_Options", bound=BaseModel)


def build_config(
    path: Path,
    file: ConfigFile,
    sinks: Mapping[str, CheckedSink],
    targets: Mapping[FieldPath, CheckedTarget],
    surroundings: Surroundings,
    *,
    resources: CheckedSink | None,
) -> Config:
    """The configuration of a file without any mistake left in it; paths in `file` are absolute."""
    election = _election(file.leader_election, file.instance, surroundings)
    # NB: a lock file changes with every leader.
    lock = {election.path} if isinstance(election, FileElectionConfig) else set()
    return Config(
        path=path,
        policy=_policy(file, targets, _shown(file, sinks, resources)),
        source=_source(file.source, surroundings),
        sinks=(*(_sink(entry, sinks[entry.name]) for entry in file.sinks), *_resource_sink(resources)),
        poll_interval=file.source.poll_interval,
        deletion_check_interval=file.source.deletion_check_interval,
        resync_interval=file.resync_interval,
        election=election,
        telemetry=TelemetryConfig(listen=file.telemetry.listen, events=file.telemetry.events),
        api=_api(file.api, file.namespaces),
        files=(path, *sorted(surroundings.located - lock)),
    )


def _sink(entry: SinkEntry, sink: CheckedSink) -> SinkConfig:
    assert sink.options is not None
    return SinkConfig(
        name=entry.name,
        kind=sink.kind,
        options=sink.options,
        writes_per_second=entry.max_writes_per_second,
    )


def _resource_sink(sink: CheckedSink | None) -> tuple[SinkConfig, ...]:
    if sink is None:
        return ()
    assert sink.options is not None
    return (SinkConfig(name=NAME, kind=sink.kind, options=sink.options),)


def _shown(
    file: ConfigFile, sinks: Mapping[str, CheckedSink], resources: CheckedSink | None
) -> tuple[Rule, ...]:
    if resources is None:
        return ()
    shown = beside(file.custom_resources, sinks)
    return (custom_resource_rule(_match(file.custom_resources.match), resources, shown),)


# --- the running process -------------------------------------------------------------------


def _election(
    settings: LeaseElection | FileElection | NoElection, instance: str, surroundings: Surroundings
) -> ElectionConfig:
    match settings:
        case LeaseElection():
            return LeaseElectionConfig(
                namespace=settings.namespace,
                name=settings.name or f"{_PROGRAM}-{re.sub('[^a-z0-9]+', '-', instance.lower())}",
                lease_duration=settings.lease_duration,
                renew_deadline=settings.renew_deadline,
                retry_period=settings.retry_period,
                connection=_part(KubernetesOptions, settings),
            )
        case FileElection():
            folder = Path(surroundings.environ.get("TMPDIR") or "/tmp")  # noqa: S108  # opened safely, see lock_file
            return FileElectionConfig(
                path=settings.path or folder / f"{_PROGRAM}-{os.getuid()}-{instance}.lock"
            )
        case NoElection():
            return NoElectionConfig()
    assert_never(settings)


def _api(settings: ApiSettings, namespaces: Mapping[str, str]) -> ApiConfig:
    return ApiConfig(
        enabled=settings.enabled,
        listen=settings.listen,
        tls=None
        if settings.tls is None
        else TlsConfig(
            certificate=settings.tls.certificate, key=settings.tls.key, client_ca=settings.tls.client_ca
        ),
        access=_access(settings.access, namespaces),
        porter_service=settings.porter_service.enabled,
        porter_service_sensitive=settings.porter_service.sensitive,
        reflection=settings.reflection,
    )


def _access(
    access: KubernetesAccess | CertificatesAccess | LoopbackAccess, namespaces: Mapping[str, str]
) -> AccessConfig:
    match access:
        case KubernetesAccess():
            connection = _part(KubernetesOptions, access)
            return KubernetesAccessConfig(
                audience=access.audience, namespaces=namespaces, connection=connection
            )
        case CertificatesAccess():
            clients = tuple(
                CertificateClientConfig(name=one.name, namespaces=one.namespaces, sensitive=one.sensitive)
                for one in access.clients
            )
            return CertificatesAccessConfig(clients=clients)
        case LoopbackAccess():
            return LoopbackAccessConfig(sensitive=access.sensitive)
    assert_never(access)


# --- source --------------------------------------------------------------------------------


def _source(source: MongoSource | DumpSource | PorterSource, surroundings: Surroundings) -> SourceConfig:
    match source:
        case MongoSource():
            return MongoSourceConfig(
                url=source.url, ca_file=source.ca_file, id=source.id, secrets=_secrets(source.secrets)
            )
        case DumpSource():
            return DumpSourceConfig(path=source.path, id=source.id, secrets=_secrets(source.secrets))
        case PorterSource():
            return _porter(source, surroundings)
    assert_never(source)


def _porter(source: PorterSource, surroundings: Surroundings) -> PorterSourceConfig:
    environ = surroundings.environ
    home = source.home or surroundings.locate(Path(environ.get("PORTER_HOME") or "~/.porter"))
    context = source.context or environ.get("PORTER_CONTEXT") or None
    return PorterSourceConfig(home=home, context=context, id=source.id, environ=environ)


def _secrets(secrets: Secrets) -> SecretsConfig:
    match secrets:
        case FilesystemSecrets():
            return FilesystemSecretsConfig(path=secrets.path)
        case KubernetesSecrets():
            connection = _part(KubernetesOptions, secrets)
            return KubernetesSecretsConfig(namespace=secrets.namespace, connection=connection)
        case VaultSecrets():
            return VaultSecretsConfig(
                path_prefix=secrets.path_prefix, connection=_part(VaultOptions, secrets)
            )
        case AzureKeyVaultSecrets():
            return AzureSecretsConfig(connection=_part(AzureOptions, secrets))
        case NoSecrets():
            return NoSecretsConfig()
    assert_never(secrets)


def _part(options: type[_Options], settings: BaseModel) -> _Options:
    """The settings of a base class, which were checked with the rest."""
    return options.model_construct(**{name: getattr(settings, name) for name in options.model_fields})


# --- policy --------------------------------------------------------------------------------


def _policy(file: ConfigFile, targets: Mapping[FieldPath, CheckedTarget], added: tuple[Rule, ...]) -> Policy:
    rules = (_rule(rule, ("rules", number), targets) for number, rule in enumerate(file.rules))
    return Policy(
        instance=file.instance,
        rules=(*rules, *added),
        namespaces=file.namespaces,
        guard=GuardLimits(
            max_deletions=file.guard.max_deletions,
            max_deletion_percent=file.guard.max_deletion_percent,
            grace=file.guard.grace,
        ),
        settle_time=file.source.settle_time,
    )


def _rule(rule: RuleSettings, path: FieldPath, targets: Mapping[FieldPath, CheckedTarget]) -> Rule:
    return Rule(
        name=rule.name,
        targets=tuple(
            _target(entry, str(index), targets[(*path, "targets", index)])
            for index, entry in enumerate(rule.targets)
        ),
        match=_match(rule.match),
        outputs=_outputs(rule.outputs),
        carry_over=rule.carry_over,
        on_uninstall=rule.on_uninstall,
        deletion_policy=rule.deletion_policy,
        prune=rule.prune,
    )


def _match(match: MatchSettings) -> Match:
    return Match(namespaces=match.namespaces, installations=match.installations, labels=match.labels)


def _outputs(outputs: OutputSettings) -> OutputFilter:
    return OutputFilter(include=outputs.include, exclude=outputs.exclude, sensitivity=outputs.sensitivity)


def _target(entry: TargetEntry, identity: str, checked: CheckedTarget) -> Target:
    shape = checked.options.shape()
    assert checked.sink.naming is not None
    return Target(
        sink=entry.sink,
        id=identity,
        parts=shape.parts,
        layout=shape.layout,
        naming=checked.sink.naming,
        capabilities=checked.sink.kind.capabilities,
        attributes=shape.attributes,
        keys=None if entry.keys is None else {name: _key(given) for name, given in entry.keys.items()},
        key_style=entry.key_style,
        update_policy=entry.update_policy,
        conflict_policy=entry.conflict_policy,
        restart=shape.restart,
    )


def _key(given: str | KeyTemplate) -> KeySource:
    return FromOutput(given) if isinstance(given, str) else parse_value(given.template)
