"""Builds the gRPC API out of its configuration: services, access, limits; and what `syncer api` runs.

The part of the composition root that only those who serve load, because gRPC is large.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, assert_never

from syncer import __version__
from syncer.api._generated.porter.outputs.v1alpha1.porter_bundle_pb2_grpc import (
    add_PorterBundleServicer_to_server,
)
from syncer.api._generated.porter.v1alpha1.porter_pb2_grpc import add_PorterServicer_to_server
from syncer.api.access import (
    Access,
    CertificateAccessOptions,
    CertificateGrant,
    KubernetesAccessOptions,
    LoopbackAccessOptions,
)
from syncer.api.bundle_service import BundleService
from syncer.api.certificates import CertificateAccess
from syncer.api.loopback import LoopbackAccess
from syncer.api.observer import ApiObserver
from syncer.api.options import ApiOptions, TlsFiles
from syncer.api.pages import PageTokens
from syncer.api.porter_service import PorterService
from syncer.api.server import ApiServer, Service
from syncer.app import open_source
from syncer.config.model import (
    AccessConfig,
    ApiConfig,
    CertificatesAccessConfig,
    Config,
    KubernetesAccessConfig,
    LoopbackAccessConfig,
)
from syncer.reading import Reader
from syncer.sources.porter.secrets.patience import PatientSecrets
from syncer.telemetry.api import ApiHealth, ApiTelemetry
from syncer.telemetry.metrics import Metrics
from syncer.telemetry.run_log import RunLog
from syncer.telemetry.server import TelemetryServer

_BUNDLE: Final = "porter.outputs.v1alpha1.PorterBundle"
_PORTER: Final = "porter.v1alpha1.Porter"


class Serving:
    """What lives as long as a process that only serves: its metrics and its log."""

    def __init__(self) -> None:
        self._metrics = Metrics(version=__version__)
        self._telemetry = ApiTelemetry(self._metrics)
        self._log = RunLog()

    async def serve(self, config: Config) -> None:
        """Serve the API of a configuration until cancelled. Raises as `serving`, and `CannotListen`."""
        async with AsyncExitStack() as stack:
            if config.telemetry.listen is not None:
                pages = TelemetryServer(config.telemetry.listen, self._metrics, ApiHealth())
                await stack.enter_async_context(pages)
            await stack.enter_async_context(serving(config, self._telemetry))
            self._log.serving(config.api.listen)
            await asyncio.Event().wait()

    def reloaded(self, refusal: str | None) -> None:
        """The configuration was read anew: it is taken, or (with a reason) the old one stays."""
        self._metrics.reloaded(accepted=refusal is None)
        self._log.reloaded(refusal)


@asynccontextmanager
async def serving(config: Config, observer: ApiObserver) -> AsyncIterator[ApiServer]:
    """The API, listening, with a source of its own: whoever stands by serves as well.

    Raises `CannotServe`, and `SinkError` where there is no login to ask for rights with.
    """
    async with AsyncExitStack() as stack:
        source = await stack.enter_async_context(open_source(config, over=PatientSecrets))
        access = await stack.enter_async_context(_access(config.api.access))
        services = _services(config.api, Reader(source), access, observer)
        server = ApiServer(_options(config.api), services, access=access, observer=observer)
        yield await stack.enter_async_context(server)


def _services(config: ApiConfig, reader: Reader, access: Access, observer: ApiObserver) -> list[Service]:
    bundle = BundleService(reader, access, PageTokens(secrets.token_bytes(32)), observer)
    porter = PorterService(reader, access, observer, sensitive=config.porter_service_sensitive)

    def add_bundle(server: Any) -> None:
        add_PorterBundleServicer_to_server(bundle, server)

    def add_porter(server: Any) -> None:
        add_PorterServicer_to_server(porter, server)

    ours = Service(name=_BUNDLE, register=add_bundle)
    return [ours, Service(name=_PORTER, register=add_porter)] if config.porter_service else [ours]


def _options(config: ApiConfig) -> ApiOptions:
    tls = config.tls
    files = (
        None if tls is None else TlsFiles(certificate=tls.certificate, key=tls.key, client_ca=tls.client_ca)
    )
    return ApiOptions(listen=config.listen, tls=files, reflection=config.reflection)


@asynccontextmanager
async def _access(config: AccessConfig) -> AsyncIterator[Access]:
    match config:
        case LoopbackAccessConfig(sensitive=sensitive):
            yield LoopbackAccess(LoopbackAccessOptions(sensitive=sensitive))
        case CertificatesAccessConfig(clients=clients):
            grants = {
                one.name: CertificateGrant(namespaces=one.namespaces, sensitive=one.sensitive)
                for one in clients
            }
            yield CertificateAccess(CertificateAccessOptions(clients=grants))
        case KubernetesAccessConfig():
            from backends.clients.kubernetes import KubernetesClient  # noqa: PLC0415  # heavy
            from backends.clients.kubernetes_access import KubernetesReviews  # noqa: PLC0415  # with it
            from syncer.api.kubernetes_callers import KubernetesAccess  # noqa: PLC0415  # with them

            options = KubernetesAccessOptions(audience=config.audience, namespaces=config.namespaces)
            async with KubernetesClient(config.connection) as client:
                yield KubernetesAccess(KubernetesReviews(client), options)
        case _:
            assert_never(config)
