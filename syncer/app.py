"""The composition root: the only module that builds sources, resolvers and sinks.

Also the shape of one pass: one look at the source, then every sink on its own, so that a dead
one delays and holds no other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from backends.contract import Finding, FindingLevel, Owner, Sink
from backends.errors import SinkError
from syncer.config.model import (
    Config,
    DumpSourceConfig,
    FilesystemSecretsConfig,
    KubernetesSecretsConfig,
    MongoSourceConfig,
    NoSecretsConfig,
    PorterSourceConfig,
    SecretsConfig,
    SinkConfig,
)
from syncer.core.errors import SourceError
from syncer.core.ports import Observer, ValueResolver
from syncer.engine.applier import Applier
from syncer.engine.collector import Collector, SecondLook
from syncer.engine.reconciler import Mode, Place, Reconciler
from syncer.engine.report import Report, SinkReport
from syncer.engine.world import World, look
from syncer.sources.porter.porter_config import (
    FilesystemPlugin,
    HostPlugin,
    KubernetesPlugin,
    SecretsPlugin,
    read_porter_config,
)
from syncer.sources.porter.secrets.filesystem import FilesystemSecrets
from syncer.sources.porter.secrets.none import NoSecretStore
from syncer.sources.porter.source import PorterSource
from syncer.sources.porter.store import Store


def open_source(config: Config) -> PorterSource:
    """The configured source, not yet opened. Raises `SourceRefused` for what cannot be used."""
    match config.source:
        case MongoSourceConfig(url=url, ca_file=ca_file, id=identity, secrets=secrets):
            store = _mongodb(url.reveal().decode(), ca_file)
            return PorterSource(store, _resolver(secrets), source_id=identity)
        case DumpSourceConfig(path=path, id=identity, secrets=secrets):
            from syncer.sources.porter.dump import DumpStore  # noqa: PLC0415  # only what is configured

            return PorterSource(DumpStore(path), _resolver(secrets), source_id=identity)
        case PorterSourceConfig(home=home, context=context, id=identity, environ=environ):
            porter = read_porter_config(home, environ, context=context)
            store = _mongodb(porter.url, None)
            return PorterSource(store, _plugin(porter.secrets), source_id=identity)
        case _:
            assert_never(config.source)


async def run_pass(config: Config, mode: Mode, observer: Observer) -> Report:
    """One look at everything, then all sinks at once. Raises `SourceError`."""
    async with open_source(config) as source:
        second = SecondLook(config.policy.guard.grace, time.monotonic)
        world = await look(
            source, config.policy, lambda done, total: observer.progress("installations", done, total)
        )
        one = _Pass(source=source, world=world, mode=mode, observer=observer, second=second)
        reports = await asyncio.gather(*(one.over(sink) for sink in config.sinks))
        return Report(instance=config.policy.instance, source=source.fingerprint, sinks=tuple(reports))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """What all sinks of one pass share."""

    source: PorterSource
    world: World
    mode: Mode
    observer: Observer
    second: SecondLook

    async def over(self, config: SinkConfig) -> SinkReport:
        """The whole pass at one sink; its failure is part of the report."""
        async with AsyncExitStack() as stack:
            try:
                sink = await stack.enter_async_context(make_sink(config))
            except SinkError as error:
                self.observer.failed(config.name, error.reason)
                return SinkReport(sink=config.name, entries=(), failure=error.reason)
            report = await self._reconcile(config, sink)
        if report.failure is not None:
            self.observer.failed(config.name, report.failure)
        return report

    async def _reconcile(self, config: SinkConfig, sink: Sink) -> SinkReport:
        owner = Owner(instance=self.world.policy.instance, source=self.source.fingerprint)
        same = config.kind.naming(config.options).same
        place = Place(name=config.name, sink=sink, owner=owner, same=same, applier=Applier(sink, owner))
        reconciler = Reconciler(place, self.source, self.world, self.mode, self.observer)
        failure, held = await reconciler.converge(), ""
        if failure is None and self.mode.only is None:
            failure, held = await Collector(reconciler, self.second).collect()
        return reconciler.report(failure, held)


def make_sink(config: SinkConfig) -> Sink:
    """The configured sink, not yet opened."""
    return config.kind.create(config.options)


async def examine(config: Config) -> Sequence[tuple[str, tuple[Finding, ...]]]:
    """What `doctor` shows: of the source, and of every sink, reachable or not."""
    source = ("source", await _examine_source(config))
    return [source, *[(f"sink {sink.name}", await _examine_sink(sink)) for sink in config.sinks]]


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
        case HostPlugin():
            return NoSecretStore()
        case _:
            assert_never(plugin)
