"""One pass over Porter's documents in memory and sinks in memory, with faults put in between.

Simulates: a source that changes while the pass runs, sinks that fail, race or refuse. Excludes
real servers (tests/functional) and what is decided purely (tests/unit/core).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import pytest

from backends.contract import Absent, DesiredSecret, Expectation, Layout, ObservedSecret, Owner, Version
from backends.errors import (
    AuthenticationFailed,
    Forbidden,
    NameRefused,
    OutcomeUnknown,
    PreconditionFailed,
    Refused,
    SinkError,
    SinkUnavailable,
    Throttled,
)
from backends.memory import CAPABILITIES, MemoryNaming, MemorySink, MemoryStore
from backends.secret_value import SecretValue
from syncer.core.changes import State
from syncer.core.errors import SourceUnavailable
from syncer.core.model import GuardLimits, InstallationKey, Match, OnUninstall, Policy, Rule, Target
from syncer.engine import applier
from syncer.engine.batches import BATCH
from syncer.engine.passes import SinkSlot, one_pass
from syncer.engine.reconciler import Mode
from syncer.engine.report import Entry, Report, applied
from tests.unit.sources.porter_world import World, source

APPLY = Mode(apply=True)
PLAN = Mode(apply=False)


def target(sink: str, *parts: str) -> Target:
    return Target(
        sink=sink,
        id="0",
        parts=parts or ("{namespace}", "{installation}"),
        layout=Layout.BUNDLE,
        naming=MemoryNaming(),
        capabilities=CAPABILITIES,
    )


def policy(*sinks: str, **rule: object) -> Policy:
    rules = [Rule(name=f"to-{sink}", targets=(target(sink),), **rule) for sink in sinks]  # type: ignore[arg-type]
    return Policy(instance="test", rules=tuple(rules), guard=GuardLimits(grace=0.0))


class Ears:
    def __init__(self) -> None:
        self.entries: list[object] = []
        self.failures: dict[str, str] = {}

    def progress(self, what: str, done: int, total: int) -> None: ...

    def entry(self, entry: object) -> None:
        self.entries.append(entry)

    def failed(self, sink: str, reason: str) -> None:
        self.failures[sink] = reason


@dataclass
class Faulty(MemorySink):
    """A sink whose calls fail as told: each error is raised once, by the method it names."""

    store: MemoryStore
    faults: dict[str, list[SinkError]] = field(default_factory=dict)
    before_put: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        super().__init__(self.store)

    def _trip(self, method: str) -> None:
        if self.faults.get(method):
            raise self.faults[method].pop(0)

    async def observe(self, owner: Owner, addresses: Collection[str]) -> Mapping[str, ObservedSecret]:
        self._trip("observe")
        return await super().observe(owner, addresses)

    async def inventory(self, owner: Owner) -> AsyncIterator[ObservedSecret]:
        async for observed in super().inventory(owner):
            yield observed
        self._trip("inventory")

    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        self.before_put()
        self._trip("put")
        return await super().put(desired, expect)

    async def remove(self, observed: ObservedSecret) -> None:
        self._trip("remove")
        await super().remove(observed)


async def run(
    world: World, sinks: Mapping[str, MemorySink], mode: Mode = APPLY, rules: Policy | None = None
) -> Report:
    slots = [
        SinkSlot(name=name, make=lambda sink=sink: sink, same=MemoryNaming().same)  # type: ignore[misc]
        for name, sink in sinks.items()
    ]
    return await one_pass(source(world), rules or policy(*sinks), slots, mode, Ears())


def shop(count: int = 1) -> World:
    world = World()
    for number in range(count):
        key = InstallationKey("shop", f"db-{number}")
        world.installation(key)
        world.run({"host": f"host-{number}".encode(), "port": b"1"}, key=key)
    return world


def plant(store: MemoryStore, address: str) -> None:
    """Somebody else's secret, without a mark."""
    store.write(address, fields={}, data={"mine": SecretValue(b"!")})


def outcome(report: Report) -> list[tuple[str, str, str | None]]:
    return [(entry.action, entry.subject.address, entry.error) for entry in report.entries]


def only(report: Report) -> Entry:
    (entry,) = report.entries
    return entry


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applier, "_wait", lambda state: 0.0)
    monkeypatch.setattr(applier, "_FIRST_PAUSE", 0.0)


