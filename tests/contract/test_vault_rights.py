"""What fails without each single capability of the shipped policies, and that nothing unmarked is left then.

The deny matrix on a real OpenBao: one capability of one line is taken away, and the sink does what it
always does. Denials are by policy alone; sentinels of Vault Enterprise are left out.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import pytest

from backends.contract import Absent, FindingLevel, Unchanged
from backends.errors import Forbidden, PreconditionFailed, SinkError
from backends.vault.sink import VaultSink
from tests.contract.vault_rows import CANARY, Place, desired, listed, look, refused
from tests.contract.vault_world import shipped_policy

LINE = re.compile(r'path "(?P<path>[^"]+)" \{\n  capabilities = \[(?P<capabilities>[^]]+)\]\n\}')
OTHER = CANARY + b"2"


def lines(policy: str) -> dict[str, list[str]]:
    return {match["path"]: re.findall(r'"(\w+)"', match["capabilities"]) for match in LINE.finditer(policy)}


def policy_without(place: Place, area: str, capability: str) -> str:
    """The shipped policy but for one capability of the line about this area of the engine."""
    found = lines(shipped_policy(place.mount, place.path, version=place.version))
    path = next(path for path in found if path.startswith(f"{place.mount}/{area}"))
    left = {**found, path: [other for other in found[path] if other != capability]}
    assert left != found
    return "\n".join(
        f'path "{path}" {{ capabilities = [{", ".join(map(repr, names))}] }}'.replace("'", '"')
        for path, names in left.items()
        if names
    )


async def _create(sink: VaultSink, place: Place) -> None:
    await sink.put(desired(place, "new"), Absent())


async def _update(sink: VaultSink, place: Place) -> None:
    await sink.put(desired(place, data={"password": OTHER}), Unchanged((await look(sink, place)).version))


async def _observe(sink: VaultSink, place: Place) -> None:
    await look(sink, place)


async def _list(sink: VaultSink, _place: Place) -> None:
    await listed(sink)


async def _remove(sink: VaultSink, place: Place) -> None:
    await sink.remove(await look(sink, place))


async def _release(sink: VaultSink, place: Place) -> None:
    """Remove what has a version of somebody else's, too."""
    place.write({"password": "theirs-canary"})
    await sink.remove(await look(sink, place))


async def _collide(sink: VaultSink, place: Place) -> None:
    """Create where something has come to be since anybody looked."""
    await look(sink, place)
    with refused(PreconditionFailed):
        await sink.put(desired(place), Absent())


OPERATIONS: dict[str, Callable[[VaultSink, Place], Awaitable[None]]] = {
    "create": _create,
    "observe": _observe,
    "list": _list,
    "update": _update,
    "remove": _remove,
    "release": _release,
    "collide": _collide,
}

MATRIX = [
    ("metadata/", "create", {"create"}),
    ("metadata/", "update", {"collide"}),
    ("metadata/", "patch", {"create", "update", "release"}),
    ("metadata/", "read", {"create", "observe", "update", "remove", "release", "collide"}),
    ("metadata/", "list", set()),
    ("metadata/", "delete", {"remove"}),
    ("data/", "update", {"create", "update"}),
    ("data/", "read", {"observe", "update", "remove", "release", "collide"}),
    ("destroy/", "update", {"remove", "release"}),
    ("detailed-metadata/", "list", set()),
]

MATRIX_1 = [
    ("", "create", {"create"}),
    ("", "update", {"update"}),
    ("", "read", {"create", "observe", "list", "update", "remove", "collide"}),
    ("", "list", {"list"}),
    ("", "delete", {"remove"}),
]


async def outcomes(place: Place, policy: str) -> dict[str, SinkError | None]:
    """What becomes of each operation on a secret of its own, with a token of this policy."""
    found: dict[str, SinkError | None] = {}
    for name, act in OPERATIONS.items():
        if place.version == 1 and name == "release":
            continue
        there = Place(place.bao, place.mount, f"{place.path}/{name}", place.version)
        async with there.sink() as sink:
            await sink.put(desired(there), Absent())
        async with VaultSink(there.options(place.bao.token(policy))) as sink:
            found[name] = None
            try:
                await act(sink, there)
            except SinkError as error:
                found[name] = error
        if place.version == 2:
            left = there.unmarked()
            assert left == (["orders"] if name == "release" and found[name] is None else [])
    return found


@pytest.mark.fault(42)
@pytest.mark.parametrize(("area", "capability", "fails"), MATRIX, ids=[f"{a}{c}" for a, c, _ in MATRIX])
async def test_without_a_capability_just_this_fails_and_nothing_is_left_unmarked(
    bao_server, area, capability, fails
):
    place = Place(bao_server, bao_server.mount(2))
    found = await outcomes(place, policy_without(place, area, capability))
    assert {name for name, error in found.items() if error is not None} == fails
    assert {type(error) for error in found.values() if error is not None} <= {Forbidden}
    bao_server.unmount(place.mount)


