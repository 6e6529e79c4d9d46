"""Which Kubernetes Events are told, how often, and what happens when they cannot be.

Simulates the cluster by a recorder that notes, fails or hangs, and time by a clock that sleeping moves.
Excludes a real API server (tests/contract/test_kubernetes_events.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import structlog

from backends.errors import Forbidden, SinkError, TargetUnavailable
from syncer.core.changes import KeyChange, KeyChangeKind, State
from syncer.core.model import InstallationKey
from syncer.engine.report import Entry
from syncer.telemetry import events as module
from syncer.telemetry.events import AGAIN, QUEUED, KubernetesEvents
from tests.unit.telemetry.telemetry_world import entry, reconciled

DEADLINE = 10.0
OTHER = InstallationKey("shop", "other")


class Time:
    """Only sleeping takes time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


class Cluster:
    """A `Recorder` that notes what it is given, and when."""

    def __init__(self, time: Time) -> None:
        self.time = time
        self.failure: SinkError | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.recorded: list[dict[str, object]] = []
        self.tried: list[float] = []

    async def record(self, **event: object) -> None:
        self.tried.append(self.time.now)
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        self.recorded.append(event)

    @property
    def reasons(self) -> list[object]:
        return [event["reason"] for event in self.recorded]


class Rig:
    def __init__(self) -> None:
        self.time = Time()
        self.clusters = {"cluster": Cluster(self.time), "other": Cluster(self.time)}
        self.counted: list[tuple[str, str]] = []
        self.events = KubernetesEvents(
            self.clusters,
            count=lambda sink, result: self.counted.append((sink, result)),
            clock=self.time,
            now=lambda: 1_790_000_000.0 + self.time.now,
            sleep=self.time.sleep,
        )

    @property
    def cluster(self) -> Cluster:
        return self.clusters["cluster"]

    async def told(self, *entries: Entry) -> list[object]:
        """The reasons recorded after these entries were told and everything was sent."""
        for one in entries:
            self.events.entry(one)
        async with self.running():
            await until(lambda: all(lane._waiting.empty() for lane in self.events._lanes.values()))
        return self.cluster.reasons

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.events.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110  # the loop is given to whoever makes it true
            await asyncio.sleep(0)


@pytest.fixture
async def rig() -> Rig:
    return Rig()


# --- what is told


@pytest.mark.parametrize(
    ("told", "reason", "warning"),
    [
        (entry("create"), "Created", False),
        (entry("update"), "Updated", False),
        (entry("update", state=State.DRIFTED), "DriftReverted", True),
        (entry("delete"), "Deleted", False),
        (entry("conflict"), "Conflict", True),
        (entry("hold"), "Held", True),
        (entry("hold", state=State.INCOMPLETE), "Held", True),
    ],
)
async def test_what_is_done_and_what_stands_in_the_way_is_told(rig, told, reason, warning):
    await rig.told(told)
    [event] = rig.cluster.recorded
    assert (event["address"], event["reason"], event["warning"]) == ("shop/orders-db", reason, warning)
    assert event["at"] == 1_790_000_000.0
    assert rig.counted == [("cluster", "recorded")]


@pytest.mark.parametrize(
    "quiet",
    [
        entry("keep"),
        entry("keep", state=State.ORPHANED),
        entry("hold", state=State.SETTLING),
        entry("hold", None),
        entry("create", error="refused"),
        entry("create", sink="vault"),
    ],
)
async def test_what_is_no_news_or_has_no_secret_is_not_told(rig, quiet):
    assert await rig.told(quiet) == []
    assert rig.counted == []


@pytest.mark.fault(36)
async def test_a_secret_that_somebody_deleted_is_recreated_and_one_that_we_deleted_is_created(rig):
    assert await rig.told(entry("keep"), entry("create"), entry("delete"), entry("create")) == [
        "Recreated",
        "Deleted",
        "Created",
    ]


async def test_whoever_leads_again_does_not_know_what_was_there(rig):
    await rig.told(entry("keep"))
    rig.events.leading(False)
    rig.events.leading(True)
    assert await rig.told(entry("create")) == ["Created"]


async def test_a_note_names_installation_rule_run_and_keys(rig):
    keys = (KeyChange("host", KeyChangeKind.ADD), KeyChange("port", KeyChangeKind.CHANGE))
    await rig.told(
        entry("update", reason="newer outputs or another layout", keys=keys),
        entry("hold", reason="output 'x' is not there"),
        entry("update", keys=tuple(KeyChange(f"key-{n}", KeyChangeKind.ADD) for n in range(25))),
    )
    notes = [str(event["note"]) for event in rig.cluster.recorded]
    assert notes[0] == (
        "newer outputs or another layout (installation shop/orders-db, rule everything, run 01RUN):"
        " host (add), port (change)"
    )
    assert notes[1] == "output 'x' is not there (installation shop/orders-db, rule everything)"
    assert notes[2].endswith("key-19 (add), and 5 more")


