"""Names of secrets in a key vault, and what a pod mounts them by. No server."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from backends.azure_keyvault import KIND
from backends.azure_keyvault.csi import MountedSecret, provider_objects
from backends.azure_keyvault.names import AzureKeyVaultNaming, require_legal, same_name
from backends.errors import NameRefused
from backends.naming import DATA_KEYS, first_legal

LEGAL = re.compile(r"[0-9a-zA-Z-]{1,127}", re.ASCII)
NAMING = AzureKeyVaultNaming()
legal_names = st.from_regex(LEGAL, fullmatch=True)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)


@given(legal_names)
def test_a_legal_name_stays_as_it_is(name):
    assert NAMING.address((name,)) == name
    require_legal(name)


@given(names)
def test_every_name_becomes_a_legal_one_and_only_once(name):
    address = NAMING.address((name,))
    assert LEGAL.fullmatch(address)
    assert NAMING.address((address,)) == address


@given(names, names)
def test_names_that_are_changed_beyond_underscores_and_dots_do_not_meet(one, other):
    changed = [name for name in (one, other) if not LEGAL.fullmatch(re.sub("[_.]", "-", name))]
    if len(changed) == 2 and one != other:
        assert NAMING.same(NAMING.address((one,))) != NAMING.same(NAMING.address((other,)))


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("shop-orders-db_password", "shop-orders-db-password"),
        ("Shop.Orders", "Shop-Orders"),
        ("tls/key", "tls-key-"),
        ("x" * 128, "x" * 118 + "-"),
        ("ключ", ""),
    ],
)
def test_names_are_made_as_in_every_sink(name, address):
    made = NAMING.address((name,))
    assert made == address or re.fullmatch(re.escape(address) + "[0-9a-f]{8}", made)


def test_an_empty_name_is_refused():
    with pytest.raises(NameRefused):
        NAMING.address(("",))


def test_cases_are_not_told_apart_and_what_is_no_name_is_nobodys():
    assert NAMING.same("Shop-A") == NAMING.same("shop-a")
    assert same_name("Shop-A", "shop-a")
    assert not same_name("shop-\N{KELVIN SIGN}", "shop-k")
    assert not same_name("a_b", "a_b")


def test_the_global_namespace_has_to_be_mapped():
    assert KIND.naming(None).global_namespace is None
    assert NAMING.key("db/pass") == "db/pass"


def test_the_kind_loads_no_client_library():
    program = (
        "import sys, backends.azure_keyvault; sys.exit('azure' in sys.modules or 'aiohttp' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_objects_of_a_provider_class_are_as_the_azure_provider_reads_them():
    text = provider_objects(
        [
            MountedSecret(address="shop-orders-dsn"),
            MountedSecret(address="shop-orders-key", file_name="tls.key", is_base64=True),
        ]
    )
    assert text == (
        "array:\n"
        "  - |\n"
        "    objectName: shop-orders-dsn\n"
        "    objectType: secret\n"
        "  - |\n"
        "    objectName: shop-orders-key\n"
        "    objectType: secret\n"
        '    objectAlias: "tls.key"\n'
        "    objectEncoding: base64\n"
    )


@given(name=legal_names, file=names, is_base64=st.booleans())
@example(name="123", file="1.0", is_base64=False)
@example(name="null", file="yes", is_base64=True)
@example(name="1-1", file="2026-01-01", is_base64=True)
def test_whatever_the_names_are_the_yaml_means_them(name, file, is_base64):
    text = provider_objects([MountedSecret(address=name, file_name=file, is_base64=is_base64)])
    (item,) = yaml.safe_load(text)["array"]
    found = yaml.safe_load(item)
    assert (found["objectName"], found["objectType"]) == (name, "secret")
    assert found["objectAlias"] == first_legal(file, DATA_KEYS)
    assert ("objectEncoding" in found) is is_base64


def test_what_is_no_secrets_name_is_not_mounted():
    with pytest.raises(NameRefused):
        provider_objects([MountedSecret(address="a\nb: c")])
