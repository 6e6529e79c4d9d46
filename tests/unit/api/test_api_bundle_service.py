"""The service `PorterBundle`: what is asked for and allowed is answered, page by page, and nothing else is read.

Runs over records in memory, as coroutines; rights are what a test grants. Excludes the wire, who a caller
is, and what outputs are selected (tests/unit/test_reading.py).
"""

from __future__ import annotations

import itertools
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.api._generated.porter.outputs.v1alpha1 import porter_bundle_pb2 as ours
from syncer.api.access import AccessUnavailable
from syncer.api.bundle_service import BundleService
from syncer.api.callers import Caller, Permission, Resource, Verb
from syncer.api.interceptor import DENIED
from syncer.api.pages import PageTokens
from syncer.core.errors import NothingToRead
from syncer.core.model import InstallationKey, Missing, OutputRef, SelectedOutput, Unresolved
from syncer.core.rows import SelectedOutputs
from tests.unit.api.records_world import ANN, DB, Audit, MemoryRecords, Rights, call, refused, row, run_row

MEBIBYTE = 1024 * 1024
CODES = grpc.StatusCode
BOB = Caller("bob")
ALL_RIGHTS = {Resource.INSTALLATIONS, Resource.OUTPUTS, Resource.SENSITIVE_OUTPUTS}


class World:
    """A service, and all that is around it."""

    def __init__(self) -> None:
        self.records = MemoryRecords()
        self.rights = Rights()
        self.audit = Audit()
        self.service = self.process(1)

    def process(self, number: int) -> BundleService:
        """Each has a key of its own."""
        return BundleService(self.records, self.rights, PageTokens(number.to_bytes(32)), self.audit)

    async def installations(self, **wanted: Any) -> Any:
        return await call(self.service.ListInstallations, ours.ListInstallationsRequest(**wanted))

    async def runs(self, **wanted: Any) -> Any:
        request = ours.ListInstallationRunsRequest(namespace="shop", installation="db", **wanted)
        return await call(self.service.ListInstallationRuns, request)

    async def outputs(self, **wanted: Any) -> Any:
        request = ours.ListInstallationRunOutputsRequest(namespace="shop", installation="db", **wanted)
        return await call(self.service.ListInstallationRunOutputs, request)

    async def walk(self, method: Any, **wanted: Any) -> list[Any]:
        """Every page to the end."""
        pages = [await method(**wanted)]
        while pages[-1].next_page_token:
            pages.append(await method(**wanted, page_token=pages[-1].next_page_token))
        return pages


@pytest.fixture
def world() -> World:
    return World()


METHODS = ("installations", "runs", "outputs")


# --- who may -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "permission"),
    [
        ("installations", Permission(Verb.LIST, Resource.INSTALLATIONS, None)),
        ("runs", Permission(Verb.GET, Resource.INSTALLATIONS, "shop", "db")),
        ("outputs", Permission(Verb.GET, Resource.OUTPUTS, "shop", "db")),
    ],
)
async def test_each_method_asks_for_exactly_one_permission(world, method, permission):
    world.records.add("host")
    world.records.runs_of[DB] = []
    assert not isinstance(await getattr(world, method)(), Exception)
    assert world.rights.asked == [permission]


@pytest.mark.parametrize("namespace", ["", "shop"])
async def test_a_list_of_one_namespace_asks_for_that_one(world, namespace):
    await world.installations(namespace=namespace)
    assert world.rights.asked == [Permission(Verb.LIST, Resource.INSTALLATIONS, namespace)]


@pytest.mark.parametrize(
    ("method", "needed"),
    [
        ("installations", Resource.INSTALLATIONS),
        ("runs", Resource.INSTALLATIONS),
        ("outputs", Resource.OUTPUTS),
    ],
)
async def test_no_other_right_replaces_the_one_that_is_needed_and_nothing_is_read_without(
    world, method, needed
):
    world.rights.granted = ALL_RIGHTS - {needed}
    refusal = await getattr(world, method)()
    assert (refusal.code, refusal.text) == (CODES.PERMISSION_DENIED, DENIED)
    assert world.records.asked == 0


