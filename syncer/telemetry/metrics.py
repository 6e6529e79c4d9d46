"""What Prometheus can read of the controller. docs/metrics.md lists it all.

Labels are names of sinks and fixed words, never of installations, addresses or outputs: there is no end
to those. Everything there is for a sink is there from the start, at zero.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, exposition
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from syncer.core.changes import State
from syncer.core.ports import Outcome, Reconciled
from syncer.telemetry.entries import WRITES, is_written, told
from syncer.telemetry.targets import Targets

PREFIX: Final = "porter_outputs_syncer"

EventResult = Literal["recorded", "failed", "dropped"]
EVENT_RESULTS: Final[tuple[EventResult, ...]] = ("recorded", "failed", "dropped")

PRIORITIES: Final = ("fresh", "retry", "sweep")
"""What requests wait for: a change, another attempt, a comparison of everything."""

ReadQueue = Callable[[], tuple[Mapping[str, int], int]]
"""How many requests wait, by priority (of `PRIORITIES`), and how many are in work."""

_RECONCILE_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LAG_SECONDS: Final = (0.1, 0.25, 0.5, 1, 1.5, 2, 2.5, 3, 5, 10, 30, 60, 300, 1800)
_OPENMETRICS: Final = "application/openmetrics-text"


class Metrics:
    """A `RunObserver` that counts. Has a registry of its own; `clock` gives seconds since 1970.

    It exists once a configuration was loaded, hence `config_last_reload_success` begins with 1.
    """

    def __init__(
        self, *, version: str, sinks: Collection[str] = (), clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._targets: dict[str, Targets] = {}
        self._queues: dict[str, ReadQueue] = {}
        self._stream_restarts: Callable[[], int] = lambda: 0
        self._registry = CollectorRegistry()
        self._make_process(version)
        self._make_sinks()
        self._registry.register(_Scraped(self._live))
        self.serves(sinks)

    def serves(self, sinks: Collection[str]) -> None:
        """These are the sinks from now on. Of one that is no more everything is forgotten."""
        for sink in self._targets.keys() - set(sinks):
            for metric, labels in self._series(sink):
                metric.remove(*labels)
        for sink in sinks:
            for metric, labels in self._series(sink):
                metric.labels(*labels)
        self._targets = {sink: Targets() for sink in sinks}
        self._queues = {}

    def _make_process(self, version: str) -> None:
        ProcessCollector(registry=self._registry)
        self._gauge("build_info", "The running version.", "version").labels(version).set(1)
        self._leader = self._gauge("leader", "Whether this process writes (1) or stands by (0).")
        self._source_up = self._gauge("source_up", "Whether the source could be read the last time.")
        self._source_read = self._gauge(
            "source_last_success_timestamp_seconds", "When the source was read last."
        )
        self._reloads = self._counter("config_reloads", "Changes of the configuration.", "result")
        self._reload_success = self._gauge(
            "config_last_reload_success", "Whether the newest configuration is in use."
        )
        self._reload_success.set(1)
        self._observer_errors = self._counter("observer_errors", "Faults in what logs and counts.")
        for result in ("accepted", "rejected"):
            self._reloads.labels(result)

    def _make_sinks(self) -> None:
        self._sink_up = self._gauge("sink_up", "Whether the sink works.", "sink")
        self._reconciles = self._counter("reconciles", "Installations brought up to date.", "sink", "outcome")
        self._seconds = self._histogram("reconcile_seconds", "How long it took.", _RECONCILE_SECONDS)
        self._lag = self._histogram(
            "change_lag_seconds", "From the news of a change until it was in the sink.", _LAG_SECONDS
        )
        self._written = self._counter("secrets_written", "Secrets written.", "sink", "action")
        self._sweep = self._gauge("sweep_seconds", "How long the last sweep took.", "sink")
        self._swept = self._gauge(
            "sweep_last_success_timestamp_seconds", "When the last sweep was complete.", "sink"
        )
        self._restarts = self._counter("restarts", "Workloads restarted after a change.", "sink")
        self._events = self._counter("events", "Kubernetes Events, by what became of them.", "sink", "result")

    def _series(self, sink: str) -> Iterable[tuple[Gauge | Counter | Histogram, tuple[str, ...]]]:
        """Everything that is counted of a sink, with its labels."""
        simple = (self._sink_up, self._seconds, self._lag, self._sweep, self._swept, self._restarts)
        yield from ((metric, (sink,)) for metric in simple)
        yield from ((self._reconciles, (sink, outcome.value)) for outcome in Outcome)
        yield from ((self._written, (sink, action)) for action in WRITES)
        yield from ((self._events, (sink, result)) for result in EVENT_RESULTS)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", text, labels, registry=self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", text, ("sink",), buckets=buckets, registry=self._registry)

    # --- what is told

    def progress(self, what: str, done: int, total: int) -> None:
        """Only people at a terminal watch that."""

    def entry(self, entry: object) -> None:
        one = told(entry)
        self._targets.setdefault(one.subject.sink, Targets()).note(one)
        if is_written(one):
            self._written.labels(one.subject.sink, one.action).inc()

    def failed(self, sink: str, reason: str) -> None:
        """The age of the last complete sweep tells."""

    def reconciled(self, what: Reconciled) -> None:
        self._reconciles.labels(what.sink, what.outcome.value).inc()
        self._seconds.labels(what.sink).observe(what.seconds)
        if what.fresh and what.outcome is Outcome.SYNCED:
            self._lag.labels(what.sink).observe(what.waited)

    def source(self, failure: str | None) -> None:
        self._source_up.set(failure is None)
        if failure is None:
            self._source_read.set(self._clock())

    def sink(self, name: str, failure: str | None) -> None:
        self._sink_up.labels(name).set(failure is None)

    def swept(self, sink: str, seconds: float) -> None:
        self._targets.setdefault(sink, Targets()).swept()
        self._sweep.labels(sink).set(seconds)
        self._swept.labels(sink).set(self._clock())

    def leading(self, leading: bool) -> None:  # noqa: FBT001  # a fact, not an option
        self._leader.set(leading)
        if not leading:
            for targets in self._targets.values():
                targets.clear()

    def restarted(self, sink: str, workload: str) -> None:  # noqa: ARG002  # workloads have no end
        self._restarts.labels(sink).inc()

    def reloaded(self, *, accepted: bool) -> None:
        """The configuration file changed, and is in use now, or (not `accepted`) the one before still is."""
        self._reloads.labels("accepted" if accepted else "rejected").inc()
        self._reload_success.set(accepted)

    def event(self, sink: str, result: EventResult) -> None:
        """A Kubernetes Event was recorded, or not."""
        self._events.labels(sink, result).inc()

    def observer_failed(self) -> None:
        self._observer_errors.inc()

    def watch_queue(self, sink: str, read: ReadQueue) -> None:
        """`read` is asked at every scrape. Whoever watches a sink's queue last counts."""
        self._queues[sink] = read

    def watch_streams(self, restarts: Callable[[], int]) -> None:
        """How often the newest source had to begin anew to be told of changes; asked at every scrape."""
        self._stream_restarts = restarts

    def api_requests(self) -> Counter:
        """Requests to the gRPC API; there from the moment it is served."""
        return self._counter("api_requests", "Requests to the gRPC API.", "method", "code")

    def api_request_seconds(self) -> Histogram:
        """How long they took; as above."""
        name = f"{PREFIX}_api_request_seconds"
        text = "How long requests to the gRPC API took."
        return Histogram(name, text, ("method",), buckets=_RECONCILE_SECONDS, registry=self._registry)

    # --- what is read

    def page(self, accept: str = "") -> tuple[bytes, str]:
        """All of it, and its content type: OpenMetrics where the `Accept` header names it."""
        shown = _Scraped(self._without_birthdays)
        if _OPENMETRICS in accept:
            text: bytes = openmetrics.generate_latest(shown)  # type: ignore[no-untyped-call]  # untyped upstream
            return text, openmetrics.CONTENT_TYPE_LATEST
        return exposition.generate_latest(shown), exposition.CONTENT_TYPE_PLAIN_0_0_4

    def _without_birthdays(self) -> Iterable[Metric]:
        """The library tells of every counter when it began: as many series again, and nobody asks."""
        for metric in self._registry.collect():
            metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
            yield metric

    def _live(self) -> Iterable[Metric]:
        targets = _family("targets", "How the targets stand.", "sink", "state")
        held = _family("held_deletions", "Deletions that wait for an approval.", "sink")
        for sink, known in self._targets.items():
            counts = known.by_state()
            for state in State:
                targets.add_metric([sink, state.value], counts[state])
            held.add_metric([sink], known.held_deletions())
        streams = CounterMetricFamily(
            f"{PREFIX}_source_stream_restarts",
            "How often change streams were lost and begun again.",
            value=self._stream_restarts(),
        )
        return [targets, held, streams, *self._live_queues()]

    def _live_queues(self) -> Iterable[Metric]:
        depth = _family("queue_depth", "Requests that wait.", "sink", "priority")
        work = _family("in_work", "Requests that are worked on.", "sink")
        for sink in self._targets.keys() | self._queues.keys():
            waiting, in_work = self._read_queue(sink)
            for priority, count in {**dict.fromkeys(PRIORITIES, 0), **waiting}.items():
                depth.add_metric([sink, priority], count)
            work.add_metric([sink], in_work)
        return depth, work

    def _read_queue(self, sink: str) -> tuple[Mapping[str, int], int]:
        read = self._queues.get(sink)
        try:
            return read() if read is not None else ({}, 0)
        except Exception:  # noqa: BLE001  # a fault there must not hide everything else
            self.observer_failed()
            return {}, 0


class _Scraped(Collector):
    """Metrics that are made when they are asked for."""

    def __init__(self, make: Callable[[], Iterable[Metric]]) -> None:
        self._make = make

    def collect(self) -> Iterable[Metric]:
        return self._make()


def _family(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
