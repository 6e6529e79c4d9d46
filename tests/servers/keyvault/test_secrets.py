from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.keyvault.secrets.aio import SecretClient

from tests.servers.keyvault import KeyVaultServer, Vault
from tests.servers.keyvault.model import Rules
from tests.servers.keyvault.sdk import NOON, client_of, plainly, refusal

YEAR_LATER = datetime(2027, 3, 1, tzinfo=UTC)


async def test_a_secret_that_was_set_is_read_back(client: SecretClient, vault: Vault) -> None:
    written = await client.set_secret(
        "db-password",
        "s3cret",
        tags={"owner": "porter"},
        content_type="text/plain",
        not_before=NOON,
        expires_on=YEAR_LATER,
    )
    read = await client.get_secret("db-password")
    assert (read.value, read.properties.content_type, read.properties.tags) == (
        "s3cret",
        "text/plain",
        {"owner": "porter"},
    )
    assert read.id == written.id == f"{vault.url}/secrets/db-password/{written.properties.version}"
    assert len(written.properties.version or "") == 32
    properties = read.properties
    assert (properties.enabled, properties.created_on, properties.updated_on) == (True, NOON, NOON)
    assert (properties.not_before, properties.expires_on) == (NOON, YEAR_LATER)
    assert (properties.recovery_level, properties.recoverable_days) == ("Recoverable+Purgeable", 90)


async def test_an_empty_value_is_a_value(client: SecretClient) -> None:
    await client.set_secret("empty", "")
    assert (await client.get_secret("empty")).value == ""


async def test_each_set_makes_a_version_and_takes_over_nothing(client: SecretClient, vault: Vault) -> None:
    first = await client.set_secret("key", "one", tags={"a": "1"}, content_type="text/plain")
    vault.clock.advance(60)
    second = await client.set_secret("key", "two")
    assert first.properties.version is not None
    assert (await client.get_secret("key", first.properties.version)).value == "one"
    latest = await client.get_secret("key")
    assert (latest.value, latest.properties.tags, latest.properties.content_type) == ("two", None, None)
    assert latest.properties.version == second.properties.version
    listed = [each.version async for each in client.list_properties_of_secret_versions("key")]
    assert sorted(filter(None, listed)) == sorted(each.version for each in vault.versions("key"))


async def test_names_do_not_differ_by_case_and_keep_their_first_one(client: SecretClient) -> None:
    await client.set_secret("Db-Password", "one")
    again = await client.set_secret("DB-PASSWORD", "two")
    assert again.name == "Db-Password"
    assert (await client.get_secret("db-password")).value == "two"
    assert [each.name async for each in client.list_properties_of_secrets()] == ["Db-Password"]


async def test_an_update_changes_what_it_names_and_makes_no_version(
    client: SecretClient, vault: Vault
) -> None:
    await client.set_secret("key", "one", tags={"a": "1", "b": "2"}, content_type="text/plain")
    vault.clock.advance(60)
    changed = await client.update_secret_properties("key", tags={"c": "3"})
    assert (changed.tags, changed.content_type, changed.enabled) == ({"c": "3"}, "text/plain", True)
    assert changed.created_on == NOON
    assert changed.updated_on is not None
    assert changed.updated_on > NOON
    assert len(vault.versions("key")) == 1
    assert (await client.get_secret("key")).value == "one"


async def test_an_update_may_name_a_version(client: SecretClient, vault: Vault) -> None:
    first = vault.put("key", "one")
    vault.put("key", "two")
    await client.update_secret_properties("key", first.version, tags={"old": "yes"})
    assert [each.tags for each in vault.versions("key")] == [{"old": "yes"}, None]
    with pytest.raises(ResourceNotFoundError):
        await client.update_secret_properties("key", "0" * 32, tags={})


async def test_a_disabled_secret_is_listed_and_not_read(client: SecretClient) -> None:
    await client.set_secret("key", "one", enabled=False)
    with pytest.raises(HttpResponseError) as caught:
        await client.get_secret("key")
    assert refusal(caught.value) == (403, "Forbidden", "SecretDisabled")
    assert [each.enabled async for each in client.list_properties_of_secrets()] == [False]
    await client.update_secret_properties("key", enabled=True)
    assert (await client.get_secret("key")).value == "one"


async def test_an_expired_secret_is_still_read(client: SecretClient) -> None:
    await client.set_secret("key", "one", expires_on=datetime(2020, 1, 1, tzinfo=UTC))
    assert (await client.get_secret("key")).value == "one"


async def test_what_is_not_there_is_not_found(client: SecretClient, vault: Vault) -> None:
    vault.put("key", "one")
    for missing in (
        client.get_secret("none"),
        client.get_secret("key", "0" * 32),
        client.update_secret_properties("none", tags={}),
        client.delete_secret("none"),
        client.get_deleted_secret("key"),
        client.recover_deleted_secret("none"),
    ):
        with pytest.raises(ResourceNotFoundError) as caught:
            await missing
        assert refusal(caught.value) == (404, "SecretNotFound", None)
    with pytest.raises(ResourceNotFoundError):
        [each async for each in client.list_properties_of_secret_versions("none")]