async def test_a_second_pass_writes_nothing() -> None:
    world, sink = shop(3), MemorySink()
    await run(world, {"a": sink})
    before = sink.writes
    report = await run(world, {"a": sink})
    assert sink.writes == before == 3
    assert {entry.action for entry in report.entries} == {"keep"}


async def test_a_quiet_pass_reads_no_value() -> None:
    world, sink = shop(3), MemorySink()
    await run(world, {"a": sink})
    world.queries.clear()
    await run(world, {"a": sink})
    assert not [query for query in world.queries if "value" in query.fields]


async def test_a_plan_writes_nothing_and_lists_what_the_pass_then_does() -> None:
    world, sink = shop(2), MemorySink()
    planned = await run(world, {"a": sink}, PLAN)
    assert sink.writes == 0
    assert outcome(planned) == outcome(await run(world, {"a": sink}))


@pytest.mark.parametrize("error", [SinkUnavailable("down"), AuthenticationFailed("no login")])
async def test_a_dead_sink_is_reported_and_delays_no_other(error: SinkError) -> None:
    world = shop(3)
    dead = Faulty(MemoryStore(), {"inventory": [error]})
    alive = MemorySink()
    report = await run(world, {"dead": dead, "alive": alive})
    assert [one.failure for one in report.sinks] == [error.reason, None]
    assert report.failed
    assert (dead.writes, alive.writes) == (0, 3)


async def test_a_source_that_cannot_be_read_ends_the_pass_before_anything_is_concluded() -> None:
    world, sink = shop(2), MemorySink()
    await run(world, {"a": sink})

    def cut(query: object) -> None:
        raise SourceUnavailable("cut")

    world.before_query = cut
    with pytest.raises(SourceUnavailable):
        await run(world, {"a": sink})
    assert sink.writes == 2


async def test_a_source_that_fails_when_values_are_read_stops_the_sink_without_a_write() -> None:
    world, sink = shop(2), MemorySink()

    def cut(query: object) -> None:
        if "value" in query.fields:  # type: ignore[attr-defined]
            raise SourceUnavailable("cut")

    world.before_query = cut
    report = await run(world, {"a": sink})
    assert [one.failure for one in report.sinks] == ["source: cut"]
    assert sink.writes == 0


async def test_a_write_that_fails_for_a_moment_is_tried_again() -> None:
    sink = Faulty(MemoryStore(), {"put": [SinkUnavailable("blip"), SinkUnavailable("blip")]})
    report = await run(shop(), {"a": sink})
    assert not report.failed
    assert sink.writes == 1


async def test_a_sink_that_stays_down_gets_no_further_request() -> None:
    sink = Faulty(MemoryStore(), {"put": [SinkUnavailable("down") for _ in range(200)]})
    report = await run(shop(100), {"a": sink})
    assert {entry.error for entry in report.entries} == {"down"}
    assert report.sinks[0].failure == "down"
    # NB: 32 were in flight when the first one gave up after four attempts
    assert len(sink.faults["put"]) >= 200 - 32 * 4


async def test_a_missing_right_fails_its_own_secret_only() -> None:
    sink = Faulty(MemoryStore(), {"put": [Forbidden("create secrets in shop")]})
    report = await run(shop(3), {"a": sink})
    assert sorted(str(entry.error) for entry in report.entries) == ["None", "None", "create secrets in shop"]
    assert report.failed
    assert sink.writes == 2


async def test_a_refused_secret_is_held() -> None:
    sink = Faulty(MemoryStore(), {"put": [Refused("immutable")]})
    entry = only(await run(shop(), {"a": sink}))
    assert (entry.action, entry.reason, entry.error) == ("hold", "immutable", None)


async def test_a_lost_answer_is_looked_up_before_anything_is_sent_again() -> None:
    store = MemoryStore()

    class LosesAnswers(MemorySink):
        async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
            await super().put(desired, expect)
            raise OutcomeUnknown("no answer")

    sink = LosesAnswers(store)
    entry = only(await run(shop(), {"a": sink}))
    assert (entry.action, entry.reason) == ("keep", "in sync")
    assert sink.writes == 1


