"""The contract, shown by the reference sink. Somebody else is played on its store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

import pytest

from backends.contract import Absent
from backends.memory import MemoryNaming, MemorySink, MemoryStore, memory_kind
from backends.secret_value import SecretValue
from backends.testing import OpenRig, Raw, Rig, SinkContract, desired


class MemoryRig(Rig):
    attributes = MappingProxyType({"label:team": "shop"})

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(sink=MemorySink(store), kind=memory_kind(store))
        self.store = store

    def address(self, number: int) -> str:
        return MemoryNaming().address(("shop", f"orders-{number}"))

    async def plant_foreign(self, address: str, data: Mapping[str, bytes]) -> None:
        self.store.write(address, fields={}, data=_values(data))

    async def tamper(self, address: str, data: Mapping[str, bytes]) -> None:
        cell = self.store.cells[address]
        self.store.write(address, fields=cell.fields, data=_values(data), attributes=cell.attributes)

    async def rewrite_mark(self, address: str, fields: Mapping[str, str]) -> None:
        cell = self.store.cells[address]
        self.store.write(address, fields=fields, data=cell.data, attributes=cell.attributes)

    async def raw(self, address: str) -> Raw | None:
        cell = self.store.cells.get(address)
        if cell is None:
            return None
        return Raw(data={key: value.reveal() for key, value in cell.data.items()}, state=str(cell.version))


def _values(data: Mapping[str, bytes]) -> dict[str, SecretValue]:
    return {key: SecretValue(content) for key, content in data.items()}


class TestMemorySink(SinkContract):
    @pytest.fixture
    def open_rig(self) -> OpenRig:
        @asynccontextmanager
        async def opened() -> AsyncIterator[MemoryRig]:
            rig = MemoryRig(MemoryStore())
            async with rig.sink:
                yield rig

        return opened


async def test_only_calls_that_change_something_count_as_writes() -> None:
    rig = MemoryRig(MemoryStore())
    sink = MemorySink(rig.store)
    await sink.put(desired(rig, 1), Absent())
    seen = (await sink.observe(rig.owner, [rig.address(1)]))[rig.address(1)]
    await sink.remove(seen)
    await sink.remove(seen)
    assert sink.writes == 2


async def test_sinks_of_one_kind_share_a_store() -> None:
    kind = memory_kind()
    first, second = kind.create(kind.options()), kind.create(kind.options())
    rig = MemoryRig(MemoryStore())
    await first.put(desired(rig, 1), Absent())
    assert [secret.address async for secret in second.inventory(rig.owner)] == [rig.address(1)]


def test_targets_are_paths() -> None:
    shape = memory_kind().target(path="a/{installation}").shape()
    assert shape.parts == ("a", "{installation}")
    assert kind_naming().key("tls/key") == "tls/key"
    assert kind_naming().same("a/B") == "a/B"


def kind_naming() -> MemoryNaming:
    return memory_kind().naming(None)