@pytest.mark.parametrize("method", ["runs", "outputs"])
async def test_what_is_not_there_looks_like_what_is_not_allowed(world, method):
    not_there = await getattr(world, method)()
    world.rights.granted = set()
    not_allowed = await getattr(world, method)()
    assert (not_there.code, not_there.text) == (not_allowed.code, not_allowed.text)


@pytest.mark.parametrize("wanted", [{"page_size": -1}, {"page_token": "forged"}])
@pytest.mark.parametrize("method", METHODS)
async def test_whoever_may_not_is_not_told_what_else_is_wrong(world, method, wanted):
    world.rights.granted = set()
    refusal = await getattr(world, method)(**wanted)
    assert (refusal.code, refusal.text) == (CODES.PERMISSION_DENIED, DENIED)


@pytest.mark.parametrize("method", METHODS)
async def test_a_doubt_is_no_right(world, method, monkeypatch):
    async def unavailable(*_: object) -> bool:
        raise AccessUnavailable("the API server is away")

    monkeypatch.setattr(world.rights, "allows", unavailable)
    with pytest.raises(AccessUnavailable):  # the interceptor makes UNAVAILABLE of it
        await getattr(world, method)()
    assert world.records.asked == 0


@pytest.mark.parametrize("method", ["runs", "outputs"])
async def test_a_name_longer_than_any_is_not_there_and_access_is_not_asked(world, method):
    kind = {
        "runs": (world.service.ListInstallationRuns, ours.ListInstallationRunsRequest),
        "outputs": (world.service.ListInstallationRunOutputs, ours.ListInstallationRunOutputsRequest),
    }
    serve, request = kind[method]
    code, text = await refused(serve, request(namespace="shop", installation="x" * 1025))
    assert (code, text) == (CODES.PERMISSION_DENIED, DENIED)
    assert world.rights.asked == []
    await call(serve, request(namespace="shop", installation="x" * 1024))
    assert len(world.rights.asked) == 1


@pytest.mark.parametrize("method", ["runs", "outputs"])
async def test_an_installation_without_a_name_is_a_mistake(world, method):
    kind = {
        "runs": (world.service.ListInstallationRuns, ours.ListInstallationRunsRequest),
        "outputs": (world.service.ListInstallationRunOutputs, ours.ListInstallationRunOutputsRequest),
    }
    serve, request = kind[method]
    code, _ = await refused(serve, request(namespace="shop"))
    assert code is CODES.INVALID_ARGUMENT


# --- installations -------------------------------------------------------------------------


async def test_installations_are_filtered_by_everything_that_was_said(world):
    world.records.rows = [
        row("shop", "orders-db", labels={"team": "db", "tier": "1"}),
        row("shop", "orders-db2", labels={"team": "web", "tier": "1"}),
        row("shop", "other", labels={"team": "db", "tier": "1"}),
        row("prod", "orders-db", labels={"team": "db", "tier": "1"}),
        row("", "orders-db", labels={"team": "db"}),
    ]

    async def found(**wanted: Any) -> list[tuple[str, str]]:
        return [(one.namespace, one.name) for one in (await world.installations(**wanted)).installations]

    assert len(await found()) == 5
    assert await found(namespace="shop", name="s-d", labels={"team": "db"}) == [("shop", "orders-db")]
    assert await found(namespace="") == [("", "orders-db")]
    assert await found(name=".*") == []
    assert await found(labels={"team": ""}) == []


_NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
_KEYS = st.lists(st.tuples(_NAMES | st.just(""), _NAMES), unique=True, max_size=12)


@given(_KEYS, st.integers(1, 5), st.randoms())
async def test_a_walk_of_any_size_gives_each_installation_once_and_in_order(keys, size, random):
    world = World()
    world.records.rows = [row(*key) for key in keys]
    pages = [await world.installations(page_size=size)]
    while pages[-1].next_page_token:
        step = random.randint(1, 5)
        pages.append(await world.installations(page_size=step, page_token=pages[-1].next_page_token))
    walked = [(one.namespace, one.name) for page in pages for one in page.installations]
    assert walked == sorted(keys, key=lambda key: (key[0].encode(), key[1].encode()))
    assert all(page.installations for page in pages[1:])


