"""Marks as tags, and a key vault's secrets as contract values. No server."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.azure_keyvault.marks import MAX_TAG, field_tags, found_fields, judge, mark_tags
from backends.azure_keyvault.objects import (
    encoded,
    is_already,
    listed_version,
    observed,
    observed_deleted,
    version_of,
)
from backends.clients.azure_objects import (
    NewSecret,
    Unreadable,
    VaultSecret,
    next_path,
    read_page,
    read_secret,
    set_body,
)
from backends.contract import DesiredSecret, Mark, Owner
from backends.errors import Refused, TooLarge
from backends.marking import mark_fields
from backends.secret_value import SecretValue

OWNER = Owner(instance="prod-eu-1", source="source-1")
MARK = Mark(
    instance="prod-eu-1",
    source="0123456789abcdef",
    rule="default",
    target="0",
    address="shop-orders-dsn",
    namespace="",
    installation="Orders DB / ü",
    installation_id="01HZX3QY7M5T8V9W0ABCDEFGHJ",
    run_id="01HZX3QY7M5T8V9W0ABCDEFGHK",
    result_id="01HZX3QY7M5T8V9W0ABCDEFGHM",
    revision="0123456789abcdef0123456789abcdef",
    content_id="0123456789abcdef",
    output="dsn",
)
singles = st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFF), min_size=1, max_size=120)
packed = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=","), min_size=1, max_size=13)


def secret(mark: Mark = MARK, content: bytes = b"v", **attributes: str) -> VaultSecret:
    """As the vault has it after a write."""
    new = encoded(DesiredSecret(mark=mark, data={"value": SecretValue(content)}, attributes=attributes))
    return stored(new)


def stored(new: NewSecret) -> VaultSecret:
    body = set_body(new)
    body["attributes"] |= {"created": 1, "updated": 1}
    return read_secret(body | {"id": f"https://example.vault.azure.net/secrets/{MARK.address}/abc"})


@given(
    st.builds(
        replace,
        st.just(MARK),
        namespace=singles | st.just(""),
        output=singles | st.just(""),
        installation=singles,
        rule=singles,
        source=packed,
        run_id=packed,
        revision=packed,
    )
)
def test_a_mark_comes_back_as_it_was_written(mark):
    tags = mark_tags(mark)
    assert found_fields(tags) == mark_fields(mark)
    assert judge(tags, mark.address, OWNER) == (mark, None)
    assert len(tags) <= 7
    assert all(0 < len(text) <= MAX_TAG for text in (*tags, *tags.values()))


@given(st.dictionaries(st.sampled_from(sorted(mark_fields(MARK))), packed))
def test_any_part_of_a_mark_comes_back_as_that_part(part):
    found = found_fields(field_tags(part, "a"))
    assert found == ({"namespace": "", "output": ""} | part if part else {})


@given(st.dictionaries(st.sampled_from(sorted(mark_tags(MARK))) | st.text(max_size=5), st.text(max_size=30)))
def test_whatever_the_tags_are_they_are_judged(tags):
    mark, foreign = judge(tags, MARK.address, OWNER)
    assert foreign or mark


@pytest.mark.parametrize("field", [field.name for field in fields(Mark)])
def test_what_no_tag_can_hold_is_refused_with_the_name_of_the_field(field):
    name = field.replace("_", "-")
    with pytest.raises(Refused) as caught:
        mark_tags(replace(MARK, **{field: "x" * (MAX_TAG + 1)}))
    assert f"mark's {name} is longer" in caught.value.reason or "mark's ids together" in caught.value.reason


def test_a_comma_or_nothing_where_it_cannot_be_is_refused():
    with pytest.raises(Refused, match="mark's source has a comma"):
        mark_tags(replace(MARK, source="a,b"))
    with pytest.raises(Refused, match="mark's run-id is empty"):
        mark_tags(replace(MARK, run_id=""))
    assert mark_tags(replace(MARK, installation="a,b"))


def test_characters_are_counted_as_azure_counts_them():
    assert mark_tags(replace(MARK, rule="\U0001f511" * 128))
    with pytest.raises(Refused):
        mark_tags(replace(MARK, rule="\U0001f511" * 129))


def test_a_newer_format_is_told():
    tags = mark_tags(MARK)
    tags["outputs.porter.sh/ids"] = "2,and,something,else"
    assert judge(tags, MARK.address, OWNER)[1] == "mark format '2' is not known here"


def test_a_mark_is_at_home_in_any_case_and_nowhere_else():
    assert judge(mark_tags(MARK), "Shop-Orders-DSN", OWNER) == (MARK, None)
    assert "another address" in judge(mark_tags(MARK), "shop-orders-dsn2", OWNER)[1]
    assert observed(secret(), OWNER).address == MARK.address


# --- values


@given(st.binary(max_size=200))
def test_bytes_come_back_exactly(content):
    found = secret(content=content)
    assert observed(found, OWNER).data == {"value": SecretValue(content)}
    is_text = "file-encoding" not in found.tags
    assert found.content_type == ("text/plain" if is_text else "application/octet-stream")


def test_what_is_no_text_is_base64_as_the_azure_cli_writes_it():
    found = secret(content=b"\xff\x00")
    assert found.value.reveal() == b"/wA="
    assert found.tags["file-encoding"] == "base64"


def test_base64_that_is_none_is_not_intact():
    found = replace(secret(content=b"\xff"), value=SecretValue(b"!!"))
    seen = observed(found, OWNER)
    assert (seen.ours, seen.intact, seen.data) == (True, False, {})


def test_a_value_that_json_can_say_and_utf8_cannot_is_not_intact():
    body = json.loads('{"id": "https://v/secrets/shop-orders-dsn/1", "attributes": {}, "value": "\\ud800"}')
    seen = observed(read_secret(body | {"tags": mark_tags(MARK)}), OWNER)
    assert (seen.ours, seen.intact) == (True, False)


def test_attributes_come_back_as_the_target_says_them():
    attributes = {
        "content-type": "text/x-dsn",
        "expires": "2099-12-31T23:59:59Z",
        "not-before": "1999-01-01T00:00:00Z",
        "tag:team": "orders",
    }
    found = secret(**attributes)
    assert observed(found, OWNER).attributes == attributes
    assert (found.expires, found.not_before) == (4102444799, 915148800)


def test_a_time_beyond_the_calendar_is_only_a_number():
    assert observed(replace(secret(), expires=10**15), OWNER).attributes["expires"] == str(10**15)


def test_what_would_change_nothing_is_told_from_what_would():
    desired = DesiredSecret(mark=MARK, data={"value": SecretValue(b"v")}, attributes={"tag:a": "1"})
    new = encoded(desired)
    assert is_already(stored(new), new)
    for changes in (
        {"value": SecretValue(b"w")},
        {"tags": {**new.tags, "b": "1"}},
        {"content_type": "x"},
        {"expires": 1},
        {"not_before": 1},
        {"enabled": False},
    ):
        assert not is_already(replace(stored(new), **changes), new)


def test_versions_change_with_everything_a_patch_can_change():
    found = secret()
    patched = [
        replace(found, tags={**found.tags, "a": "1"}),
        replace(found, content_type="x"),
        replace(found, enabled=False),
        replace(found, expires=1),
        replace(found, not_before=1),
    ]
    for version in (version_of, listed_version):
        assert len({version(each).token for each in (found, *patched)}) == 6
    assert version_of(replace(found, version="def")) != version_of(found)
    assert listed_version(replace(found, updated=2)) != listed_version(found)
    assert listed_version(replace(found, version=None, value=None)) == listed_version(found)


@pytest.mark.parametrize("data", [{}, {"host": b"a"}, {"value": b"a", "port": b"1"}])
def test_a_secret_holds_one_value(data):
    values = {key: SecretValue(content) for key, content in data.items()}
    with pytest.raises(Refused):
        encoded(DesiredSecret(mark=MARK, data=values))


def test_the_size_that_counts_is_the_stored_one():
    assert secret(content=b"x" * 25 * 1024)
    with pytest.raises(TooLarge, match="25604 bytes as base64"):
        secret(content=b"\xff" * 19201)


def test_a_secret_of_a_certificate_is_foreign():
    seen = observed(replace(secret(), managed=True), OWNER)
    assert (seen.foreign, seen.data) == ("it belongs to a certificate", None)


def test_a_deleted_secret_of_ours_counts_as_absent():
    assert observed_deleted(secret(), OWNER) is None
    assert observed_deleted(secret(), replace(OWNER, instance="another")) is not None


# --- what a vault writes


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.text() | st.sampled_from(["id", "attributes", "tags", "value", "nextLink", "nbf"]), inner
        )
    ),
    max_leaves=8,
)


@given(JSON)
def test_whatever_is_answered_is_read_or_unreadable(body):
    for read in (read_secret, read_page):
        with suppress(Unreadable):
            read(body)


@pytest.mark.parametrize(
    ("link", "path"),
    [
        (
            "https://v.example/secrets?api-version=7.4&$skiptoken=a%3D",
            "/secrets?api-version=7.4&$skiptoken=a%3D",
        ),
        ("https://V.example:443/secrets?x=1", "/secrets?x=1"),
        ("https://elsewhere.example/secrets?x=1", None),
        ("http://v.example/secrets?x=1", None),
        ("https://v.example:8443/secrets", None),
        ("https://v.example:port/", None),
        ("//v.example/secrets", None),
    ],
)
def test_the_next_page_is_the_same_vaults(link, path):
    if path is None:
        with pytest.raises(Unreadable):
            next_path(link, "https://v.example")
    else:
        assert next_path(link, "https://v.example") == path


def test_no_repr_shows_a_value():
    new = encoded(DesiredSecret(mark=MARK, data={"value": SecretValue(b"canary")}))
    assert "canary" not in f"{new!r} {stored(new)!r}"