async def test_what_is_not_about_secrets_is_not_told(rig):
    rig.events.progress("installations", 1, 2)
    rig.events.failed("cluster", "refused")
    rig.events.reconciled(reconciled())
    rig.events.source("cannot be reached")
    rig.events.sink("cluster", "sealed")
    rig.events.swept("cluster", 1.0)
    rig.events.leading(True)
    rig.events.restarted("cluster", "Deployment shop/app")
    assert await rig.told() == []


# --- how often


@pytest.mark.parametrize("action", ["hold", "conflict"])
async def test_a_trouble_that_goes_on_is_told_again_only_after_a_while(rig, action):
    await rig.told(entry(action), entry(action))
    rig.time.now += AGAIN - 1
    await rig.told(entry(action))
    assert len(rig.cluster.recorded) == 1
    rig.time.now += 1
    await rig.told(entry(action))
    assert len(rig.cluster.recorded) == 2


async def test_another_trouble_or_one_that_comes_back_is_told_at_once(rig):
    assert await rig.told(
        entry("hold"),
        entry("hold", reason="too large"),
        entry("conflict", reason="too large"),
        entry("hold", key=OTHER),
        entry("keep"),
        entry("conflict", reason="too large"),
        entry("hold", key=OTHER),
    ) == ["Held", "Held", "Conflict", "Held", "Conflict"]


async def test_no_more_are_sent_than_the_rate_allows(rig):
    for number in range(300):
        rig.events.entry(entry("create", f"shop/{number}"))
    async with rig.running():
        await until(lambda: len(rig.cluster.recorded) == 300)
    tried = rig.cluster.tried
    windows = [sum(start <= at < start + 10.0 for at in tried) for start in tried]
    assert max(windows) <= 100
    assert tried[49] == 0.0


async def test_more_than_can_wait_are_dropped_and_counted(rig):
    for number in range(QUEUED + 3):
        rig.events.entry(entry("create", f"shop/{number}"))
    assert rig.counted == [("cluster", "dropped")] * 3


# --- when they cannot be told


async def test_what_is_refused_is_said_once_and_counted_and_others_are_not_held_up(rig):
    rig.cluster.failure = Forbidden("the right to create events in namespace shop is missing")
    with structlog.testing.capture_logs() as lines:
        for number in range(3):
            rig.events.entry(entry("create", f"shop/{number}"))
            rig.events.entry(entry("create", f"shop/{number}", sink="other"))
        async with rig.running():
            await until(lambda: len(rig.counted) == 6)
    assert rig.counted.count(("cluster", "failed")) == 3
    assert rig.counted.count(("other", "recorded")) == 3
    [line] = lines
    assert (line["event"], line["sink"], line["log_level"]) == ("event not recorded", "cluster", "warning")


async def test_a_cluster_that_takes_no_events_is_left_alone_for_a_while(rig):
    rig.cluster.failure = Forbidden("missing")
    await rig.told(*(entry("create", f"shop/{number}") for number in range(3)))
    assert [later - at for at, later in zip(rig.cluster.tried, rig.cluster.tried[1:], strict=False)] == [
        pytest.approx(module._PAUSE),
        pytest.approx(module._PAUSE),
    ]


async def test_a_namespace_that_is_missing_delays_no_others_events(rig):
    rig.cluster.failure = TargetUnavailable("namespace shop does not exist")
    await rig.told(*(entry("create", f"shop/{number}") for number in range(3)))
    assert rig.cluster.tried == [0.0] * 3


async def test_a_cluster_that_hangs_holds_up_no_other(rig):
    rig.cluster.open.clear()
    for sink in ("cluster", "other"):
        rig.events.entry(entry("create", sink=sink))
    async with asyncio.timeout(DEADLINE), rig.running():
        await until(lambda: rig.counted == [("other", "recorded")])


async def test_at_the_end_what_waits_is_sent(rig):
    rig.cluster.open.clear()
    for number in range(3):
        rig.events.entry(entry("create", f"shop/{number}"))
    async with rig.running():
        await until(lambda: bool(rig.cluster.tried))
        rig.cluster.open = asyncio.Event()
        rig.cluster.open.set()
    assert [event["address"] for event in rig.cluster.recorded] == ["shop/1", "shop/2"]


async def test_the_end_waits_a_second_at_most_for_a_cluster_that_hangs(rig, monkeypatch):
    assert module._FLUSH == 1.0
    monkeypatch.setattr(module, "_FLUSH", 0.05)
    rig.cluster.open.clear()
    async with asyncio.timeout(DEADLINE):
        async with rig.running():
            for number in range(3):
                rig.events.entry(entry("create", f"shop/{number}"))
            await until(lambda: bool(rig.cluster.tried))
    assert rig.cluster.recorded == []
