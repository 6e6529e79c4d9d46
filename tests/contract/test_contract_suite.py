"""The contract suite itself: it passes for lesser capabilities, and fails for each broken sink.

A broken sink is the reference sink with one rule taken out. The suite has to fail, in the
case that is about that rule.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from test_memory_sink import MemoryRig

from backends import memory
from backends.contract import (
    PER_OUTPUT_KEY,
    Absent,
    Capabilities,
    DesiredSecret,
    Expectation,
    Finding,
    FindingLevel,
    Layout,
    ObservedSecret,
    Owner,
    Unchanged,
    Version,
)
from backends.errors import PreconditionFailed, TooLarge
from backends.memory import MemorySink, MemoryStore
from backends.secret_value import SecretValue
from backends.testing import OpenRig, SinkContract

LESSER = replace(
    memory.CAPABILITIES,
    compare_and_set=False,
    lists_values=False,
    layouts=frozenset({Layout.PER_OUTPUT}),
    max_secret_bytes=None,
)


class LesserSink(MemorySink):
    """A sink that lists no values, holds one in a secret, and knows no limit."""

    @property
    def capabilities(self) -> Capabilities:
        return LESSER

    async def inventory(self, owner: Owner) -> AsyncIterator[ObservedSecret]:
        async for seen in super().inventory(owner):
            yield replace(seen, data=None)

    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        assert set(desired.data) == {PER_OUTPUT_KEY}
        return await super().put(desired, expect)


def opening(sink: type[MemorySink], capabilities: Capabilities = memory.CAPABILITIES) -> OpenRig:
    @asynccontextmanager
    async def opened() -> AsyncIterator[MemoryRig]:
        rig = MemoryRig(MemoryStore())
        rig.sink = sink(rig.store)
        rig.kind = replace(rig.kind, capabilities=capabilities)
        yield rig

    return opened


class TestLesserSink(SinkContract):
    @pytest.fixture
    def open_rig(self) -> OpenRig:
        return opening(LesserSink, LESSER)


class LosesTheMark(MemorySink):
    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        version = await super().put(desired, expect)
        cell = self.store.cells[desired.address]
        self.store.cells[desired.address] = replace(cell, fields={})
        return version


class OverwritesAnything(MemorySink):
    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        self.store.cells.pop(desired.address, None)
        return await super().put(desired, Absent())


class CreatesWhatVanished(MemorySink):
    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        return await super().put(desired, expect if desired.address in self.store.cells else Absent())


class IgnoresVersions(MemorySink):
    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        cell = self.store.cells.get(desired.address)
        if cell is not None and isinstance(expect, Unchanged):
            expect = Unchanged(Version(str(cell.version)))
        return await super().put(desired, expect)


class MergesData(MemorySink):
    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        cell = self.store.cells.get(desired.address)
        old: Mapping[str, SecretValue] = cell.data if cell and not isinstance(expect, Absent) else {}
        return await super().put(replace(desired, data={**old, **desired.data}), expect)


class StripsNewlines(MemorySink):
    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        data = {key: SecretValue(value.reveal().rstrip(b"\n")) for key, value in desired.data.items()}
        return await super().put(replace(desired, data=data), expect)


class RemovesAnything(MemorySink):
    async def remove(self, observed: ObservedSecret) -> None:
        self.store.cells.pop(observed.address, None)


class RemovesNothing(MemorySink):
    async def remove(self, observed: ObservedSecret) -> None:
        if observed.address in self.store.cells and observed.ours:
            kept = dict(self.store.cells)
            await super().remove(observed)
            self.store.cells = kept


class MissesAbsence(MemorySink):
    async def remove(self, observed: ObservedSecret) -> None:
        if observed.address not in self.store.cells:
            raise PreconditionFailed("it is gone")
        await super().remove(observed)


class ListsForeign(MemorySink):
    async def inventory(self, owner: Owner) -> AsyncIterator[ObservedSecret]:
        for secret in (await self.observe(owner, list(self.store.cells))).values():
            yield secret


class ListsOnePage(MemorySink):
    async def inventory(self, owner: Owner) -> AsyncIterator[ObservedSecret]:
        count = 0
        async for secret in super().inventory(owner):
            count += 1
            if count <= 20:
                yield secret


class TrustsTheInstance(MemorySink):
    """Takes a copied secret for its own."""

    def _read(self, address: str, owner: Owner) -> ObservedSecret | None:
        seen = super()._read(address, owner)
        if seen is not None and seen.mark is not None and seen.mark.instance == owner.instance:
            return replace(seen, foreign=None)
        return seen


class TellsTheValue(MemorySink):
    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        try:
            return await super().put(desired, expect)
        except PreconditionFailed as error:
            values = [value.reveal().decode("latin-1") for value in desired.data.values()]
            raise PreconditionFailed(f"{error}: {values}") from None


class ChecksSizeTooLate(MemorySink):
    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        try:
            return await super().put(desired, expect)
        except TooLarge:
            self.store.write(desired.address, fields={}, data={})
            raise


class WritesWhileReading(MemorySink):
    async def observe(self, owner: Owner, addresses: Collection[str]) -> Mapping[str, ObservedSecret]:
        for address in set(addresses) & set(self.store.cells):
            cell = self.store.cells[address]
            self.store.write(address, fields=cell.fields, data=cell.data, attributes=cell.attributes)
        return await super().observe(owner, addresses)


class HasNothingToSay(MemorySink):
    async def check(self) -> tuple[Finding, ...]:
        return (Finding(level=FindingLevel.ERROR, subject="x", detail="broken"),)


BROKEN: dict[type[MemorySink], str] = {
    LosesTheMark: "test_what_is_created_is_observed_whole",
    OverwritesAnything: "test_an_unmarked_secret_is_foreign_and_never_overwritten",
    CreatesWhatVanished: "test_an_update_of_what_vanished_creates_nothing",
    IgnoresVersions: "test_a_stale_update_changes_nothing",
    MergesData: "test_a_key_that_is_no_longer_wanted_disappears",
    StripsNewlines: "test_bytes_come_back_exactly",
    RemovesAnything: "test_what_changed_since_it_was_observed_is_not_removed",
    RemovesNothing: "test_what_is_removed_is_gone_and_its_neighbours_stay",
    MissesAbsence: "test_removing_what_is_gone_already_succeeds",
    ListsForeign: "test_an_inventory_is_exactly_what_this_instance_wrote",
    ListsOnePage: "test_an_inventory_is_exactly_what_this_instance_wrote",
    TrustsTheInstance: "test_a_secret_with_a_mark_that_is_not_ours_is_foreign",
    TellsTheValue: "test_creating_where_our_own_is_already_changes_nothing",
    ChecksSizeTooLate: "test_a_value_of_the_largest_size_is_taken_and_one_byte_more_is_not",
    WritesWhileReading: "test_reading_writes_nothing",
    HasNothingToSay: "test_a_working_sink_has_findings_and_no_error_among_them",
}


def run(case: Callable[..., None], sink: type[MemorySink]) -> None:
    """Call a case as pytest would, with each of its parameters."""
    marks = [mark for mark in getattr(case, "pytestmark", []) if mark.name == "parametrize"]
    variants = [{mark.args[0]: value} for mark in marks for value in mark.args[1]]
    for arguments in variants or [{}]:
        case(open_rig=opening(sink), **arguments)


@pytest.mark.parametrize(("sink", "name"), BROKEN.items(), ids=[sink.__name__ for sink in BROKEN])
def test_a_broken_sink_fails_the_case_that_is_about_it(sink: type[MemorySink], name: str) -> None:
    case = getattr(SinkContract(), name)
    run(case, MemorySink)
    with pytest.raises((Exception, pytest.fail.Exception)):
        run(case, sink)
