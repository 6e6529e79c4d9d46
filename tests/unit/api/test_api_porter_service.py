"""The service that Porter itself has: Porter's rules, our rights.

Runs over records in memory, as coroutines. Excludes the wire, and comparison with what Porter prints
(tests/functional/test_api_clients.py).
"""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from syncer.api._generated.installation.v1alpha1 import installation_pb2 as porters
from syncer.api.callers import Permission, Resource, Verb
from syncer.api.interceptor import DENIED
from syncer.api.porter_service import PorterService
from syncer.core.errors import NothingToRead
from tests.unit.api.records_world import DB, Audit, MemoryRecords, Rights, call, refused, row

CODES = grpc.StatusCode
ALL_RIGHTS = {Resource.INSTALLATIONS, Resource.OUTPUTS, Resource.SENSITIVE_OUTPUTS}


class World:
    """A service, and all that is around it."""

    def __init__(self, *, sensitive: bool = False) -> None:
        self.records = MemoryRecords()
        self.rights = Rights()
        self.audit = Audit()
        self.service = PorterService(self.records, self.rights, self.audit, sensitive=sensitive)

    async def installations(self, **wanted: Any) -> Any:
        return await call(self.service.ListInstallations, porters.ListInstallationsRequest(**wanted))

    async def outputs(self, **wanted: Any) -> Any:
        request = porters.ListInstallationLatestOutputRequest(**{"namespace": "shop", "name": "db"} | wanted)
        return await call(self.service.ListInstallationLatestOutputs, request)


@pytest.fixture
def world() -> World:
    world = World()
    world.records.rows = [
        row("shop", "db2", labels={"team": "db"}),
        row("", "db1"),
        row("shop", "web", labels={"team": "web"}),
    ]
    return world


def names(answer: Any) -> list[str]:
    return [one.name for one in answer.installation]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["db1"]),
        ({"namespace": ""}, ["db1"]),
        ({"namespace": "shop"}, ["db2", "web"]),
        ({"all_namespaces": True}, ["db2", "db1", "web"]),
        ({"all_namespaces": True, "namespace": "shop"}, ["db2", "db1", "web"]),
        ({"all_namespaces": True, "name": "db"}, ["db2", "db1"]),
        ({"all_namespaces": True, "labels": {"team": "web"}}, ["web"]),
        ({"all_namespaces": True, "limit": 2}, ["db2", "db1"]),
        ({"all_namespaces": True, "limit": 0}, ["db2", "db1", "web"]),
        ({"all_namespaces": True, "skip": 1}, ["db1", "web"]),
        ({"all_namespaces": True, "skip": 1, "limit": 1}, ["db1"]),
        ({"all_namespaces": True, "skip": 2**63 - 1, "limit": 2**63 - 1}, []),
    ],
)
async def test_installations_are_found_as_porter_finds_them(world, wanted, found):
    assert names(await world.installations(**wanted)) == found


@pytest.mark.parametrize(
    ("wanted", "namespace"),
    [({}, ""), ({"namespace": "shop"}, "shop"), ({"all_namespaces": True, "namespace": "shop"}, None)],
)
async def test_a_list_asks_for_exactly_what_it_lists(world, wanted, namespace):
    await world.installations(**wanted)
    assert world.rights.asked == [Permission(Verb.LIST, Resource.INSTALLATIONS, namespace)]


@pytest.mark.parametrize("name", [".", "a.b", "-", "é", "\0", "#", "x" * 1_000_000])
async def test_a_name_is_text(world, name):
    world.records.rows = [row("", f"<{name}>"), row("", "other")]
    assert names(await world.installations(name=name)) == [f"<{name}>"]


@pytest.mark.parametrize("letter", "\\*+?()[]{}|^$")
async def test_a_name_that_would_be_a_pattern_is_refused(world, letter):
    refusal = await world.installations(name=f"db{letter}")
    assert refusal.code is CODES.INVALID_ARGUMENT
    assert world.records.asked == 0


@pytest.mark.parametrize("wanted", [{"skip": -1}, {"limit": -1}])
async def test_negative_counts_are_refused(world, wanted):
    assert (await world.installations(**wanted)).code is CODES.INVALID_ARGUMENT


async def test_nothing_is_read_without_a_right(world):
    world.rights.granted = {Resource.OUTPUTS, Resource.SENSITIVE_OUTPUTS}
    refusal = await world.installations(name="*")
    assert refusal.code in (CODES.PERMISSION_DENIED, CODES.INVALID_ARGUMENT)
    assert (await world.installations()).code is CODES.PERMISSION_DENIED
    world.rights.granted = {Resource.INSTALLATIONS, Resource.SENSITIVE_OUTPUTS}
    world.records.add("host")
    refusal = await world.outputs()
    assert (refusal.code, refusal.text) == (CODES.PERMISSION_DENIED, DENIED)
    assert world.records.asked == 0


async def test_outputs_that_are_not_there_look_like_those_that_are_not_allowed(world):
    not_there = await world.outputs()
    world.rights.granted = set()
    not_allowed = await world.outputs()
    assert (not_there.code, not_there.text) == (not_allowed.code, not_allowed.text)


async def test_a_name_longer_than_any_is_not_there_and_access_is_not_asked(world):
    refusal = await world.outputs(name="x" * 1025)
    assert (refusal.code, refusal.text) == (CODES.PERMISSION_DENIED, DENIED)
    assert world.rights.asked == []


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("configured", [False, True])
async def test_a_sensitive_value_is_read_only_where_it_is_configured_and_allowed(configured, allowed):
    world = World(sensitive=configured)
    world.records.add("host", b"h")
    world.records.add("password", b"p", sensitive=True)
    if allowed:
        world.rights.granted = ALL_RIGHTS
    shown = {one.name: one for one in (await world.outputs()).outputs}
    given_out = configured and allowed
    assert set(shown) == {"host", "password"}
    assert shown["host"].value.string_value == "h"
    assert shown["password"].sensitive
    assert shown["password"].HasField("value") == given_out
    assert sorted(world.records.read) == (["host", "password"] if given_out else ["host"])
    assert world.audit.lines == ([("ann", "shop", "db", ["password"])] if given_out else [])
    sensitive = Permission(Verb.GET, Resource.SENSITIVE_OUTPUTS, "shop", "db")
    assert (sensitive in world.rights.asked) == configured


async def test_outputs_without_a_sensitive_one_leave_no_audit():
    world = World(sensitive=True)
    world.rights.granted = ALL_RIGHTS
    world.records.add("host")
    await world.outputs()
    assert world.audit.lines == []


async def test_an_output_that_fails_fails_all_of_them_as_with_porter(world):
    world.records.add("host")
    world.records.failure = NothingToRead("output 'password' is not in the store")
    code, text = await refused(
        world.service.ListInstallationLatestOutputs,
        porters.ListInstallationLatestOutputRequest(namespace=DB.namespace, name=DB.name),
    )
    assert (code, text) == (CODES.FAILED_PRECONDITION, "output 'password' is not in the store")