async def test_a_foreign_secret_that_appears_meanwhile_stays_and_is_a_conflict() -> None:
    store = MemoryStore()
    sink = Faulty(store)
    sink.before_put = lambda: plant(store, "shop/db-0")
    entry = only(await run(shop(), {"a": sink}))
    assert entry.action == "conflict"
    assert store.cells["shop/db-0"].data.keys() == {"mine"}


async def test_a_secret_that_keeps_changing_is_left_for_now() -> None:
    sink = Faulty(MemoryStore(), {"put": [PreconditionFailed("changed") for _ in range(9)]})
    report = await run(shop(), {"a": sink})
    assert only(report).error == "it keeps changing while it is written"


async def test_a_deleted_installation_takes_exactly_its_own_secrets_along() -> None:
    world, sink = shop(3), MemorySink()
    await run(world, {"a": sink})
    del world.documents["installations"][1]
    report = await run(world, {"a": sink})
    assert [entry.subject.address for entry in applied(report.entries)] == ["a:shop/db-1"]
    assert {entry.action for entry in report.entries} == {"keep", "delete"}


async def test_an_installation_that_is_back_at_the_second_look_keeps_its_secrets() -> None:
    world, sink = shop(3), MemorySink()
    await run(world, {"a": sink})
    gone = world.documents["installations"].pop(1)
    lists = 0

    def comes_back(query: object) -> None:
        nonlocal lists
        if query.collection == "outputs" or lists > 2:  # type: ignore[attr-defined]
            return
        lists += query.collection == "installations"  # type: ignore[attr-defined]
        if lists == 3 and gone not in world.documents["installations"]:
            world.documents["installations"].append(gone)

    world.before_query = comes_back
    report = await run(world, {"a": sink})
    assert "delete" not in {entry.action for entry in report.entries}
    assert set(sink.store.cells) == {"shop/db-0", "shop/db-1", "shop/db-2"}


async def test_many_deletions_are_held_until_exactly_that_set_is_approved() -> None:
    world, sink = shop(8), MemorySink()
    await run(world, {"a": sink})
    del world.documents["installations"][:7]
    report = await run(world, {"a": sink})
    held = report.sinks[0].held_hash
    assert held
    assert len(sink.store.cells) == 8
    await run(world, {"a": sink}, replace(APPLY, approved=frozenset({"0" * len(held)})))
    assert len(sink.store.cells) == 8
    await run(world, {"a": sink}, replace(APPLY, approved=frozenset({held})))
    assert set(sink.store.cells) == {"shop/db-7"}


async def test_an_empty_source_deletes_nothing_however_few_there_were() -> None:
    world, sink = shop(1), MemorySink()
    await run(world, {"a": sink})
    for documents in world.documents.values():
        documents.clear()
    report = await run(world, {"a": sink})
    assert only(report).action == "hold"
    assert "no installation at all" in only(report).reason
    assert set(sink.store.cells) == {"shop/db-0"}


async def test_an_unreadable_installation_document_holds_every_deletion() -> None:
    world, sink = shop(3), MemorySink()
    await run(world, {"a": sink})
    world.documents["installations"][1]["name"] = {"$ne": ""}
    report = await run(world, {"a": sink})
    assert "delete" not in {entry.action for entry in report.entries}
    assert len(sink.store.cells) == 3


async def test_a_refused_delete_is_reported_and_the_rest_goes_on() -> None:
    world = shop(6)
    sink = Faulty(MemoryStore())
    await run(world, {"a": sink})
    del world.documents["installations"][:2]
    sink.faults["remove"] = [PreconditionFailed("changed")]
    report = await run(world, {"a": sink})
    assert sorted(e.action for e in report.entries if e.action != "keep") == ["delete", "hold"]
    assert len(sink.store.cells) == 5


async def test_what_the_configuration_no_longer_wants_stays_until_it_is_pruned() -> None:
    world, sink = shop(2), MemorySink()
    await run(world, {"a": sink})
    empty = Policy(instance="test", rules=(), guard=GuardLimits(grace=0.0))
    report = await run(world, {"a": sink}, rules=empty)
    assert {entry.state.value for entry in report.entries} == {"Orphaned"}
    await run(world, {"a": sink}, replace(APPLY, prune=True, deletions_only=True), rules=empty)
    assert not sink.store.cells


