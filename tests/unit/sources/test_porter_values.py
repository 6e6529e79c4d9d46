"""What one output's document may look like, and what becomes of it.

Simulates documents as Porter writes them and as it never would. Excludes names in sinks
(backends) and encodings of sinks that take text only.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from bson import Binary, Code, Decimal128, ObjectId
from porter_world import DB, PLAIN, SENSITIVE, Secrets, World, bundle, loaded, refs, source, values

from backends.secret_value import EMPTY_DIGEST, SecretValue
from syncer.core.model import Found, InstallationKey, Missing, OutputRef, Unresolved
from syncer.sources.porter.source import STORE_UNAVAILABLE


def world_with(content: bytes = b"s3cr3t", /, **bent: object) -> World:
    """One installation with the output `host`, its document changed as told."""
    world = World()
    world.installation()
    world.run({"host": content})["host"].update(bent)
    return world


async def reason(world: World, secrets: Secrets | None = None) -> str:
    state = (await values(world, secrets))["host"]
    assert isinstance(state, Unresolved), state
    assert "s3cr3t" not in state.reason
    return state.reason


async def found(world: World, secrets: Secrets | None = None) -> bytes:
    state = (await values(world, secrets))["host"]
    assert isinstance(state, Found), state
    return state.value.reveal()


@pytest.mark.bad_input(1)
async def test_null_without_a_key_is_lost_and_not_empty():
    assert "lost" in await reason(world_with(value=None))


@pytest.mark.bad_input(2)
async def test_an_empty_text_is_an_empty_output():
    world = world_with(b"")
    assert refs(await loaded(world))["host"].digest == EMPTY_DIGEST
    assert await found(world) == b""


@pytest.mark.bad_input(3)
@pytest.mark.parametrize("value", ["no base64!", "czNjcjN0\n", "czNjcjN", "-_-_", "czNj cjN0", "=", "é"])
async def test_what_is_not_strict_base64_is_not_published(value):
    assert "not base64" in await reason(world_with(value=value))


@pytest.mark.bad_input(4)
async def test_binary_of_the_general_subtype_is_taken_as_it_is():
    assert await found(world_with(value=b"s3cr3t")) == b"s3cr3t"
    assert await found(world_with(value=Binary(b"s3cr3t", 0))) == b"s3cr3t"


@pytest.mark.bad_input(4)
@pytest.mark.parametrize("subtype", [2, 4, 5, 6, 128])
async def test_binary_of_any_other_subtype_is_refused(subtype):
    content = b"s3cr3t" if subtype != 4 else b"s3cr3t0123456789"
    assert "not base64" in await reason(world_with(value=Binary(content, subtype)))


@pytest.mark.bad_input(5)
@pytest.mark.parametrize(
    "value",
    [
        {"$ne": ""},
        ["czNjcjN0"],
        7,
        float("nan"),
        Decimal128("1"),
        Code("czNjcjN0"),
        True,
        ObjectId(),
        datetime.now(UTC),
    ],
)
async def test_a_value_of_any_other_type_is_refused(value):
    assert await reason(world_with(value=value))


@pytest.mark.bad_input(6)
@pytest.mark.bad_input(7)
@pytest.mark.bad_input(8)
@pytest.mark.parametrize(
    "content",
    [
        bytes(range(256)),
        b"\xff\xfe",
        b"a\0b",
        b"a\r\nb",
        b"\xef\xbb\xbfbom",
        b"\xed\xa0\x80",
        b"\x1b[31m",
        b"line\n",
    ],
)
async def test_bytes_are_kept_exactly(content):
    assert await found(world_with(content)) == content


@pytest.mark.bad_input(9)
async def test_a_value_of_the_largest_size_porter_stores_is_read():
    content = b"x" * (3 * 1024 * 1024)
    assert await found(world_with(content)) == content


@pytest.mark.bad_input(10)
async def test_five_thousand_outputs_of_one_run_take_a_bounded_number_of_queries():
    world = World()
    world.installation()
    world.run({f"out{number}": b"%d" % number for number in range(5_000)})
    states = await values(world)
    assert len(states) == 5_000
    assert all(isinstance(state, Found) for state in states.values())
    assert len(world.queries) < 25


@pytest.mark.bad_input(11)
async def test_a_key_beside_a_value_wins():
    world = world_with()
    document = world.documents["outputs"][0]
    document["key"] = f"{document['runId']}-host"
    document["value"] = base64.b64encode(b"something else").decode()
    secrets = Secrets({document["key"]: b"s3cr3t"})
    assert await found(world, secrets) == b"s3cr3t"
    assert await reason(world, Secrets()) == "cannot be resolved: not in the store"


@pytest.mark.bad_input(12)
@pytest.mark.parametrize(
    "key",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "a\0b",
        "x" * 10_240,
        "01M85E6NDDJGTZ7NPKWM97E1ZF-host",
        "host",
        7,
        Code("x"),
        ["k"],
        {"$ne": ""},
    ],
)
async def test_a_key_that_does_not_name_this_output_is_never_asked_for(key):
    secrets = Secrets()
    assert "key" in await reason(world_with(value=None, key=key), secrets)
    assert secrets.asked == []


@pytest.mark.bad_input(12)
@pytest.mark.parametrize("suffix", ["-host2", "-hos", "-", "host", "-host\n"])
async def test_a_key_of_this_run_must_name_exactly_this_output(suffix):
    world = world_with(value=None)
    world.documents["outputs"][0]["key"] = world.documents["runs"][0]["_id"] + suffix
    secrets = Secrets()
    assert "key" in await reason(world, secrets)
    assert secrets.asked == []


@pytest.mark.bad_input(13)
async def test_two_documents_for_one_output_are_ambiguous():
    world = world_with()
    world.documents["outputs"].append(dict(world.documents["outputs"][0]))
    assert await reason(world) == "has two documents"


@pytest.mark.bad_input(15)
@pytest.mark.parametrize(
    "bent",
    [
        {"namespace": "prod"},
        {"installation": "api"},
        {"runId": "other"},
        {"runId": Code("x")},
        {"namespace": None},
    ],
)
async def test_a_document_that_names_another_installation_or_run_is_refused(bent):
    assert "another installation or run" in await reason(world_with(**bent))


async def test_an_output_that_is_listed_and_has_no_document_is_missing():
    world = world_with()
    world.documents["outputs"].clear()
    assert await values(world) == {"host": Missing()}


async def test_bytes_other_than_those_porter_recorded_are_refused():
    assert "digest" in await reason(world_with(value=base64.b64encode(b"forged").decode()))


async def test_without_a_recorded_digest_the_bytes_are_taken():
    world = world_with()
    ref = refs(await loaded(world))["host"]
    unrecorded = OutputRef(ref.installation, ref.run_id, ref.result_id, ref.name, None)
    assert await source(world).values([unrecorded]) == {unrecorded: Found(SecretValue(b"s3cr3t"))}


def sealed_world() -> tuple[World, str]:
    """A plain output `host` and a sensitive one `password` with its key."""
    world = World()
    world.installation()
    declares = bundle(host=PLAIN, password=SENSITIVE)
    documents = world.run({"host": b"h", "password": b"p"}, declares=declares)
    key = f"{documents['run']['_id']}-password"
    documents["password"].update(key=key, value=None)
    return world, key


async def test_a_sensitive_value_comes_out_of_the_secret_store():
    world, key = sealed_world()
    states = await values(world, Secrets({key: b"p"}))
    assert states == {"host": Found(SecretValue(b"h")), "password": Found(SecretValue(b"p"))}


async def test_what_the_secret_store_answers_must_match_the_digest():
    world, key = sealed_world()
    state = (await values(world, Secrets({key: b"<html>sign in</html>"})))["password"]
    assert state == Unresolved("does not match the digest that Porter recorded")


async def test_a_secret_store_that_fails_concerns_only_what_is_in_it():
    world, _ = sealed_world()
    states = await values(world, Secrets(fails=True))
    assert states["host"] == Found(SecretValue(b"h"))
    assert states["password"] == Unresolved(f"{STORE_UNAVAILABLE}: the store is sealed")


async def test_all_secrets_are_asked_for_at_once_and_no_query_is_made_for_each():
    world = World()
    secrets = Secrets()
    for number in range(30):
        key = InstallationKey("shop", f"db{number}")
        world.installation(key)
        documents = world.run({"password": b"p"}, key=key, declares=bundle(password=SENSITIVE))
        secret = f"{documents['run']['_id']}-password"
        documents["password"].update(key=secret, value=None)
        secrets.content[secret] = b"p"
    porter = source(world, secrets)
    found = await porter.load([InstallationKey("shop", f"db{number}") for number in range(30)])
    world.queries.clear()
    states = await porter.values([ref for one in found.values() for ref in refs(one).values()])
    assert all(isinstance(state, Found) for state in states.values())
    assert (len(world.queries), secrets.calls) == (1, 1)


async def test_every_reference_asked_for_is_answered():
    ref = OutputRef(DB, "run", "result", "nothing", None)
    assert await source(World()).values([ref, ref]) == {ref: Missing()}
    assert await source(World()).values([]) == {}
