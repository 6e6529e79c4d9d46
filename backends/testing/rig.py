"""What the contract suite stands on: the rig, and words its cases are written in.

The cases themselves are in `suite`.
"""

from __future__ import annotations

import asyncio
import inspect
import traceback
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Concatenate, Final, ParamSpec, TypeVar

import pytest

from backends.contract import (
    PER_OUTPUT_KEY,
    DesiredSecret,
    Layout,
    Mark,
    ObservedSecret,
    Owner,
    Sink,
    SinkKind,
)
from backends.errors import SinkError
from backends.marking import mark_fields
from backends.secret_value import SecretValue

CANARY: Final = b"canary-7f3a9c51e2"
"""Part of every ordinary value here; found in no message and no repr."""
MANY: Final = 40
"""Secrets in the inventory cases. Rigs of sinks that page should page by less than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """What really is at an address, read around the sink."""

    data: Mapping[str, bytes]
    state: str
    """Changes with every write, also one of equal bytes: a resourceVersion, inodes, ..."""


class Rig(ABC):
    """An opened sink, and the hands of somebody else at the same server."""

    attributes: Mapping[str, str] = MappingProxyType({})
    """Attributes this kind keeps with a secret; the suite wants them back."""

    def __init__(self, *, sink: Sink, kind: SinkKind, owner: Owner | None = None) -> None:
        self.sink = sink
        self.kind = kind
        self.owner = owner or Owner(instance="contract-suite", source="contract-source")

    @abstractmethod
    def address(self, number: int) -> str:
        """A legal address, another one for each number."""

    @abstractmethod
    async def plant_foreign(self, address: str, data: Mapping[str, bytes]) -> None:
        """Put an unmarked secret where nothing is."""

    @abstractmethod
    async def tamper(self, address: str, data: Mapping[str, bytes]) -> None:
        """Replace the bytes (all keys) of our secret, and leave its mark."""

    @abstractmethod
    async def rewrite_mark(self, address: str, fields: Mapping[str, str]) -> None:
        """Replace the mark, in the sink's own spelling, by exactly these fields (`mark_fields`).

        Bytes stay. No fields: no mark at all.
        """

    @abstractmethod
    async def raw(self, address: str) -> Raw | None:
        """What is there, None for nothing."""


OpenRig = Callable[[], AbstractAsyncContextManager[Rig]]
_S = TypeVar("_S")
_P = ParamSpec("_P")


def case(
    test: Callable[Concatenate[_S, Rig, _P], Awaitable[None]],
) -> Callable[..., None]:
    """Make a coroutine over a rig a test that pytest runs without help. Marks stand above it."""

    def run(self: _S, open_rig: OpenRig, *args: _P.args, **kwargs: _P.kwargs) -> None:
        async def opened() -> None:
            async with open_rig() as rig:
                await test(self, rig, *args, **kwargs)

        asyncio.run(opened())

    signature = inspect.signature(test)
    names = {"rig": "open_rig"}
    parameters = [p.replace(name=names.get(p.name, p.name)) for p in signature.parameters.values()]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # pytest reads it
    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@contextmanager
def refused(*kinds: type[SinkError]) -> Iterator[None]:
    """One of these errors is raised, with a reason, and shows no value anywhere."""
    with pytest.raises(kinds) as caught:
        yield
    assert caught.value.reason
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert CANARY.decode() not in shown


def desired(rig: Rig, number: int, data: Mapping[str, bytes] | None = None, **mark: str) -> DesiredSecret:
    """A secret for the address of this number; `mark` changes fields of the mark."""
    fields = Mark(
        instance=rig.owner.instance,
        source=rig.owner.source,
        rule="default",
        target="0",
        address=rig.address(number),
        namespace="shop",
        installation=f"orders-{number}",
        installation_id=f"01INSTALLATION{number:04}",
        run_id="01RUN",
        result_id="01RESULT",
        revision="revision-1",
        content_id=f"content-{number}",
    )
    data = {PER_OUTPUT_KEY: CANARY} if data is None else data
    values = {key: SecretValue(content) for key, content in data.items()}
    return DesiredSecret(mark=replace(fields, **mark), data=values, attributes=rig.attributes)


async def observed(rig: Rig, number: int) -> ObservedSecret:
    """What the sink says is at the address of this number, which is not absent."""
    address = rig.address(number)
    return (await rig.sink.observe(rig.owner, [address]))[address]


async def inventory(rig: Rig, owner: Owner | None = None) -> dict[str, ObservedSecret]:
    found = [secret async for secret in rig.sink.inventory(owner or rig.owner)]
    by_address = {secret.address: secret for secret in found}
    assert len(by_address) == len(found), "an address is listed twice"
    return by_address


async def stored(rig: Rig, number: int) -> Raw:
    raw = await rig.raw(rig.address(number))
    assert raw is not None
    return raw


def shows(secret: ObservedSecret, data: Mapping[str, bytes]) -> bool:
    """Whether the observation has exactly these bytes."""
    return secret.data == {key: SecretValue(content) for key, content in data.items()}


def needs_bundles(rig: Rig) -> None:
    if Layout.BUNDLE not in rig.kind.capabilities.layouts:
        pytest.skip("this kind holds one value in a secret")


def forged(rig: Rig, number: int, forgery: str) -> dict[str, str]:
    """The fields of our mark, spoilt in one way that makes it foreign."""
    fields = mark_fields(desired(rig, number).mark)
    match forgery:
        case "no mark":
            return {}
        case "another instance":
            return fields | {"instance": "somebody-else"}
        case "copied from another address":
            return fields | {"address": rig.address(number + 1000)}
        case "newer format":
            return fields | {"format": "99"}
        case _:
            return {name: text for name, text in fields.items() if name != "run-id"}


forgeries = pytest.mark.parametrize(
    "forgery", ["no mark", "another instance", "copied from another address", "newer format", "unreadable"]
)
