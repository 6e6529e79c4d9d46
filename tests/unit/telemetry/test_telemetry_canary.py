"""A value that was put where none belongs, and what observers then show of it: nothing.

The types forbid it; this is for the day they are got round.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import structlog

from backends.secret_value import SecretValue
from syncer.core.changes import KeyChange, KeyChangeKind
from syncer.core.ports import Outcome
from syncer.telemetry.events import KubernetesEvents
from syncer.telemetry.health import Health
from syncer.telemetry.logs import set_up_logging
from syncer.telemetry.metrics import Metrics
from syncer.telemetry.run_log import RunLog
from syncer.telemetry.server import TelemetryServer
from syncer.telemetry.tee import Tee
from tests.unit.telemetry.telemetry_world import entry, reconciled

CANARY = b"canary-7f3a9c51e2"
SHAPES = (CANARY.decode(), base64.b64encode(CANARY).decode(), CANARY.hex())
VALUE: Any = SecretValue(CANARY)


class Clusters:
    def __init__(self) -> None:
        self.recorded: list[str] = []

    async def record(self, **event: object) -> None:
        self.recorded.append(repr(event))


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    structlog.reset_defaults()


def tell_everything(tee: Tee) -> None:
    """Every call, with a value in every place that is not a fixed word."""
    one = entry("update", keys=(KeyChange(VALUE, KeyChangeKind.ADD),))
    for told in (
        one,
        replace(one, reason=VALUE, keys=()),
        replace(one, error=VALUE),
        replace(one, subject=replace(one.subject, run_id=VALUE)),
        replace(one, subject=replace(one.subject, rule=VALUE)),
        replace(one, subject=replace(one.subject, key=VALUE)),
        replace(one, subject=replace(one.subject, path=VALUE)),
        replace(one, subject=replace(one.subject, sink=VALUE)),
        replace(entry("hold"), reason=VALUE),
        VALUE,
        entry("create", "shop/other"),
    ):
        tee.entry(told)
    for field in ("id", "sink", "key", "written", "seconds", "waited", "reason"):
        tee.reconciled(replace(reconciled(Outcome.HELD), **{field: VALUE}))
    tee.progress(VALUE, 1, 2)
    tee.failed(VALUE, VALUE)
    tee.failed("cluster", VALUE)
    tee.source(VALUE)
    tee.sink("cluster", VALUE)
    tee.sink(VALUE, None)
    tee.swept(VALUE, 1.0)
    tee.swept("cluster", VALUE)
    tee.restarted("cluster", VALUE)
    tee.leading(VALUE)
    tee.leading(True)


async def page_of(server: TelemetryServer, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.decode()


async def test_a_value_in_the_wrong_place_is_shown_nowhere(capsys):
    set_up_logging("debug")
    metrics, clusters = Metrics(sinks=["cluster"], version="1"), Clusters()
    health = Health(sinks=["cluster"])
    health.configured()
    events = KubernetesEvents({"cluster": clusters}, count=metrics.event)
    tee = Tee([RunLog(), metrics, health, events], metrics.observer_failed)
    tell_everything(tee)
    with suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            await events.run()
    async with TelemetryServer("127.0.0.1:0", metrics, health) as server:
        pages = [await page_of(server, path) for path in ("/healthz", "/readyz", "/metrics")]
    log = capsys.readouterr().err
    assert len([json.loads(line) for line in log.splitlines()]) > 10
    assert clusters.recorded
    for shown in (log, *pages, *clusters.recorded):
        assert [shape for shape in SHAPES if shape in shown] == []