async def test_only_the_adopted_address_is_taken_over() -> None:
    store = MemoryStore()
    for name in ("db-0", "db-1"):
        plant(store, f"shop/{name}")
    sink = MemorySink(store)
    mode = Mode(apply=True, adopt=True, only=frozenset({"a:shop/db-0"}))
    report = await run(shop(2), {"a": sink}, mode)
    assert outcome(report) == [("update", "a:shop/db-0", None)]
    assert store.cells["shop/db-1"].data.keys() == {"mine"}


async def test_two_installations_on_one_address_are_both_held_whoever_comes_first() -> None:
    world, sink = shop(2), MemorySink()
    rules = Policy(
        instance="test",
        rules=(Rule(name="r", targets=(target("a", "{namespace}", "same"),)),),
        guard=GuardLimits(grace=0.0),
    )
    report = await run(world, {"a": sink}, rules=rules)
    assert [entry.action for entry in report.entries] == ["hold", "hold"]
    assert not sink.store.cells


async def test_an_uninstalled_installation_is_frozen_under_retain() -> None:
    world, sink = shop(1), MemorySink()
    retain = policy("a", on_uninstall=OnUninstall.RETAIN)
    await run(world, {"a": sink}, rules=retain)
    status = world.documents["installations"][0]["status"]
    status.update(installed="2026-11-24T00:10:00Z", uninstalled="2026-11-24T00:11:00Z")
    report = await run(world, {"a": sink}, rules=retain)
    assert only(report).reason.startswith("frozen")
    assert set(sink.store.cells) == {"shop/db-0"}
    delete = await run(world, {"a": sink})
    assert only(delete).action == "delete"
    assert not sink.store.cells


async def test_absent_is_what_a_create_expects() -> None:
    seen: list[Expectation] = []

    class Notes(MemorySink):
        async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
            seen.append(expect)
            return await super().put(desired, expect)

    await run(shop(), {"a": Notes()})
    assert seen == [Absent()]


async def test_a_sink_that_cannot_be_opened_is_reported_and_delays_no_other() -> None:
    class Shut(MemorySink):
        async def __aenter__(self) -> Self:
            raise AuthenticationFailed("no login")

    alive = MemorySink()
    report = await run(shop(), {"shut": Shut(), "alive": alive})
    assert [one.failure for one in report.sinks] == ["no login", None]
    assert alive.writes == 1


async def test_more_than_one_page_of_secrets_is_looked_at_whole() -> None:
    world, sink = shop(BATCH + 1), MemorySink()
    await run(world, {"a": sink})
    report = await run(world, {"a": sink})
    assert [entry.action for entry in report.entries] == ["keep"] * (BATCH + 1)
    assert sink.writes == BATCH + 1


async def test_an_installation_that_cannot_be_read_is_held_by_every_rule_it_could_have_the_labels_for() -> (
    None
):
    world, sink = shop(1), MemorySink()
    labelled = policy("a", match=Match(labels={"team": "db"}))
    await run(world, {"a": sink}, rules=labelled)
    world.documents["installations"][0]["labels"] = "broken"
    entry = only(await run(world, {"a": sink}, rules=labelled))
    assert entry.action == "hold"
    assert set(sink.store.cells) == {"shop/db-0"}


async def test_what_has_no_address_is_held_and_named() -> None:
    class Strict(MemoryNaming):
        def address(self, parts: tuple[str, ...]) -> str:
            raise NameRefused("no such place")

    to = replace(target("a"), naming=Strict())
    rules = Policy(instance="test", rules=(Rule(name="r", targets=(to,)),))
    entry = only(await run(shop(), {"a": MemorySink()}, rules=rules))
    assert (entry.action, entry.reason, entry.subject.path) == ("hold", "no such place", None)


async def test_a_source_that_fails_at_the_second_look_deletes_nothing() -> None:
    world, sink = shop(3), MemorySink()
    await run(world, {"a": sink})
    del world.documents["installations"][1]
    lists = 0

    def cut(query: object) -> None:
        nonlocal lists
        lists += query.collection == "installations"  # type: ignore[attr-defined]
        if lists > 3:
            raise SourceUnavailable("cut")

    world.before_query = cut
    report = await run(world, {"a": sink})
    assert report.sinks[0].failure == "source: cut"
    assert len(sink.store.cells) == 3


