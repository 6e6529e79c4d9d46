"""The cases of the contract: what every sink does, whatever it is made of.

Each is a fact about all sinks. What they are written with is in `rig`.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from backends.contract import (
    PER_OUTPUT_KEY,
    Absent,
    Expectation,
    FindingLevel,
    TakeOver,
    Unchanged,
    Version,
)
from backends.errors import ForeignSecret, PreconditionFailed, TooLarge
from backends.testing.rig import (
    CANARY,
    MANY,
    Rig,
    case,
    desired,
    forged,
    forgeries,
    inventory,
    needs_bundles,
    observed,
    refused,
    shows,
    stored,
)


class SinkContract:
    """The cases. Subclass it, and give it a fixture `open_rig` (see the module)."""

    # --- reading

    @case
    async def test_a_working_sink_has_findings_and_no_error_among_them(self, rig: Rig) -> None:
        findings = await rig.sink.check()
        assert findings
        assert FindingLevel.ERROR not in {finding.level for finding in findings}

    @case
    async def test_the_kind_tells_the_sinks_own_capabilities(self, rig: Rig) -> None:
        assert rig.sink.capabilities == rig.kind.capabilities

    @case
    async def test_what_is_absent_is_missing_from_the_answer(self, rig: Rig) -> None:
        await rig.sink.put(desired(rig, 1), Absent())
        assert set(await rig.sink.observe(rig.owner, [rig.address(n) for n in (1, 2)])) == {rig.address(1)}
        assert await rig.sink.observe(rig.owner, []) == {}

    @case
    async def test_an_empty_sink_has_an_empty_inventory(self, rig: Rig) -> None:
        assert await inventory(rig) == {}

    @case
    async def test_reading_writes_nothing(self, rig: Rig) -> None:
        await rig.sink.put(desired(rig, 1), Absent())
        await rig.plant_foreign(rig.address(2), {PER_OUTPUT_KEY: CANARY})
        before = [await stored(rig, number) for number in (1, 2)]
        await rig.sink.check()
        await rig.sink.observe(rig.owner, [rig.address(number) for number in (1, 2, 3)])
        await inventory(rig)
        assert [await stored(rig, number) for number in (1, 2)] == before

    @case
    async def test_an_inventory_is_exactly_what_this_instance_wrote(self, rig: Rig) -> None:
        another = replace(rig.owner, instance=f"{rig.owner.instance}-2")
        mine, theirs, foreign = range(MANY), range(MANY, MANY + 2), range(MANY + 2, MANY + 4)
        for number in mine:
            await rig.sink.put(desired(rig, number), Absent())
        for number in theirs:
            await rig.sink.put(desired(rig, number, instance=another.instance), Absent())
        for number in foreign:
            await rig.plant_foreign(rig.address(number), {PER_OUTPUT_KEY: CANARY})
        found = await inventory(rig)
        assert set(found) == {rig.address(number) for number in mine}
        assert set(await inventory(rig, another)) == {rig.address(number) for number in theirs}
        for number in mine:
            seen, listed = await observed(rig, number), found[rig.address(number)]
            assert shows(seen, {PER_OUTPUT_KEY: CANARY})
            if not rig.kind.capabilities.lists_values:
                # NB: a list may tell less of a version than a look at the secret does
                seen = replace(seen, data=None, version=listed.version)
            assert listed == seen

    @case
    async def test_tampering_is_seen_and_repaired(self, rig: Rig) -> None:
        version = await rig.sink.put(desired(rig, 1), Absent())
        await rig.tamper(rig.address(1), {PER_OUTPUT_KEY: CANARY + b" changed"})
        seen = await observed(rig, 1)
        assert not seen.intact or not shows(seen, {PER_OUTPUT_KEY: CANARY})
        with refused(PreconditionFailed):
            await rig.sink.put(desired(rig, 1), Unchanged(version))
        await rig.sink.put(desired(rig, 1), Unchanged(seen.version))
        assert (await stored(rig, 1)).data == {PER_OUTPUT_KEY: CANARY}
        assert (await observed(rig, 1)).intact

    # --- writing

    @case
    async def test_what_is_created_is_observed_whole(self, rig: Rig) -> None:
        wanted = desired(rig, 1)
        await rig.sink.put(wanted, Absent())
        seen = await observed(rig, 1)
        assert (seen.address, seen.mark, seen.foreign, seen.intact) == (
            wanted.address,
            wanted.mark,
            None,
            True,
        )
        assert seen.ours
        assert shows(seen, {PER_OUTPUT_KEY: CANARY})
        assert rig.attributes.items() <= seen.attributes.items()
        assert (await stored(rig, 1)).data == {PER_OUTPUT_KEY: CANARY}

    @case
    async def test_no_repr_shows_a_value(self, rig: Rig) -> None:
        wanted = desired(rig, 1)
        version = await rig.sink.put(wanted, Absent())
        shown = f"{wanted!r} {version!r} {await observed(rig, 1)!r} {rig.sink!r}"
        assert CANARY.decode() not in shown

    @case
    async def test_creating_where_our_own_is_already_changes_nothing(self, rig: Rig) -> None:
        await rig.sink.put(desired(rig, 1), Absent())
        before = await stored(rig, 1)
        with refused(PreconditionFailed):
            await rig.sink.put(desired(rig, 1, {PER_OUTPUT_KEY: CANARY + b"2"}), Absent())
        assert await stored(rig, 1) == before

    @case
    async def test_an_update_replaces_data_and_mark(self, rig: Rig) -> None:
        version = await rig.sink.put(desired(rig, 1), Absent())
        update = desired(
            rig, 1, {PER_OUTPUT_KEY: CANARY + b"2"}, revision="revision-2", content_id="content-2"
        )
        newer = await rig.sink.put(update, Unchanged(version))
        assert newer != version
        seen = await observed(rig, 1)
        assert (seen.mark, seen.foreign, seen.intact) == (update.mark, None, True)
        assert (await stored(rig, 1)).data == {PER_OUTPUT_KEY: CANARY + b"2"}

    @case
    async def test_a_key_that_is_no_longer_wanted_disappears(self, rig: Rig) -> None:
        needs_bundles(rig)
        version = await rig.sink.put(desired(rig, 1, {"host": CANARY, "port": b"1"}), Absent())
        await rig.sink.put(desired(rig, 1, {"port": b"2", "user": CANARY}), Unchanged(version))
        assert (await stored(rig, 1)).data == {"port": b"2", "user": CANARY}
        assert shows(await observed(rig, 1), {"port": b"2", "user": CANARY})

    @case
    async def test_writing_the_same_again_leaves_the_same(self, rig: Rig) -> None:
        version = await rig.sink.put(desired(rig, 1), Absent())
        before = await observed(rig, 1)
        version = await rig.sink.put(desired(rig, 1), Unchanged(version))
        await rig.sink.put(desired(rig, 1), Unchanged(version))
        assert replace(await observed(rig, 1), version=before.version) == before

    @case
    async def test_the_version_that_is_observed_allows_an_update(self, rig: Rig) -> None:
        await rig.sink.put(desired(rig, 1), Absent())
        await rig.sink.put(
            desired(rig, 1, {PER_OUTPUT_KEY: b"2"}), Unchanged((await observed(rig, 1)).version)
        )
        assert (await stored(rig, 1)).data == {PER_OUTPUT_KEY: b"2"}

    @case
    async def test_a_stale_update_changes_nothing(self, rig: Rig) -> None:
        stale = await rig.sink.put(desired(rig, 1), Absent())
        # NB: other bytes; a sink may take a write that changes nothing for none
        await rig.sink.put(desired(rig, 1, {PER_OUTPUT_KEY: CANARY + b"1"}), Unchanged(stale))
        before = await stored(rig, 1)
        with refused(PreconditionFailed):
            await rig.sink.put(desired(rig, 1, {PER_OUTPUT_KEY: CANARY + b"2"}), Unchanged(stale))
        assert await stored(rig, 1) == before

    @case
    async def test_an_update_of_what_vanished_creates_nothing(self, rig: Rig) -> None:
        version = await rig.sink.put(desired(rig, 1), Absent())
        await rig.sink.remove(await observed(rig, 1))
        for expect in (Unchanged(version), TakeOver(version)):
            with refused(PreconditionFailed):
                await rig.sink.put(desired(rig, 1), expect)
        assert await rig.raw(rig.address(1)) is None

    @case
    async def test_of_two_concurrent_writers_exactly_one_wins(self, rig: Rig) -> None:
        if not rig.kind.capabilities.compare_and_set:
            pytest.skip("this kind has no compare-and-set")
        first = await self._race(rig, Absent(), b"first")
        await self._race(rig, Unchanged(first), b"second")

    async def _race(self, rig: Rig, expect: Expectation, heat: bytes) -> Version:
        contents = [CANARY + heat + b"%d" % number for number in range(5)]
        puts = [rig.sink.put(desired(rig, 1, {PER_OUTPUT_KEY: content}), expect) for content in contents]
        outcomes = await asyncio.gather(*puts, return_exceptions=True)
        won = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Version)]
        lost = [outcome for outcome in outcomes if isinstance(outcome, PreconditionFailed)]
        assert (len(won), len(lost)) == (1, 4), outcomes
        assert (await stored(rig, 1)).data == {PER_OUTPUT_KEY: contents[won[0]]}
        version = outcomes[won[0]]
        assert isinstance(version, Version)
        return version

    # --- bytes and sizes

    @pytest.mark.parametrize(
        "content",
        [bytes(range(256)), b"", b"\xff\xfe\x80", b"\0", b"line\n", b" \r\n", "ключ".encode()],
        ids=["all bytes", "empty", "no UTF-8", "NUL", "newline", "blank", "non-ASCII"],
    )
    @case
    async def test_bytes_come_back_exactly(self, rig: Rig, content: bytes) -> None:
        await rig.sink.put(desired(rig, 1, {PER_OUTPUT_KEY: content}), Absent())
        assert (await stored(rig, 1)).data == {PER_OUTPUT_KEY: content}
        assert shows(await observed(rig, 1), {PER_OUTPUT_KEY: content})

    @case
    async def test_many_keys_come_back_exactly(self, rig: Rig) -> None:
        needs_bundles(rig)
        data = {f"Key_{number}.x-y": b"%d\n" % number for number in range(200)}
        await rig.sink.put(desired(rig, 1, data), Absent())
        assert (await stored(rig, 1)).data == data
        assert shows(await observed(rig, 1), data)

    @case
    async def test_a_value_of_the_largest_size_is_taken_and_one_byte_more_is_not(self, rig: Rig) -> None:
        capabilities = rig.kind.capabilities
        limits = [n for n in (capabilities.max_value_bytes, capabilities.max_secret_bytes) if n is not None]
        if not limits:
            pytest.skip("this kind has no limit")
        with refused(TooLarge):
            await rig.sink.put(desired(rig, 1, {PER_OUTPUT_KEY: CANARY.ljust(min(limits) + 1)}), Absent())
        assert await rig.raw(rig.address(1)) is None
        await rig.sink.put(desired(rig, 1, {PER_OUTPUT_KEY: CANARY.ljust(min(limits))}), Absent())
        assert len((await stored(rig, 1)).data[PER_OUTPUT_KEY]) == min(limits)

    # --- what is not ours

    @case
    async def test_an_unmarked_secret_is_foreign_and_never_overwritten(self, rig: Rig) -> None:
        await rig.plant_foreign(rig.address(1), {PER_OUTPUT_KEY: CANARY})
        await self._stays_foreign(rig)

    @forgeries
    @case
    async def test_a_secret_with_a_mark_that_is_not_ours_is_foreign(self, rig: Rig, forgery: str) -> None:
        await rig.sink.put(desired(rig, 1), Absent())
        ours = await observed(rig, 1)
        await rig.rewrite_mark(rig.address(1), forged(rig, 1, forgery))
        await self._stays_foreign(rig)
        before = await stored(rig, 1)
        with refused(PreconditionFailed, ForeignSecret):
            await rig.sink.put(desired(rig, 1), Unchanged(ours.version))
        with refused(PreconditionFailed, ForeignSecret):
            await rig.sink.remove(ours)
        assert await stored(rig, 1) == before

    @case
    async def test_another_instances_secret_is_foreign(self, rig: Rig) -> None:
        await rig.sink.put(desired(rig, 1, instance="somebody-else"), Absent())
        await self._stays_foreign(rig)

    async def _stays_foreign(self, rig: Rig) -> None:
        before = await stored(rig, 1)
        seen = await observed(rig, 1)
        assert not seen.ours
        assert seen.foreign
        assert await inventory(rig) == {}
        with refused(ForeignSecret):
            await rig.sink.put(desired(rig, 1, {PER_OUTPUT_KEY: b"ours"}), Absent())
        with refused(ForeignSecret):
            await rig.sink.put(desired(rig, 1, {PER_OUTPUT_KEY: b"ours"}), Unchanged(seen.version))
        with refused(ForeignSecret):
            await rig.sink.remove(seen)
        assert await stored(rig, 1) == before

    @case
    async def test_taking_over_a_foreign_secret_makes_it_ours(self, rig: Rig) -> None:
        await rig.plant_foreign(rig.address(1), {PER_OUTPUT_KEY: b"theirs"})
        await rig.sink.put(desired(rig, 1), TakeOver((await observed(rig, 1)).version))
        seen = await observed(rig, 1)
        assert (seen.foreign, seen.mark, seen.intact) == (None, desired(rig, 1).mark, True)
        assert (await stored(rig, 1)).data == {PER_OUTPUT_KEY: CANARY}
        assert set(await inventory(rig)) == {rig.address(1)}

    @forgeries
    @case
    async def test_taking_over_what_changed_since_changes_nothing(self, rig: Rig, forgery: str) -> None:
        await rig.sink.put(desired(rig, 1), Absent())
        await rig.rewrite_mark(rig.address(1), forged(rig, 1, forgery))
        seen = await observed(rig, 1)
        await rig.tamper(rig.address(1), {PER_OUTPUT_KEY: CANARY + b"3"})
        before = await stored(rig, 1)
        with refused(PreconditionFailed):
            await rig.sink.put(desired(rig, 1), TakeOver(seen.version))
        assert await stored(rig, 1) == before

    # --- removing

    @case
    async def test_what_is_removed_is_gone_and_its_neighbours_stay(self, rig: Rig) -> None:
        for number in range(3):
            await rig.sink.put(desired(rig, number), Absent())
        neighbours = [await stored(rig, number) for number in (0, 2)]
        await rig.sink.remove(await observed(rig, 1))
        assert await rig.raw(rig.address(1)) is None
        assert await rig.sink.observe(rig.owner, [rig.address(1)]) == {}
        assert set(await inventory(rig)) == {rig.address(0), rig.address(2)}
        assert [await stored(rig, number) for number in (0, 2)] == neighbours

    @case
    async def test_removing_what_is_gone_already_succeeds(self, rig: Rig) -> None:
        await rig.sink.put(desired(rig, 1), Absent())
        seen = await observed(rig, 1)
        await rig.sink.remove(seen)
        await rig.sink.remove(seen)
        assert await rig.raw(rig.address(1)) is None

    @case
    async def test_what_changed_since_it_was_observed_is_not_removed(self, rig: Rig) -> None:
        version = await rig.sink.put(desired(rig, 1), Absent())
        seen = await observed(rig, 1)
        await rig.sink.put(desired(rig, 1, {PER_OUTPUT_KEY: CANARY + b"2"}), Unchanged(version))
        before = await stored(rig, 1)
        with refused(PreconditionFailed):
            await rig.sink.remove(seen)
        assert await stored(rig, 1) == before

    @case
    async def test_what_was_removed_can_be_created_again(self, rig: Rig) -> None:
        await rig.sink.put(desired(rig, 1), Absent())
        await rig.sink.remove(await observed(rig, 1))
        await rig.sink.put(desired(rig, 1), Absent())
        assert (await observed(rig, 1)).ours