async def test_a_page_of_installations_is_short_where_there_are_custom_data(world):
    world.records.rows = [row("shop", f"db{number:03}") for number in range(150)]
    assert len((await world.installations()).installations) == 100
    pages = await world.walk(world.installations, include_custom=True, page_size=1000)
    assert [len(page.installations) for page in pages] == [20] * 7 + [10]


async def test_a_page_of_installations_ends_before_two_mebibytes(world):
    world.records.rows = [
        row("shop", f"db{number}", custom={"x": "y" * (MEBIBYTE - 10_000)}) for number in range(5)
    ]
    pages = await world.walk(world.installations, include_custom=True)
    walked = [one.name for page in pages for one in page.installations]
    assert walked == [f"db{number}" for number in range(5)]
    assert [len(page.installations) for page in pages] == [2, 2, 1]
    assert max(page.ByteSize() for page in pages) < 2 * MEBIBYTE + 1000


async def test_an_installation_larger_than_a_page_has_one_for_itself(world):
    world.records.rows = [row("shop", f"db{number}", labels={"x": "y" * 3 * MEBIBYTE}) for number in range(3)]
    pages = await world.walk(world.installations)
    assert [[one.name for one in page.installations] for page in pages] == [["db0"], ["db1"], ["db2"]]


# --- runs ----------------------------------------------------------------------------------


@given(st.integers(0, 9), st.integers(1, 4))
async def test_a_walk_of_any_size_gives_each_run_once_and_in_order(count, size):
    world = World()
    world.records.runs_of[DB] = [run_row(f"01RUN{number}") for number in range(count)]
    pages = await world.walk(world.runs, page_size=size)
    walked = [run.id for page in pages for run in page.runs]
    assert walked == [f"01RUN{number}" for number in range(count)]


async def test_a_new_run_between_two_pages_repeats_and_skips_nothing(world):
    runs = [run_row(f"01RUN{number}") for number in range(6)]
    world.records.runs_of[DB] = list(runs)
    first = await world.runs(page_size=3)
    world.records.runs_of[DB] = [run_row("01NEWER"), *runs]
    second = await world.runs(page_size=3, page_token=first.next_page_token)
    assert [run.id for run in second.runs] == ["01RUN3", "01RUN4", "01RUN5"]


async def test_runs_whose_place_is_gone_have_to_be_listed_anew(world):
    runs = [run_row(f"01RUN{number}") for number in range(6)]
    world.records.runs_of[DB] = list(runs)
    first = await world.runs(page_size=3)
    world.records.runs_of[DB] = runs[3:]
    refusal = await world.runs(page_size=3, page_token=first.next_page_token)
    assert refusal.code is CODES.ABORTED


# --- pages in general ----------------------------------------------------------------------


def fill(world: World) -> None:
    world.records.rows = [row("shop", f"db{number}") for number in range(3)]
    world.records.runs_of[DB] = [run_row(f"01RUN{number}") for number in range(3)]
    for number in range(3):
        world.records.add(f"output{number}")


@pytest.mark.parametrize("method", METHODS)
async def test_a_page_token_is_good_for_its_method_only(world, method):
    fill(world)
    token = (await getattr(world, method)(page_size=1)).next_page_token
    assert not isinstance(await getattr(world, method)(page_token=token), Exception)
    for other in METHODS:
        if other != method:
            refusal = await getattr(world, other)(page_token=token)
            assert refusal.code is CODES.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("installations", {"namespace": ""}),
        ("installations", {"namespace": "shop"}),
        ("installations", {"name": "d"}),
        ("installations", {"labels": {"a": "b"}}),
        ("installations", {"include_custom": True}),
        ("outputs", {"run": "01RUN"}),
        ("outputs", {"run": "latest"}),
        ("outputs", {"names": ["output1"]}),
        ("outputs", {"include_sensitive": True}),
    ],
)
async def test_a_page_token_is_good_for_its_request_only(world, method, change):
    fill(world)
    token = (await getattr(world, method)(page_size=1)).next_page_token
    refusal = await getattr(world, method)(page_token=token, **change)
    assert refusal.code is CODES.INVALID_ARGUMENT


