"""What becomes of each installation at one sink, and when it is due again; in virtual time.

Simulates failures of one secret, of one installation, of the sink and of the source. Excludes what is
decided about a secret (tests/unit/core), and the order of the queue (`test_engine_queue`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import replace

import pytest
from virtual_time import run_virtual

from backends.contract import DesiredSecret, Expectation, Layout, ObservedSecret, Owner, Version
from backends.errors import Forbidden, Retry, SinkError, SinkUnavailable
from backends.memory import CAPABILITIES, MemoryNaming, MemorySink
from backends.secret_value import SecretValue
from syncer.core.errors import SourceUnavailable
from syncer.core.model import GuardLimits, InstallationKey, Policy, Rule, Target
from syncer.core.ports import Outcome, Reconciled
from syncer.engine.applier import Applier
from syncer.engine.claims import Claims
from syncer.engine.holdings import Holdings
from syncer.engine.known import Known
from syncer.engine.queue import Priority, Wish, WorkQueue
from syncer.engine.reconciler import Place
from syncer.engine.shared import Shared
from syncer.engine.tracked import TrackedSink
from syncer.engine.visits import SLOW, Visits
from tests.unit.sources.porter_world import World, source

RESYNC = 600.0
A, B, C = (InstallationKey("shop", name) for name in "abc")


class Ears:
    """Everything a controller tells."""

    def __init__(self) -> None:
        self.done: list[Reconciled] = []
        self.sources: list[str | None] = []
        self.sinks: list[tuple[str, str | None]] = []
        self.failures: list[tuple[str, str]] = []
        self.sweeps: list[str] = []
        self.led: list[bool] = []
        self.restarts: list[str] = []

    def progress(self, what: str, done: int, total: int) -> None: ...

    def entry(self, entry: object) -> None: ...

    def failed(self, sink: str, reason: str) -> None:
        self.failures.append((sink, reason))

    def reconciled(self, what: Reconciled) -> None:
        self.done.append(what)

    def source(self, failure: str | None) -> None:
        self.sources.append(failure)

    def sink(self, name: str, failure: str | None) -> None:
        self.sinks.append((name, failure))

    def swept(self, sink: str, seconds: float) -> None:
        self.sweeps.append(sink)

    def leading(self, leading: bool) -> None:
        self.led.append(leading)

    def restarted(self, sink: str, workload: str) -> None:
        self.restarts.append(workload)


class SpoiltSink(MemorySink):
    """Raises what is set for an address, or for the whole sink."""

    def __init__(self) -> None:
        super().__init__()
        self.puts: dict[str, Exception] = {}
        self.looks: dict[str, Exception] = {}
        self.removes: dict[str, Exception] = {}
        self.asked: list[Collection[str]] = []

    async def observe(self, owner: Owner, addresses: Collection[str]) -> Mapping[str, ObservedSecret]:
        self.asked.append(addresses)
        for address in addresses:
            if address in self.looks:
                raise self.looks[address]
        return await super().observe(owner, addresses)

    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        if desired.address in self.puts:
            raise self.puts[desired.address]
        return await super().put(desired, expect)

    async def remove(self, observed: ObservedSecret) -> None:
        if observed.address in self.removes:
            raise self.removes[observed.address]
        await super().remove(observed)


def policy(*parts: str) -> Policy:
    target = Target(
        sink="s",
        id="0",
        parts=parts or ("{namespace}", "{installation}"),
        layout=Layout.BUNDLE,
        naming=MemoryNaming(),
        capabilities=CAPABILITIES,
    )
    rules = (Rule(name="r", targets=(target,)),)
    return Policy(instance="test", rules=rules, guard=GuardLimits(max_deletions=2, grace=10.0))


class Bench:
    """One sink, a source, and what stands between them; `world` is what Porter wrote."""

    def __init__(self, rules: Policy | None = None) -> None:
        clock = asyncio.get_running_loop().time
        self.clock = clock
        self.world = World()
        self.source = source(self.world)
        self.sink = SpoiltSink()
        self.ears = Ears()
        self.shared = Shared(
            source=self.source,
            policy=rules or policy(),
            known=Known(clock),
            observer=self.ears,
            allowed=lambda: True,
            clock=clock,
            poll_interval=2.0,
            deletion_check_interval=15.0,
            resync_interval=RESYNC,
        )
        self.claims = Claims(str)
        self.holdings = Holdings()
        self.queue = WorkQueue[InstallationKey](clock)
        self.visits = Visits(self.shared, self.claims, self.holdings, self.queue)

    def install(self, *keys: InstallationKey) -> None:
        for key in keys:
            self.world.installation(key)
            self.world.run({"host": key.name.encode()}, key=key)

    def place(self) -> Place:
        owner = Owner(instance="test", source=self.source.fingerprint)

        async def turn() -> None: ...

        sink = TrackedSink(self.sink, self.holdings, allowed=lambda: True, turn=turn)
        return Place(name="s", sink=sink, owner=owner, same=str, applier=Applier(sink, owner))

    async def visit(
        self, *keys: InstallationKey, priority: Priority = Priority.FRESH
    ) -> dict[InstallationKey, Reconciled]:
        """What was told of each."""
        self.ears.done.clear()
        wish = Wish(priority=priority, since=self.clock())
        self.left = await self.visits.visit(self.place(), dict.fromkeys(keys, wish))
        return {one.key: one for one in self.ears.done}

    async def due(self) -> tuple[float, dict[InstallationKey, Wish]]:
        """After how many seconds whoever is due next is, and who that is."""
        begun = self.clock()
        taken = await self.queue.take(9)
        for key in taken:
            self.queue.done(key)
        return self.clock() - begun, dict(taken)

    def uninstall(self, key: InstallationKey) -> None:
        (document,) = (one for one in self.world.documents["installations"] if one["name"] == key.name)
        document["status"] |= {"installed": "2026-11-24T00:10:00Z", "uninstalled": "2026-11-24T00:11:00Z"}

    def remove(self, *keys: InstallationKey) -> None:
        documents = self.world.documents["installations"]
        documents[:] = [one for one in documents if one["name"] not in {key.name for key in keys}]


def story(tell: Callable[[Bench], Coroutine[None, None, None]], *parts: str) -> None:
    async def told() -> None:
        await tell(Bench(policy(*parts)))

    run_virtual(told())


def test_what_is_wanted_is_written_and_then_in_sync() -> None:
    async def tell(bench: Bench) -> None:
        bench.install(A, B)
        found = await bench.visit(A, B)
        assert {one.outcome for one in found.values()} == {Outcome.SYNCED}
        assert [one.written for one in found.values()] == [1, 1]
        assert all(one.fresh and not one.reason for one in found.values())
        again = await bench.visit(A, priority=Priority.SWEEP)
        assert (again[A].written, again[A].fresh) == (0, False)
        assert len(bench.queue) == 0
        assert bench.sink.writes == 2
        assert bench.claims.known() == bench.holdings.installations == {A, B}

    story(tell)


def test_how_late_a_change_arrives_counts_from_the_wish() -> None:
    async def tell(bench: Bench) -> None:
        bench.install(A)
        await asyncio.sleep(7)
        wish = Wish(priority=Priority.FRESH, since=3.0)
        await bench.visits.visit(bench.place(), {A: wish})
        assert (bench.ears.done[0].waited, bench.ears.done[0].seconds) == (4.0, 0.0)

    story(tell)


def test_what_an_uninstalled_one_has_is_answered_and_left_alone() -> None:
    async def tell(bench: Bench) -> None:
        bench.install(A)
        await bench.visit(A)
        bench.uninstall(A)
        found = await bench.visit(A)
        assert found[A].outcome is Outcome.SYNCED
        assert [one.address for one in bench.left] == ["shop/a"]
        assert bench.sink.writes == 1
        assert bench.claims.known() == frozenset()

    story(tell)


def test_outputs_on_their_way_are_looked_for_with_the_next_poll() -> None:
    async def tell(bench: Bench) -> None:
        bench.shared = replace(bench.shared, policy=replace(bench.shared.policy, settle_time=1e12))
        bench.visits = Visits(bench.shared, bench.claims, bench.holdings, bench.queue)
        bench.install(A)
        bench.world.documents["outputs"].clear()
        for _ in range(3):
            found = await bench.visit(A)
            assert found[A].outcome is Outcome.WAITING
            seconds, wishes = await bench.due()
            assert seconds == 2.0
            assert wishes[A].priority is Priority.RETRY

    story(tell)


def test_what_is_held_is_looked_at_again_after_growing_pauses() -> None:
    async def tell(bench: Bench) -> None:
        bench.install(A)
        bench.world.documents["outputs"].clear()
        pauses = []
        for _ in range(12):
            found = await bench.visit(A)
            assert found[A].outcome is Outcome.HELD
            assert found[A].reason == "output 'host' is not there"
            pauses.append((await bench.due())[0])
        for turn, pause in enumerate(pauses):
            longest = min(2.0**turn, RESYNC)
            assert longest / 2 <= pause <= longest

    story(tell)


def test_what_went_well_begins_with_short_pauses_again() -> None:
    async def tell(bench: Bench) -> None:
        bench.install(A)
        for _ in range(6):
            bench.sink.store.write("shop/a", fields={}, data={})
            await bench.visit(A)
            await bench.due()
        bench.sink.store.cells.clear()
        assert (await bench.visit(A))[A].outcome is Outcome.SYNCED
        bench.sink.store.write("shop/a", fields={}, data={"theirs": SecretValue(b"")})
        assert "not ours" in (await bench.visit(A))[A].reason
        assert (await bench.due())[0] <= 1.0

    story(tell)


def test_a_source_that_fails_concludes_nothing_but_another_try() -> None:
    async def tell(bench: Bench) -> None:
        bench.install(A, B)

        def cut(query: object) -> None:
            raise SourceUnavailable("cut")

        bench.world.before_query = cut
        found = await bench.visit(A, B)
        assert {(one.outcome, one.reason) for one in found.values()} == {(Outcome.FAILED, "source: cut")}
        assert bench.ears.sources == ["cut"]
        assert len(bench.queue) == 2
        assert bench.sink.asked == []

    story(tell)


@pytest.mark.parametrize("where", ["puts", "looks"])
def test_a_failure_of_the_whole_sink_is_raised_and_nothing_is_concluded(where: str) -> None:
    async def tell(bench: Bench) -> None:
        bench.install(A, B)
        getattr(bench.sink, where)["shop/a"] = SinkUnavailable("down")
        with pytest.raises(SinkUnavailable):
            await bench.visit(A, B)
        assert bench.ears.done == []
        assert len(bench.queue) == 0

    story(tell)


class Slow(SinkError):
    """Of somebody's own sink."""

    retry = Retry.SLOWLY