async def test_a_plan_lists_deletions_and_makes_none() -> None:
    world, sink = shop(3), MemorySink()
    await run(world, {"a": sink})
    del world.documents["installations"][1]
    report = await run(world, {"a": sink}, PLAN)
    assert ("delete", "a:shop/db-1", None) in outcome(report)
    assert len(sink.store.cells) == 3


async def test_a_young_result_without_its_outputs_settles_and_an_old_one_is_incomplete() -> None:
    world, sink = shop(1), MemorySink()
    world.documents["outputs"].pop()
    assert only(await run(world, {"a": sink})).state is State.INCOMPLETE
    patient = replace(policy("a"), settle_time=1e12)
    assert only(await run(world, {"a": sink}, rules=patient)).state is State.SETTLING
    assert not sink.store.cells


async def test_a_source_that_is_empty_at_the_second_look_proves_nothing() -> None:
    world, sink = shop(3), MemorySink()
    await run(world, {"a": sink})
    del world.documents["installations"][1]
    lists = 0

    def emptied(query: object) -> None:
        nonlocal lists
        lists += query.collection == "installations"  # type: ignore[attr-defined]
        if lists > 3:
            world.documents["installations"].clear()

    world.before_query = emptied
    report = await run(world, {"a": sink})
    assert not applied(report.entries)
    assert len(sink.store.cells) == 3


async def test_a_delete_whose_answer_was_lost_is_done_and_not_held() -> None:
    class LosesAnswers(MemorySink):
        async def remove(self, observed: ObservedSecret) -> None:
            there = observed.address in self.store.cells
            await super().remove(observed)
            if there:
                raise OutcomeUnknown("no answer")

    world, sink = shop(3), LosesAnswers()
    await run(world, {"a": sink})
    del world.documents["installations"][1]
    report = await run(world, {"a": sink})
    assert [entry.subject.address for entry in applied(report.entries)] == ["a:shop/db-1"]
    assert set(sink.store.cells) == {"shop/db-0", "shop/db-2"}


async def test_a_server_that_wants_to_be_left_alone_for_long_is_left_alone() -> None:
    faults = {"put": [Throttled("slow down", retry_after=60) for _ in range(4)]}
    sink = Faulty(MemoryStore(), faults=faults)
    report = await run(shop(), {"a": sink})
    assert only(report).error == "slow down"
    assert len(faults["put"]) == 3
    faults = {"put": [Throttled("slow down", retry_after=20)]}
    report = await run(shop(), {"a": Faulty(MemoryStore(), faults=faults)})
    assert (only(report).error, faults["put"]) == (None, [])


async def test_a_sink_whose_every_write_is_lost_is_given_up_and_not_hammered() -> None:
    lost = [OutcomeUnknown("create: sent, but the server failed") for _ in range(400)]
    sink = Faulty(MemoryStore(), faults={"put": lost})
    report = await run(shop(100), {"a": sink})
    assert report.sinks[0].failure == "create: sent, but the server failed"
    assert 400 - len(lost) <= 4 * 32, "those in flight, and no others"
    assert {entry.error for entry in report.entries} == {"create: sent, but the server failed"}


async def test_a_server_that_names_a_long_pause_after_a_lost_write_is_left_alone() -> None:
    lost = [OutcomeUnknown("lost", retry_after=60) for _ in range(4)]
    report = await run(shop(), {"a": Faulty(MemoryStore(), faults={"put": lost})})
    assert (only(report).error, len(lost)) == ("lost", 3)


async def test_a_fault_in_one_sinks_code_stops_no_other() -> None:
    class Broken(MemorySink):
        async def inventory(self, owner: Owner) -> AsyncIterator[ObservedSecret]:
            raise KeyError("canary")
            yield  # an iterator, all the same

    good = MemorySink()
    report = await run(shop(), {"a": Broken(), "b": good})
    assert {sink.sink: sink.failure and sink.failure.split(";")[0] for sink in report.sinks} == {
        "a": "unexpected KeyError",
        "b": None,
    }
    assert "canary" not in repr(report)
    assert set(good.store.cells) == {"shop/db-0"}