@pytest.mark.parametrize("namespace", ["", "shop"])
async def test_a_page_token_of_one_namespace_opens_no_other(world, namespace):
    world.records.rows = [row(space, f"db{number}") for space in ("", "shop") for number in range(3)]
    token = (await world.installations(namespace=namespace, page_size=1)).next_page_token
    for other in ({}, {"namespace": "shop" if namespace == "" else ""}):
        assert (await world.installations(page_token=token, **other)).code is CODES.INVALID_ARGUMENT


async def test_a_page_token_of_one_installation_opens_no_other(world):
    fill(world)
    other = InstallationKey("shop", "db2")
    world.records.runs_of[other] = world.records.runs_of[DB]
    token = (await world.runs(page_size=1)).next_page_token
    request = ours.ListInstallationRunsRequest(namespace="shop", installation="db2", page_token=token)
    code, _ = await refused(world.service.ListInstallationRuns, request)
    assert code is CODES.INVALID_ARGUMENT


async def test_a_page_token_of_somebody_else_or_of_another_process_is_refused(world):
    fill(world)
    token = (await world.installations(page_size=1)).next_page_token
    request = ours.ListInstallationsRequest(page_token=token)
    for service, caller in ((world.service, BOB), (world.process(2), ANN)):
        code, _ = await refused(service.ListInstallations, request, caller)
        assert code is CODES.INVALID_ARGUMENT


async def test_a_right_that_was_taken_away_ends_a_walk(world):
    fill(world)
    token = (await world.installations(page_size=1)).next_page_token
    world.rights.granted = set()
    assert (await world.installations(page_token=token)).code is CODES.PERMISSION_DENIED


@pytest.mark.parametrize("method", METHODS)
async def test_a_negative_page_size_is_refused(world, method):
    fill(world)
    assert (await getattr(world, method)(page_size=-1)).code is CODES.INVALID_ARGUMENT


# --- outputs: pages ------------------------------------------------------------------------


@given(st.sets(_NAMES, max_size=10), st.integers(1, 4), st.sets(_NAMES, max_size=2))
async def test_a_walk_of_any_size_gives_each_output_once_and_in_order(names, size, others):
    world = World()
    world.records.latest[DB] = SelectedOutputs(run_id="01RUN", outputs={})
    for name in names:
        world.records.add(name, name.encode())
    pages = await world.walk(world.outputs, page_size=size)
    assert [(one.name, one.value) for page in pages for one in page.outputs] == [
        (name, name.encode()) for name in sorted(names)
    ]
    assert {page.run_id for page in pages} == {"01RUN"}
    chosen = [*itertools.islice(sorted(names), 0, None, 2), *others]
    if chosen:
        pages = await world.walk(world.outputs, page_size=size, names=chosen)
        assert [one.name for page in pages for one in page.outputs] == sorted(names & set(chosen))


async def test_a_page_of_outputs_ends_before_two_mebibytes_and_has_one_at_least(world):
    sizes = {"a": MEBIBYTE, "b": MEBIBYTE - 1000, "c": 1000, "d": 3 * MEBIBYTE, "e": 0, "f": 1}
    for name, size in sizes.items():
        world.records.add(name, b"x" * size)
    pages = await world.walk(world.outputs)
    assert [[one.name for one in page.outputs] for page in pages] == [["a", "b"], ["c"], ["d"], ["e", "f"]]
    assert all(len(one.value) == sizes[one.name] for page in pages for one in page.outputs)


