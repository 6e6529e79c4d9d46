"""What the gRPC API was asked: metrics, and the audit line of each read of sensitive values.

An observer of the API. Callers and installations are in the audit only: of those there is no end.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from syncer.telemetry.health import Verdict
from syncer.telemetry.metrics import Metrics


class ApiTelemetry:
    """Counts requests, and writes down who was given which sensitive values."""

    def __init__(self, metrics: Metrics) -> None:
        self._requests = metrics.api_requests()
        self._seconds = metrics.api_request_seconds()
        self._log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("syncer.audit")

    def request(self, method: str, code: str, seconds: float) -> None:
        """`method` is `/package.Service/Method`."""
        name = method.removeprefix("/")
        self._requests.labels(name, code).inc()
        self._seconds.labels(name).observe(seconds)

    def sensitive_read(self, caller: str, namespace: str, installation: str, names: Sequence[str]) -> None:
        self._log.warning(
            "sensitive outputs read",
            caller=caller,
            installation=f"{namespace}/{installation}",
            outputs=list(names),
        )


class ApiHealth:
    """Of a process that does nothing but serve: it answers, and so it is alive and ready."""

    def alive(self) -> Verdict:
        return Verdict(good=True, why="alive")

    def ready(self) -> Verdict:
        return Verdict(good=True, why="serving the API")