async def test_a_list_comes_in_pages_of_25_without_values_or_versions(
    client: SecretClient, vault: Vault
) -> None:
    for number in range(60):
        vault.put(f"key-{number:02}", "hidden", tags={"n": str(number)})
    pages = client.list_properties_of_secrets().by_page()
    sizes = [len([each async for each in page]) async for page in pages]
    assert sizes == [25, 25, 10]
    listed = [each async for each in client.list_properties_of_secrets(max_page_size=7)]
    assert [each.name for each in listed] == [f"key-{number:02}" for number in range(60)]
    assert {each.version for each in listed} == {None}
    assert listed[3].tags == {"n": "3"}
    assert vault.counts()["list"] == 3 + 9


async def test_a_list_goes_on_where_it_was_though_its_next_name_is_gone(
    client: SecretClient, vault: Vault
) -> None:
    for name in ("a", "b", "c", "d"):
        vault.put(name, "x")
    pages = client.list_properties_of_secrets(max_page_size=2).by_page()
    found = [each.name async for each in await anext(pages)]
    vault.soft_delete("b")
    vault.put("a-2", "x")
    found += [each.name async for each in await anext(pages)]
    assert found == ["a", "b", "c", "d"]


async def test_versions_come_in_pages(client: SecretClient, vault: Vault) -> None:
    for number in range(30):
        vault.put("key", str(number))
    listed = [each.version async for each in client.list_properties_of_secret_versions("key")]
    assert sorted(filter(None, listed)) == sorted(each.version for each in vault.versions("key"))
    assert vault.counts()["versions"] == 2


@pytest.mark.parametrize(
    "options",
    [
        {"value": "x" * (25 * 1024 + 1)},
        {"value": "é" * (25 * 512 + 1)},
        {"value": "x", "content_type": "x" * 256},
        {"value": "x", "tags": {str(number): "" for number in range(16)}},
        {"value": "x", "tags": {"x" * 513: ""}},
        {"value": "x", "tags": {"x": "x" * 513}},
    ],
)
async def test_what_is_too_large_is_refused(
    client: SecretClient, vault: Vault, options: dict[str, Any]
) -> None:
    with pytest.raises(HttpResponseError) as caught:
        await client.set_secret("key", **options)
    assert refusal(caught.value) == (400, "BadParameter", None)
    assert (vault.names(), vault.writes) == ([], 0)


async def test_the_largest_of_everything_is_kept(client: SecretClient) -> None:
    tags = {f"{number:02}".ljust(512, "n"): "v" * 512 for number in range(15)}
    await client.set_secret("k" * 127, "x" * 25 * 1024, tags=tags, content_type="x" * 255)
    read = await client.get_secret("k" * 127)
    assert (len(read.value or ""), read.properties.tags) == (25 * 1024, tags)


async def test_a_vault_may_have_narrower_rules(server: KeyVaultServer) -> None:
    vault = server.new_vault(rules=Rules(tag_characters=256))
    async with client_of(server, vault) as client:
        with pytest.raises(HttpResponseError, match="tags"):
            await client.set_secret("key", "x", tags={"x" * 257: ""})


@pytest.mark.parametrize("name", ["under_score", "dotted.name", "k" * 128])
async def test_a_name_outside_the_pattern_is_refused(client: SecretClient, name: str) -> None:
    with pytest.raises(HttpResponseError) as caught:
        await client.set_secret(name, "x")
    assert refusal(caught.value)[1] == "BadParameter"


@pytest.mark.parametrize(
    ("query", "body", "words"),
    [
        ("", "{}", "api-version must be specified"),
        ("?api-version=6.0", "{}", "(6.0) is not recognized"),
        ("?api-version=7.4", "not json", "JSON object"),
        ("?api-version=7.4", "[]", "JSON object"),
        ("?api-version=7.4", "{}", "value"),
        ("?api-version=7.4", '{"value": 1}', "value"),
        ("?api-version=7.4", '{"value": "x", "attributes": {"exp": "soon"}}', "attributes"),
    ],
)
async def test_a_request_the_sdk_would_not_send_is_refused(
    server: KeyVaultServer, vault: Vault, query: str, body: str, words: str
) -> None:
    token = server.entra.issue(server.identity)
    status, _, error = await plainly(
        server, f"{vault.url}/secrets/key{query}", token=token, method="PUT", body=body
    )
    assert (status, error["error"]["code"]) == (400, "BadParameter")
    assert words in error["error"]["message"]


@pytest.mark.parametrize("size", ["0", "26", "many"])
async def test_a_page_of_more_than_25_or_of_none_is_refused(
    server: KeyVaultServer, vault: Vault, size: str
) -> None:
    url = f"{vault.url}/secrets?api-version=7.6&maxresults={size}"
    status, _, error = await plainly(server, url, token=server.entra.issue(server.reader))
    assert (status, error["error"]["code"]) == (400, "BadParameter")


async def test_an_operation_that_is_left_out_says_so(client: SecretClient) -> None:
    with pytest.raises(ResourceNotFoundError, match="stand-in"):
        await client.backup_secret("key")