async def test_values_are_read_a_few_at_a_time_and_only_those_of_the_page(world):
    for number in range(100):
        world.records.add(f"output{number:03}", b"x" * MEBIBYTE)
    await world.outputs(page_size=3)
    assert world.records.read.count("output000") == 1
    assert len(world.records.read) == 3
    world.records.read.clear()
    await world.outputs()
    assert len(world.records.read) == 16


async def test_a_newer_run_between_two_pages_ends_the_walk(world):
    for name in "abc":
        world.records.add(name)
    first = await world.outputs(page_size=1)
    world.records.latest[DB] = SelectedOutputs(run_id="01NEWER", outputs=world.records.latest[DB].outputs)
    world.records.read.clear()
    refusal = await world.outputs(page_size=1, page_token=first.next_page_token)
    assert refusal.code is CODES.ABORTED
    assert world.records.read == []


async def test_the_pages_of_one_run_do_not_care_for_newer_ones(world):
    for name in "abc":
        world.records.add(name)
    first = await world.outputs(run="01RUN", page_size=1)
    world.records.latest[DB] = SelectedOutputs(run_id="01NEWER", outputs={})
    second = await world.outputs(run="01RUN", page_token=first.next_page_token)
    assert [one.name for one in second.outputs] == ["b", "c"]


@pytest.mark.parametrize("run", ["", "latest"])
async def test_latest_has_two_names(world, run):
    world.records.add("host")
    assert [one.name for one in (await world.outputs(run=run)).outputs] == ["host"]


async def test_an_output_that_was_carried_over_names_the_run_it_came_from(world):
    world.records.add("host")
    older = OutputRef(DB, "01OLDER", "01RESULT0", "port", None)
    world.records.states[older] = Missing()
    one = SelectedOutput(ref=older, sensitive=False, type="integer")
    outputs = {**world.records.latest[DB].outputs, "port": one}
    world.records.latest[DB] = SelectedOutputs(run_id="01RUN", outputs=outputs)
    answer = await world.outputs()
    assert answer.run_id == "01RUN"
    assert [(one.name, one.type, one.run_id) for one in answer.outputs] == [
        ("host", "string", "01RUN"),
        ("port", "integer", "01OLDER"),
    ]


async def test_a_run_of_another_installation_is_not_found(world):
    world.records.add("host")
    world.records.of_run["01OTHER"] = InstallationKey("prod", "db"), world.records.latest[DB]
    refusal = await world.outputs(run="01OTHER")
    assert refusal.code is CODES.NOT_FOUND
    assert world.records.read == []


# --- outputs: values -----------------------------------------------------------------------


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("asked", [False, True])
async def test_a_sensitive_value_is_read_only_where_it_is_asked_for_and_allowed(world, asked, allowed):
    world.records.add("host", b"h")
    world.records.add("password", b"p", sensitive=True)
    if allowed:
        world.rights.granted.add(Resource.SENSITIVE_OUTPUTS)
    answer = await world.outputs(include_sensitive=asked)
    host, password = answer.outputs
    given_out = asked and allowed
    assert sorted(world.records.read) == (["host", "password"] if given_out else ["host"])
    assert (host.value, host.unavailable, host.sensitive) == (b"h", "", False)
    assert (password.name, password.type, password.sensitive) == ("password", "string", True)
    assert password.HasField("value") == given_out
    assert password.value == (b"p" if given_out else b"")
    assert bool(password.unavailable) == (asked and not allowed)
    assert world.audit.lines == ([("ann", "shop", "db", ["password"])] if given_out else [])
    asked_for = Permission(Verb.GET, Resource.SENSITIVE_OUTPUTS, "shop", "db")
    assert (asked_for in world.rights.asked) == asked


async def test_a_right_to_sensitive_values_that_is_taken_away_between_two_pages_ends_them(world):
    world.rights.granted = set(ALL_RIGHTS)
    for name in "abc":
        world.records.add(name, sensitive=True)
    first = await world.outputs(include_sensitive=True, page_size=1)
    assert first.outputs[0].HasField("value")
    world.rights.granted -= {Resource.SENSITIVE_OUTPUTS}
    world.records.read.clear()
    second = await world.outputs(include_sensitive=True, page_token=first.next_page_token)
    assert not any(one.HasField("value") for one in second.outputs)
    assert world.records.read == []