@pytest.mark.fault(42)
@pytest.mark.parametrize(("area", "capability", "fails"), MATRIX_1, ids=[c for _, c, _ in MATRIX_1])
async def test_without_a_capability_just_this_fails_with_version_1(bao_server, area, capability, fails):
    place = Place(bao_server, bao_server.mount(1), version=1)
    found = await outcomes(place, policy_without(place, area, capability))
    assert {name for name, error in found.items() if error is not None} == fails
    assert {type(error) for error in found.values() if error is not None} <= {Forbidden}
    bao_server.unmount(place.mount)


def test_the_matrix_takes_every_capability_of_the_shipped_policies_away():
    for version, matrix in ((2, MATRIX), (1, MATRIX_1)):
        shipped = lines(shipped_policy("secret", "porter", version=version))
        wanted = {
            (path.removeprefix("secret/").removesuffix("porter/*"), c)
            for path, cs in shipped.items()
            for c in cs
        }
        assert {(area, capability) for area, capability, _ in matrix} == wanted


NEEDED = [(area, capability) for area, capability, fails in MATRIX if fails]


@pytest.mark.fault(42)
@pytest.mark.parametrize(("area", "capability"), NEEDED)
async def test_the_check_names_a_missing_capability(bao_server, area, capability):
    place = Place(bao_server, bao_server.mount(2))
    async with place.sink(place.bao.token(policy_without(place, area, capability))) as sink:
        found = [one for one in await sink.check() if one.level is FindingLevel.ERROR]
    assert [one.detail for one in found] == [f"the right to {capability} is missing"]
    assert found[0].subject.startswith(f"{place.mount}/{area}{place.path}")
    bao_server.unmount(place.mount)


async def test_root_is_warned_of(bao_server):
    place = Place(bao_server, bao_server.mount(2))
    async with place.sink(bao_server.root_token) as sink:
        assert {one.level for one in await sink.check()} == {FindingLevel.OK, FindingLevel.WARNING}


@pytest.mark.parametrize("version", [1, 2])
async def test_outside_of_its_path_the_shipped_policy_allows_nothing(bao_server, version):
    mount = bao_server.mount(version)
    client = bao_server.client(bao_server.token(shipped_policy(mount, "porter", version=version)))
    areas = (
        ("",)
        if version == 1
        else ("data/", "metadata/", "destroy/", "detailed-metadata/", "delete/", "undelete/")
    )
    bao_server.write(f"{mount}/{areas[0]}other/a", {"data": {"k": "v"}})
    for area in areas:
        for path in ("other/a", "porters/a", "other", "porter"):
            for method in ("GET", "POST", "PATCH", "LIST", "DELETE"):
                body = {"data": {"k": "w"}, "versions": [1], "custom_metadata": {"a": "b"}}
                answer = client.send(
                    method, f"{mount}/{area}{path}", body if method in ("POST", "PATCH") else None
                )
                at_the_path = (method, path) == ("LIST", "porter") and area in (
                    "",
                    "metadata/",
                    "detailed-metadata/",
                )
                assert answer.status == (404 if at_the_path else 403), (method, area, path)
    for path in ("sys/mounts", "sys/policies/acl", f"{mount}/config", "auth/token/create", "sys/auth"):
        assert client.send("GET", path).status in (403, 405)


@pytest.mark.parametrize("area", ["delete/", "undelete/"])
async def test_the_shipped_policy_allows_no_soft_deletes_even_inside(bao_server, area):
    mount = bao_server.mount(2)
    client = bao_server.client(bao_server.token(shipped_policy(mount, "porter")))
    bao_server.write(f"{mount}/data/porter/a", {"data": {"k": "v"}})
    assert client.send("POST", f"{mount}/{area}porter/a", {"versions": [1]}).status == 403
    assert client.send("DELETE", f"{mount}/data/porter/a").status == 403


async def test_without_the_right_to_detailed_lists_secrets_are_read_singly(bao_server):
    place = Place(bao_server, bao_server.mount(2))
    async with place.sink(place.bao.token(policy_without(place, "detailed-metadata/", "list"))) as sink:
        for number in range(5):
            await sink.put(desired(place, f"orders-{number}"), Absent())
        position = bao_server.audit.position()
        assert len(await listed(sink)) == 5
        assert len(await listed(sink)) == 5
    asked = bao_server.audit.requests(since=position, prefix=f"{place.mount}/")
    assert sum(one.path.startswith(f"{place.mount}/detailed-metadata/") for one in asked) == 1
    assert sum(one.operation == "read" for one in asked) == 10


@pytest.mark.fault(42)
async def test_a_right_that_is_missing_is_told_with_verb_and_path(bao_server):
    place = Place(bao_server, bao_server.mount(2))
    async with place.sink(place.bao.token(policy_without(place, "metadata/", "create"))) as sink:
        with refused(Forbidden) as caught:
            await sink.put(desired(place), Absent())
    assert caught.value.reason == f"the right to write {place.mount}/metadata/{place.address()} is missing"
    assert place.metadata() is None
