"""A secret for each output, and sinks that list no bytes: what a pass comes to.

Simulates both with the sink in memory. Excludes real sinks of either kind (tests/contract).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace

import pytest

from backends.contract import Layout, ObservedSecret, Owner
from backends.memory import CAPABILITIES, MemoryNaming, MemorySink, MemoryStore
from backends.secret_value import SecretValue
from syncer.core.changes import State
from syncer.core.model import (
    FromOutput,
    FromTemplate,
    GuardLimits,
    KeyStyle,
    OutputFilter,
    Placeholder,
    Policy,
    Rule,
    Target,
)
from syncer.engine.passes import SinkSlot, one_pass
from syncer.engine.reconciler import Mode
from syncer.engine.report import Report
from tests.unit.engine.test_engine_pass import Ears
from tests.unit.sources.porter_world import DB, World, source


class Unlisted(MemorySink):
    """Lists no bytes, as sinks do that would need a request for each; counts whose it is asked for."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        super().__init__(store)
        self.looked_at: list[str] = []

    async def observe(self, owner: Owner, addresses: Collection[str]) -> Mapping[str, ObservedSecret]:
        self.looked_at += addresses
        return await super().observe(owner, addresses)

    async def inventory(self, owner: Owner) -> AsyncIterator[ObservedSecret]:
        async for seen in super().inventory(owner):
            yield replace(seen, data=None)


def policy(
    layout: Layout = Layout.PER_OUTPUT, outputs: OutputFilter | None = None, **changes: object
) -> Policy:
    settings: dict[str, object] = {
        "sink": "a",
        "id": "0",
        "parts": ("{namespace}", "{installation}", *(("{output}",) if layout is Layout.PER_OUTPUT else ())),
        "layout": layout,
        "naming": MemoryNaming(),
        "capabilities": CAPABILITIES,
    }
    target = Target(**(settings | changes))  # type: ignore[arg-type]
    rule = Rule(name="all", targets=(target,), outputs=outputs or OutputFilter())
    return Policy(instance="test", rules=(rule,), guard=GuardLimits(grace=0.0))


async def once(world: World, sink: MemorySink, rules: Policy) -> Report:
    slot = SinkSlot(name="a", make=lambda: sink, same=MemoryNaming().same)
    return await one_pass(source(world), rules, [slot], Mode(apply=True), Ears())


def done(report: Report) -> dict[str, str]:
    return {entry.subject.path or "": entry.action for entry in report.entries}


def bytes_in(sink: MemorySink) -> dict[str, dict[str, bytes]]:
    return {
        address: {key: value.reveal() for key, value in cell.data.items()}
        for address, cell in sink.store.cells.items()
    }


async def test_an_output_that_is_no_longer_declared_takes_its_own_secret_along() -> None:
    world, sink = World(), MemorySink()
    world.installation()
    world.run({"host": b"h", "port": b"1"})
    await once(world, sink, policy())
    assert bytes_in(sink) == {"shop/db/host": {"value": b"h"}, "shop/db/port": {"value": b"1"}}
    world.run({"host": b"h"}, action="upgrade")
    assert done(await once(world, sink, policy())) == {"shop/db/host": "update", "shop/db/port": "delete"}
    assert bytes_in(sink) == {"shop/db/host": {"value": b"h"}}


@pytest.mark.parametrize(
    "narrowed",
    [
        policy(outputs=OutputFilter(exclude=("port",))),
        policy(keys={"host": FromOutput("host")}),
    ],
    ids=["filtered", "keys"],
)
async def test_an_output_that_the_configuration_leaves_out_is_an_orphan(narrowed: Policy) -> None:
    world, sink = World(), MemorySink()
    world.installation()
    world.run({"host": b"h", "port": b"1"})
    await once(world, sink, policy())
    report = await once(world, sink, narrowed)
    assert {entry.subject.path: entry.state for entry in report.entries}["shop/db/port"] is State.ORPHANED
    assert "shop/db/port" in bytes_in(sink)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (policy(), policy(key_style=KeyStyle.UPPER_SNAKE)),
        (policy(key_style=KeyStyle.UPPER_SNAKE), policy()),
        (policy(keys={"DB_HOST": FromOutput("host")}), policy()),
        (policy(keys={"URL": FromTemplate((Placeholder("host"),))}), policy()),
    ],
    ids=["styled", "no longer styled", "no longer renamed", "no longer composed"],
)
async def test_a_name_that_the_configuration_changes_takes_nothing_away(
    before: Policy, after: Policy
) -> None:
    world, sink = World(), MemorySink()
    world.installation()
    world.run({"host": b"h"})
    await once(world, sink, before)
    (old,) = bytes_in(sink)
    report = await once(world, sink, after)
    assert {entry.subject.path: entry.state for entry in report.entries}[old] is State.ORPHANED
    assert old in bytes_in(sink)