async def test_the_audit_names_what_was_given_and_nothing_else(world):
    world.rights.granted = set(ALL_RIGHTS)
    world.records.add("a-plain")
    world.records.add("b-given", b"", sensitive=True)
    world.records.add("c-lost", Missing(), sensitive=True)
    world.records.add("d-sealed", Unresolved("cannot be read"), sensitive=True)
    world.records.add("e-large", b"x" * 2 * MEBIBYTE, sensitive=True)
    world.records.add("f-later", b"f", sensitive=True)
    await world.walk(world.outputs, include_sensitive=True)
    assert [line[3] for line in world.audit.lines] == [["b-given"], ["e-large"], ["f-later"]]
    assert {line[:3] for line in world.audit.lines} == {("ann", "shop", "db")}


async def test_a_walk_that_gives_nothing_sensitive_leaves_no_audit(world):
    world.rights.granted = set(ALL_RIGHTS)
    world.records.add("host")
    await world.outputs(include_sensitive=True)
    assert world.audit.lines == []


async def test_a_value_that_is_empty_is_there(world):
    world.records.add("empty", b"")
    (output,) = (await world.outputs()).outputs
    assert output.HasField("value")
    assert (output.value, output.unavailable) == (b"", "")


@pytest.mark.parametrize(
    ("state", "why"),
    [(Missing(), "no value yet"), (Unresolved("is not \udcff in the store"), "is not \ufffd in the store")],
)
async def test_a_value_that_cannot_be_had_says_why_and_spares_the_others(world, state, why):
    world.records.add("host")
    world.records.add("lost", state)
    host, lost = (await world.outputs()).outputs
    assert host.value == b"v"
    assert not lost.HasField("value")
    assert why in lost.unavailable


async def test_a_value_that_is_too_large_to_be_sent_says_so_and_is_in_no_audit(world):
    world.rights.granted = set(ALL_RIGHTS)
    world.records.add("a-host")
    world.records.add("b-large", b"x" * (15 * MEBIBYTE + 1), sensitive=True)
    world.records.add("c-port")
    host, large, port = (await world.outputs(include_sensitive=True)).outputs
    assert host.value == port.value == b"v"
    assert not large.HasField("value")
    assert "too large" in large.unavailable
    assert world.audit.lines == []


async def test_bytes_arrive_as_they_are(world):
    world.records.add("blob", bytes(range(256)))
    assert (await world.outputs()).outputs[0].value == bytes(range(256))


@pytest.mark.parametrize("name", ["\0", "$ne", "a.b", "../../etc/passwd", "x" * 1024, "é\N{GRINNING FACE}"])
async def test_outputs_may_be_named_in_any_way(world, name):
    world.records.add(name)
    world.records.add("zz")
    assert [one.name for one in (await world.outputs(names=[name])).outputs] == [name]
    pages = await world.walk(world.outputs, page_size=1)
    assert {one.name for page in pages for one in page.outputs} == {name, "zz"}


@pytest.mark.parametrize("name", ["\0", "$ne", "../..", "x" * 1_000_000])
async def test_names_that_are_asked_for_may_be_anything(world, name):
    world.records.add("host")
    assert (await world.outputs(names=[name])).outputs == []
    assert (await world.installations(name=name, namespace=name, labels={name: name})).installations == []


async def test_no_outputs_yet_are_an_empty_page(world):
    world.records.latest[DB] = SelectedOutputs(run_id="", outputs={})
    answer = await world.outputs()
    assert (list(answer.outputs), answer.run_id, answer.next_page_token) == ([], "", "")


async def test_why_nothing_can_be_said_is_told_to_those_who_may_read(world):
    world.records.failure = NothingToRead("installation shop/db: it is changing while it is read")
    refusal = await world.outputs()
    assert refusal.code is CODES.FAILED_PRECONDITION
    assert "changing" in refusal.text