@pytest.mark.parametrize("where", ["puts", "looks"])
@pytest.mark.parametrize(
    ("error", "reason", "at_least"),
    [
        (Slow("not so soon"), "not so soon", SLOW),
        (Forbidden("may not", retry_after=50.0), "may not", 50.0),
        (
            ZeroDivisionError("s3cret"),
            "unexpected ZeroDivisionError; its details may hold secrets and are not shown",
            SLOW,
        ),
        (SinkError("odd", retry_after=5.0), "odd", 5.0),
    ],
)
def test_a_failure_of_one_concerns_that_one_only(
    where: str, error: Exception, reason: str, at_least: float
) -> None:
    async def tell(bench: Bench) -> None:
        bench.install(A, B, C)
        getattr(bench.sink, where)["shop/b"] = error
        found = await bench.visit(A, B, C)
        assert {key: one.outcome for key, one in found.items()} == {
            A: Outcome.SYNCED,
            B: Outcome.FAILED,
            C: Outcome.SYNCED,
        }
        assert found[B].reason.replace("ExceptionGroup", "ZeroDivisionError") == reason
        seconds, wishes = await bench.due()
        assert wishes.keys() == {B}
        assert seconds == at_least

    story(tell)


def test_who_wants_the_same_address_is_looked_at_too() -> None:
    async def tell(bench: Bench) -> None:
        bench.install(A, B)
        found = await bench.visit(A, B)
        assert {one.outcome for one in found.values()} == {Outcome.HELD}
        found = await bench.visit(A)
        assert found.keys() == {A}
        assert "several want this address" in found[A].reason
        assert bench.sink.writes == 0

    story(tell, "{namespace}", "same")