async def test_a_target_that_is_held_keeps_its_places_from_another_rule() -> None:
    world, sink = World(), MemorySink()
    world.installation()
    world.run({"host": b"h", "port": b"1"})
    (first,) = policy(
        keys={"host": FromTemplate((Placeholder("host"), "!")), "port": FromOutput("port")}
    ).rules
    (second,) = policy(keys={"host": FromOutput("host")}).rules
    both = replace(policy(), rules=(first, replace(second, name="second")))
    await once(world, sink, replace(both, rules=(first,)))
    world.run({"host": b"h"}, action="upgrade")
    report = await once(world, sink, both)
    assert {entry.action for entry in report.entries} == {"hold"}
    assert bytes_in(sink) == {"shop/db/host": {"value": b"h!"}, "shop/db/port": {"value": b"1"}}


async def test_a_styled_name_is_known_as_that_of_its_output() -> None:
    world, sink = World(), MemorySink()
    world.installation()
    world.run({"db-host": b"h", "db-port": b"1"})
    snake = policy(key_style=KeyStyle.UPPER_SNAKE)
    await once(world, sink, snake)
    assert set(bytes_in(sink)) == {"shop/db/DB_HOST", "shop/db/DB_PORT"}
    world.run({"db-host": b"h2"}, action="upgrade")
    assert done(await once(world, sink, snake)) == {"shop/db/DB_HOST": "update", "shop/db/DB_PORT": "delete"}


async def test_a_pass_in_which_nothing_changed_looks_at_no_bytes() -> None:
    world, sink = World(), Unlisted()
    world.installation()
    world.run({"host": b"h"})
    await once(world, sink, policy(Layout.BUNDLE))
    sink.looked_at.clear()
    assert done(await once(world, sink, policy(Layout.BUNDLE))) == {"shop/db": "keep"}
    assert sink.looked_at == []


async def test_equal_bytes_of_a_newer_run_keep_the_content_id() -> None:
    world, sink = World(), Unlisted()
    world.installation()
    world.run({"host": b"h"})
    await once(world, sink, policy(Layout.BUNDLE))
    before = sink.store.cells["shop/db"].fields
    world.run({"host": b"h"}, action="upgrade")
    report = await once(world, sink, policy(Layout.BUNDLE))
    after = sink.store.cells["shop/db"].fields
    assert [(entry.action, entry.keys) for entry in report.entries] == [("update", ())]
    assert (after["content-id"], sink.looked_at) == (before["content-id"], ["shop/db", "shop/db"])
    assert after["result-id"] > before["result-id"]


async def test_what_vanished_between_list_and_look_is_created() -> None:
    world, store = World(), MemoryStore()
    world.installation()
    world.run({"host": b"h"})

    class Vanishing(Unlisted):
        async def observe(self, owner: Owner, addresses: Collection[str]) -> Mapping[str, ObservedSecret]:
            self.store.cells.clear()
            return await super().observe(owner, addresses)

    await once(world, MemorySink(store), policy(Layout.BUNDLE))
    world.run({"host": b"h2"}, action="upgrade")
    assert done(await once(world, Vanishing(store), policy(Layout.BUNDLE))) == {"shop/db": "create"}
    assert bytes_in(MemorySink(store)) == {"shop/db": {"host": b"h2"}}


async def test_foreign_bytes_are_not_looked_at() -> None:
    world, sink = World(), Unlisted()
    world.installation(DB)
    world.run({"host": b"h"})
    sink.store.write("shop/db", fields={}, data={"mine": SecretValue(b"!")})
    assert done(await once(world, sink, policy(Layout.BUNDLE))) == {"shop/db": "conflict"}
