"""Builds what `syncer run` needs beside sources and sinks: election, observers, the address that tells.

The part of the composition root that the other commands do without.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final, assert_never

from backends.clients.kubernetes_options import KubernetesOptions
from backends.contract import Conditions as Shown
from syncer import __version__
from syncer.app import open_source, sink_slots
from syncer.config.model import Config, FileElectionConfig, LeaseElectionConfig, NoElectionConfig
from syncer.core.ports import RunObserver
from syncer.engine.controller import Controller
from syncer.engine.election import Alone, Election
from syncer.engine.failures import reason_of
from syncer.engine.lock_file import LockFileElection
from syncer.engine.queue import Priority
from syncer.engine.terms import Terms, Work
from syncer.sources.porter.secrets.patience import PatientSecrets
from syncer.sources.porter.source import PorterSource
from syncer.telemetry.api import ApiTelemetry
from syncer.telemetry.conditions import Conditions
from syncer.telemetry.health import Health
from syncer.telemetry.metrics import Metrics
from syncer.telemetry.run_log import RunLog
from syncer.telemetry.server import TelemetryServer
from syncer.telemetry.tee import Tee

_SECRETS: Final = "kubernetes"
"""The kind of sink beside whose Secrets there are Events."""


class Running:
    """What lives as long as the process: its log, its metrics and its health. `serve` does the work."""

    def __init__(self) -> None:
        self.metrics = Metrics(version=__version__)
        self._api_telemetry = ApiTelemetry(self.metrics)
        self._log = RunLog()

    async def serve(self, config: Config) -> None:
        """Keep in sync what the configuration says, until it is cancelled.

        Raises `CannotListen`, `CannotServe` or `LockFileUnusable`, and `SinkError` where there is no login to
        begin with.
        """
        self.metrics.serves([sink.name for sink in config.sinks])
        async with AsyncExitStack() as stack:
            election = await stack.enter_async_context(election_of(config))
            health = Health(sinks=[sink.name for sink in config.sinks], holder=lambda: election.holder)
            if config.telemetry.listen is not None:
                server = TelemetryServer(config.telemetry.listen, self.metrics, health)
                await stack.enter_async_context(server)
            if config.api.enabled:
                await stack.enter_async_context(self._api(config))
            events = await stack.enter_async_context(_events(config, self.metrics, health.died))
            conditions = _conditions(config)
            observers: list[RunObserver] = [self._log, self.metrics, health, *events, *conditions]
            observer = Tee(observers, self.metrics.observer_failed)
            health.configured()
            work = work_of(config, partial(self._opened, config), *(one.of for one in conditions))
            started = partial(self._started, conditions)
            await Terms(work, election, observer, started=started).run()

    @asynccontextmanager
    async def _api(self, config: Config) -> AsyncIterator[None]:
        from syncer.serving import serving  # noqa: PLC0415  # heavy

        async with serving(config, self._api_telemetry):
            self._log.serving(config.api.listen)
            yield

    def reloaded(self, refusal: str | None) -> None:
        """The configuration was read anew: it is taken, or (with a reason) the old one stays."""
        self.metrics.reloaded(accepted=refusal is None)
        self._log.reloaded(refusal)

    def _opened(self, config: Config) -> PorterSource:
        source = open_source(config, over=PatientSecrets)
        self.metrics.watch_streams(lambda: source.changes.restarts)
        return source

    def _started(self, conditions: Sequence[Conditions], controllers: Sequence[Controller]) -> None:
        for one in conditions:
            one.watch(controllers)
        for controller in controllers:
            self.metrics.watch_queue(controller.name, partial(_depths, controller))
        # NB: a term is one great cycle, and all it knew would stay: full collections hardly ever happen.
        gc.collect()


def work_of(config: Config, opened: Callable[[], PorterSource], conditions: Shown | None = None) -> Work:
    """What a configuration asks to be kept in sync; `opened` answers the source for each term."""
    return Work(
        open_source=opened,
        policy=config.policy,
        sinks=sink_slots(config, conditions),
        poll_interval=config.poll_interval,
        deletion_check_interval=config.deletion_check_interval,
        resync_interval=config.resync_interval,
    )


def _conditions(config: Config) -> Sequence[Conditions]:
    """One, if there is a sink that shows it."""
    shown_by = {target.sink for rule in config.policy.rules for target in rule.targets if target.shows}
    return [Conditions(sink) for sink in shown_by]


@asynccontextmanager
async def election_of(config: Config) -> AsyncIterator[Election]:
    """Who of several processes writes. Raises `SinkError` where there is no login to ask with."""
    match config.election:
        case NoElectionConfig():
            yield Alone()
        case FileElectionConfig(path=path):
            yield LockFileElection(path)
        case LeaseElectionConfig() as lease:
            from backends.clients.kubernetes import KubernetesClient  # noqa: PLC0415  # heavy
            from backends.clients.kubernetes_lease import KubernetesLease  # noqa: PLC0415  # with it
            from syncer.engine.lease import LeaseElection, LeaseTimes  # noqa: PLC0415  # only with the above

            times = LeaseTimes(
                lease_duration=lease.lease_duration,
                renew_deadline=lease.renew_deadline,
                retry_period=lease.retry_period,
            )
            async with KubernetesClient(lease.connection) as client:
                lock = KubernetesLease(client, namespace=lease.namespace, name=lease.name)
                yield LeaseElection(lock, _identity(), times=times)
        case _:
            assert_never(config.election)


@asynccontextmanager
async def _events(
    config: Config, metrics: Metrics, died: Callable[[str], None]
) -> AsyncIterator[Sequence[RunObserver]]:
    """The observer that makes Kubernetes Events, if there is a sink to make them beside."""
    sinks = [sink for sink in config.sinks if sink.kind.kind == _SECRETS]
    if not sinks or not config.telemetry.events:
        yield ()
        return
    from backends.clients.kubernetes_events import EventRecorder  # noqa: PLC0415  # heavy
    from syncer.telemetry.events import KubernetesEvents  # noqa: PLC0415  # with it

    async with AsyncExitStack() as stack:
        recorders: dict[str, EventRecorder] = {}
        for sink in sinks:
            assert isinstance(sink.options, KubernetesOptions)
            recorder = EventRecorder(sink.options, instance=config.policy.instance)
            recorders[sink.name] = await stack.enter_async_context(recorder)
        events = KubernetesEvents(recorders, count=metrics.event)
        sending = asyncio.create_task(events.run())
        sending.add_done_callback(partial(_ended, died))
        try:
            yield (events,)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


def _ended(died: Callable[[str], None], sending: asyncio.Task[None]) -> None:
    """NB: whatever its end is, nobody begins it again."""
    if not sending.cancelled():
        error = sending.exception()
        died(f"events: {'ended' if error is None else reason_of(error)}")


def _depths(controller: Controller) -> tuple[Mapping[str, int], int]:
    depths = {priority.name.lower(): controller.queue.depth(priority) for priority in Priority}
    return depths, controller.queue.in_work


def _identity() -> str:
    """Of this process among all that may stand for election."""
    return f"{socket.gethostname()}_{os.getpid()}_{secrets.token_hex(4)}"
