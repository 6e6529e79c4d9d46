"""Names of Secrets, data keys and namespaces, against the rules as Kubernetes writes them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import NameRefused
from backends.kubernetes_secret.names import KubernetesNaming, split_address

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
DATA_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
ANYWHERE = KubernetesNaming(None)

names = st.text(min_size=1, max_size=300) | st.text("aZ0.-_/", min_size=1, max_size=300)


def secret_name(text: str) -> str:
    return ANYWHERE.address(("shop", text)).removeprefix("shop/")


@given(names)
def test_every_name_becomes_a_legal_one_and_stays_it(text):
    name = secret_name(text)
    assert SUBDOMAIN.fullmatch(name)
    assert len(name) <= 253
    assert secret_name(name) == name
    assert split_address(f"shop/{name}") == ("shop", name)


@given(st.from_regex(SUBDOMAIN, fullmatch=True).filter(lambda text: len(text) <= 253))
def test_a_legal_name_stays_as_it_is(text):
    assert secret_name(text) == text


@given(names)
def test_every_key_becomes_a_legal_one_and_stays_it(text):
    key = ANYWHERE.key(text)
    assert DATA_KEY.fullmatch(key)
    assert key != "."
    assert not key.startswith("..")
    assert ANYWHERE.key(key) == key


@given(st.from_regex(DATA_KEY, fullmatch=True).filter(lambda text: text != "." and not text.startswith("..")))
def test_a_legal_key_stays_as_it_is(text):
    assert ANYWHERE.key(text) == text


@pytest.mark.bad_input(31)
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Odd_Clean.Install-outputs", "odd-clean.install-outputs"),
        ("a..b", "a--b"),
        ("a.-b", "a--b"),
        ("a_.b", "a--b"),
        ("a/b", "a-b-c14cddc0"),
        ("-a", "a-c2748917"),
        ("...", "ab5df625"),
        ("a" * 254, "a" * 244 + "-" + "136496c2"),
    ],
)
def test_names_are_made_legal_as_the_design_says(text, name):
    assert secret_name(text) == name


@pytest.mark.parametrize(
    ("text", "key"), [("tls/key", "tls-key-4200f18f"), ("..a", "a-f76a4def"), (".hidden", ".hidden")]
)
def test_keys_are_made_legal_as_the_design_says(text, key):
    assert ANYWHERE.key(text) == key


def test_an_empty_name_is_refused():
    with pytest.raises(NameRefused, match="empty"):
        ANYWHERE.key("")
    with pytest.raises(NameRefused, match="empty"):
        secret_name("")


@pytest.mark.bad_input(32)
@pytest.mark.parametrize("namespace", ["kube-system", "kube-public", "kube-node-lease"])
def test_kubernetes_own_namespaces_are_written_to_only_where_they_are_listed(namespace):
    with pytest.raises(NameRefused, match=f"'{namespace}' is Kubernetes' own"):
        ANYWHERE.address((namespace, "a"))
    assert KubernetesNaming((namespace,)).address((namespace, "a")) == f"{namespace}/a"


def test_a_namespace_that_is_not_listed_is_refused():
    with pytest.raises(NameRefused, match="'shop' is not among the sink's namespaces"):
        KubernetesNaming(("billing",)).address(("shop", "a"))


@pytest.mark.parametrize(
    "namespace", ["", "Shop", "a_b", "a.b", "-a", "a-", "a" * 64, "a/b", "..", "é", "a\n"]
)
def test_a_namespace_is_never_changed_to_make_it_legal(namespace):
    with pytest.raises(NameRefused, match="map it under namespaces"):
        ANYWHERE.address((namespace, "a"))


@pytest.mark.parametrize(
    "address", ["", "shop", "shop/", "shop/..", "shop/a/b", "/a", "../a", "shop/A", "shop/a?b", "shop/a..b"]
)
def test_what_no_secret_can_be_called_is_no_address(address):
    with pytest.raises(NameRefused):
        split_address(address)


def test_two_addresses_are_the_same_exactly_when_they_are_equal():
    assert ANYWHERE.same("shop/a") == "shop/a"
    assert ANYWHERE.same("shop/a") != ANYWHERE.same("shop/b")


def test_the_global_namespace_has_to_be_mapped():
    assert ANYWHERE.global_namespace is None
