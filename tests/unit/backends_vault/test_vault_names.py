"""Paths below a mount, against what Vault takes: no `..` anywhere, no empty part, no control characters."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import NameRefused
from backends.vault.names import MAX_ADDRESS, SIDECARS, VaultNaming, is_segment, path_of, split_address

SEGMENT = re.compile(r"[-_a-zA-Z0-9]([-._a-zA-Z0-9]*[-_a-zA-Z0-9])?")
NAMING = VaultNaming(("porter", "teams/shop"))

names = st.text(min_size=1, max_size=300) | st.text("aZ0.-_/% ?#&", min_size=1, max_size=300)


def segment(text: str) -> str:
    return NAMING.address(("porter", text)).removeprefix("porter/")


@given(names)
def test_every_name_becomes_a_legal_part_of_a_path_and_stays_it(text):
    name = segment(text)
    assert SEGMENT.fullmatch(name)
    assert ".." not in name
    assert len(name) <= 253
    assert segment(name) == name
    assert split_address(f"porter/{name}", ("porter",)) == ("porter", name)


@given(st.from_regex(SEGMENT, fullmatch=True).filter(lambda text: ".." not in text and len(text) <= 253))
def test_a_legal_name_stays_as_it_is(text):
    assert segment(text) == text


@given(names, names)
def test_names_that_had_to_be_rewritten_do_not_meet(one, other):
    assert (segment(one) == segment(other)) == (one == other) or is_segment(one) or is_segment(other)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Odd_Clean.Install", "Odd_Clean.Install"),
        ("_global", "_global"),
        ("a..b", "a--b"),
        ("..", "5ec1f7e7"),
        (".hidden", "hidden-16924190"),
        (SIDECARS, "syncer-e411e253"),
        ("a/b", "a-b-c14cddc0"),
        ("a?version=1", "a-version-1-7f0a1a38"),
        ("ключ", "1de36a32"),
        ("a" * 254, "a" * 244 + "-" + "136496c2"),
    ],
)
def test_names_are_made_legal_as_the_design_says(text, name):
    assert segment(text) == name


def test_a_name_of_dots_is_never_a_path_step():
    for text in (".", "..", "...", "../..", "a/../b"):
        assert "/" not in segment(text)
        assert not segment(text).startswith(".")


def test_an_empty_name_is_refused():
    with pytest.raises(NameRefused, match="empty"):
        segment("")
    with pytest.raises(NameRefused, match="empty"):
        NAMING.key("")


@given(st.text(min_size=1))
def test_a_field_is_called_as_the_output(name):
    assert NAMING.key(name) == name


@pytest.mark.parametrize(
    "parts", [("other", "a"), ("porter",), ("porters", "a"), ("teams", "a"), ("Porter", "a")]
)
def test_what_is_not_below_the_sinks_paths_is_refused(parts):
    with pytest.raises(NameRefused, match="is not below the sink's paths: porter, teams/shop"):
        NAMING.address(parts)


def test_a_path_of_several_parts_is_one_prefix():
    assert NAMING.address(("teams", "shop", "orders")) == "teams/shop/orders"
    assert path_of("teams/shop/orders", ("porter", "teams/shop")) == "teams/shop"
    assert path_of("teams/shops/orders", ("porter", "teams/shop")) is None


def test_an_address_that_no_mark_could_name_is_refused_and_quoted_in_part_only():
    long = ("porter", "a" * 250, "b" * 250, "c" * 20)
    with pytest.raises(NameRefused, match=f"is longer than {MAX_ADDRESS} characters") as caught:
        NAMING.address(long)
    assert len(str(caught.value)) < 120
    assert len(NAMING.address(("porter", "a" * 250, "b" * 250))) == 508


@pytest.mark.parametrize(
    "address",
    ["", "porter", "porter/", "porter//a", "porter/../a", "porter/a/..", "/porter/a", "porter/a?b", "porter/a#b",
     "porter/a%2e", "porter/.syncer/a", "porter/a b", "porter/a\n", "other/a"],
)  # fmt: skip
def test_what_no_secret_can_be_called_is_no_address(address):
    with pytest.raises(NameRefused, match="is not the path of a secret below the sink's paths"):
        split_address(address, ("porter",))


def test_two_addresses_are_the_same_exactly_when_they_are_equal():
    assert NAMING.same("porter/a") == "porter/a"
    assert NAMING.same("porter/a") != NAMING.same("porter/A")


def test_the_global_namespace_has_a_name_no_namespace_of_porters_can_have():
    assert segment(NAMING.global_namespace or "") == "_global"
