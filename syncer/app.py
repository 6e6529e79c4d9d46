"""The composition root: the only module that builds sources, resolvers and sinks.

What is done with them is the engine's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from pydantic import ValidationError

from backends.contract import Conditions, Finding, FindingLevel, ShowsConditions, Sink
from backends.errors import SinkError
from syncer.config.model import (
    AzureSecretsConfig,
    Config,
    DumpSourceConfig,
    FilesystemSecretsConfig,
    KubernetesAccessConfig,
    KubernetesSecretsConfig,
    MongoSourceConfig,
    NoSecretsConfig,
    PorterSourceConfig,
    SecretsConfig,
    SinkConfig,
    VaultSecretsConfig,
)
from syncer.core.errors import SourceError, SourceRefused
from syncer.core.ports import Observer, ValueResolver
from syncer.engine.passes import SinkSlot, one_pass
from syncer.engine.reconciler import Mode
from syncer.engine.report import Report
from syncer.sources.porter.porter_config import (
    AzurePlugin,
    FilesystemPlugin,
    HostPlugin,
    KubernetesPlugin,
    SecretsPlugin,
    VaultPlugin,
    read_porter_config,
)
from syncer.sources.porter.secrets.filesystem import FilesystemSecrets
from syncer.sources.porter.secrets.none import NoSecretStore
from syncer.sources.porter.source import PorterSource
from syncer.sources.porter.store import Store

if TYPE_CHECKING:
    from backends.clients.azure_options import AzureOptions
    from backends.clients.vault_options import VaultOptions


def open_source(
    config: Config, *, over: Callable[[ValueResolver], ValueResolver] = lambda secrets: secrets
) -> PorterSource:
    """The configured source, not yet opened. Raises `SourceRefused` for what cannot be used.

    `over` is put around Porter's secret store.
    """
    match config.source:
        case MongoSourceConfig(url=url, ca_file=ca_file, id=identity, secrets=secrets):
            store = _mongodb(url.reveal().decode(), ca_file)
            return PorterSource(store, over(_resolver(secrets)), source_id=identity)
        case DumpSourceConfig(path=path, id=identity, secrets=secrets):
            from syncer.sources.porter.dump import DumpStore  # noqa: PLC0415  # only what is configured

            return PorterSource(DumpStore(path), over(_resolver(secrets)), source_id=identity)
        case PorterSourceConfig(home=home, context=context, id=identity, environ=environ):
            porter = read_porter_config(home, environ, context=context)
            store = _mongodb(porter.url, None)
            return PorterSource(store, over(_plugin(porter.secrets)), source_id=identity)
        case _:
            assert_never(config.source)


async def run_pass(config: Config, mode: Mode, observer: Observer) -> Report:
    """One pass over everything that is configured. Raises `SourceError`."""
    async with open_source(config) as source:
        return await one_pass(source, config.policy, sink_slots(config), mode, observer)


def sink_slots(config: Config, conditions: Conditions | None = None) -> Sequence[SinkSlot]:
    """The configured sinks, not yet opened; `conditions` for those that show how the others stand."""
    return [
        SinkSlot(
            name=sink.name,
            make=partial(make_sink, sink, conditions),
            same=sink.kind.naming(sink.options).same,
            writes_per_second=sink.writes_per_second,
        )
        for sink in config.sinks
    ]


def make_sink(config: SinkConfig, conditions: Conditions | None = None) -> Sink:
    """The configured sink, not yet opened."""
    sink = config.kind.create(config.options)
    if conditions is not None and isinstance(sink, ShowsConditions):
        sink.show(conditions)
    return sink


async def examine(config: Config) -> Sequence[tuple[str, tuple[Finding, ...]]]:
    """What `doctor` shows: of the source, of every sink, and of who decides about callers of the API."""
    source = ("source", await _examine_source(config))
    sinks = [(f"sink {sink.name}", await _examine_sink(sink)) for sink in config.sinks]
    access = config.api.access
    if not isinstance(access, KubernetesAccessConfig):
        return [source, *sinks]
    return [source, *sinks, ("api access", await _examine_access(access))]


async def _examine_source(config: Config) -> tuple[Finding, ...]:
    try:
        async with open_source(config) as source:
            return await source.check()
    except SourceError as error:
        return (Finding(level=FindingLevel.ERROR, subject="source", detail=error.reason),)


async def _examine_sink(config: SinkConfig) -> tuple[Finding, ...]:
    try:
        async with make_sink(config) as sink:
            return await sink.check()
    except SinkError as error:
        return (Finding(level=FindingLevel.ERROR, subject=config.kind.kind, detail=error.reason),)


async def _examine_access(config: KubernetesAccessConfig) -> tuple[Finding, ...]:
    from backends.clients.kubernetes import KubernetesClient  # noqa: PLC0415  # heavy
    from backends.clients.kubernetes_access import KubernetesReviews  # noqa: PLC0415  # with it

    try:
        async with KubernetesClient(config.connection) as client:
            missing = await KubernetesReviews(client).missing_rights()
    except SinkError as error:
        return (Finding(level=FindingLevel.ERROR, subject="kubernetes", detail=error.reason),)
    if not missing:
        detail = "tokens and rights of callers can be asked for"
        return (Finding(level=FindingLevel.OK, subject="kubernetes", detail=detail),)
    detail = f"may not create {' and '.join(missing)}: every caller is refused"
    return (Finding(level=FindingLevel.ERROR, subject="kubernetes", detail=detail),)


def _mongodb(url: str, ca_file: Path | None) -> Store:
    from syncer.sources.porter.mongodb import MongoStore  # noqa: PLC0415  # only what is configured

    return MongoStore(url, ca_file=str(ca_file) if ca_file else None)


def _resolver(secrets: SecretsConfig) -> ValueResolver:
    match secrets:
        case FilesystemSecretsConfig(path=path):
            return FilesystemSecrets(path)
        case KubernetesSecretsConfig(namespace=namespace, connection=connection):
            from syncer.sources.porter.secrets.kubernetes import KubernetesSecrets  # noqa: PLC0415  # heavy

            return KubernetesSecrets(connection, namespace=namespace)
        case VaultSecretsConfig(path_prefix=path_prefix, connection=connection):
            from syncer.sources.porter.secrets.vault import VaultSecrets  # noqa: PLC0415  # heavy

            return VaultSecrets(connection, path_prefix=path_prefix)
        case AzureSecretsConfig(connection=connection):
            from syncer.sources.porter.secrets.azure_keyvault import AzureKeyVaultSecrets  # noqa: PLC0415  # heavy

            return AzureKeyVaultSecrets(connection)
        case NoSecretsConfig():
            return NoSecretStore()
        case _:
            assert_never(secrets)


def _plugin(plugin: SecretsPlugin) -> ValueResolver:
    match plugin:
        case FilesystemPlugin(folder=folder):
            return FilesystemSecrets(folder)
        case KubernetesPlugin(namespace=namespace):
            from backends.clients.kubernetes_options import KubernetesOptions  # noqa: PLC0415  # heavy

            connection = KubernetesOptions()
            return _resolver(KubernetesSecretsConfig(namespace=namespace or "default", connection=connection))
        case VaultPlugin():
            return _resolver(
                VaultSecretsConfig(path_prefix=plugin.path_prefix, connection=_porters_vault(plugin))
            )
        case AzurePlugin():
            return _resolver(AzureSecretsConfig(connection=_porters_key_vault(plugin)))
        case HostPlugin():
            return NoSecretStore()
        case _:
            assert_never(plugin)


def _porters_vault(plugin: VaultPlugin) -> VaultOptions:
    """Porter's own login; it allows http, as Porter does."""
    from backends.clients.vault_options import TokenAuth, VaultOptions  # noqa: PLC0415  # only where it is used

    auth = TokenAuth.model_construct(method="token", token=plugin.token)
    try:
        return VaultOptions.model_validate({"address": plugin.address, "insecure": True, "auth": auth})
    except ValidationError:
        raise SourceRefused("Porter's hashicorp.vault secrets have a vault_addr that is no address") from None


def _porters_key_vault(plugin: AzurePlugin) -> AzureOptions:
    from backends.clients import azure_options as azure  # noqa: PLC0415  # only where it is used

    auth: azure.AnyAuth = azure.AzureCliAuth(method="azure-cli")
    if plugin.principal is not None:
        principal = plugin.principal
        auth = azure.ClientSecretAuth.model_construct(
            method="client-secret",
            tenant_id=principal.tenant_id,
            client_id=principal.client_id,
            client_secret=principal.client_secret,
        )
    try:
        return azure.AzureOptions.model_validate({"vaultUrl": plugin.vault_url, "auth": auth})
    except ValidationError:
        raise SourceRefused("Porter's azure.keyvault secrets have no https address") from None