def test_who_waited_for_an_address_that_is_given_up_is_asked_for() -> None:
    async def tell(bench: Bench) -> None:
        bench.install(A, B)
        await bench.visit(A, B)
        await bench.due()
        await bench.due()
        bench.uninstall(A)
        await bench.visit(A)
        seconds, wishes = await bench.due()
        assert (seconds, wishes.keys()) == (0.0, {B})
        assert (await bench.visit(B))[B].outcome is Outcome.SYNCED

    story(tell, "{namespace}", "same")


def test_an_address_that_was_left_is_looked_at_with_the_new_one() -> None:
    async def tell(bench: Bench) -> None:
        bench.install(A)
        await bench.visit(A)
        bench.shared = replace(bench.shared, policy=policy("new", "{installation}"))
        bench.visits = Visits(bench.shared, bench.claims, bench.holdings, bench.queue)
        await bench.visit(A)
        assert sorted(bench.sink.store.cells) == ["new/a", "shop/a"]
        assert [one.address for one in bench.left] == ["shop/a"]

    story(tell)


def test_who_was_tried_when_the_sink_failed_comes_later_each_time() -> None:
    async def tell(bench: Bench) -> None:
        wish = Wish(priority=Priority.SWEEP, since=0.0)
        for turn in range(4):
            bench.visits.put_off(A, wish)
            seconds, wishes = await bench.due()
            assert 2.0**turn / 2 <= seconds <= 2.0**turn
            assert wishes[A].priority is Priority.SWEEP

    story(tell)
