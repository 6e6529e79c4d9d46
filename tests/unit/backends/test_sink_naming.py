"""Names made legal: pure, for alphabets like those of the sinks. Collisions are the mapping's."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import NameRefused
from backends.file.names import MAX_ADDRESS, FileNaming, is_legal, split_address
from backends.naming import DATA_KEYS, Alphabet, first_legal, legal_name

DNS = Alphabet(allowed="-a-z0-9", edges="a-z0-9", max_length=63)
AZURE = Alphabet(allowed="-0-9a-zA-Z", edges="0-9a-zA-Z", max_length=127)
FREE = Alphabet(allowed="-._a-zA-Z0-9", edges="-._a-zA-Z0-9", max_length=253)

alphabets = st.sampled_from([DNS, AZURE, FREE])
names = st.one_of(st.text(min_size=1), st.text("ab.-_/AZ09é\n\0", min_size=1), st.text("a.", min_size=250))


@given(names, alphabets)
def test_what_is_made_is_legal_and_stays(name: str, alphabet: Alphabet) -> None:
    made = legal_name(name, alphabet)
    assert alphabet.fits(made)
    assert legal_name(made, alphabet) == made


@given(st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True), alphabets)
def test_a_legal_name_stays_as_it_is(name: str, alphabet: Alphabet) -> None:
    assert legal_name(name, alphabet) == name


@given(st.lists(names, min_size=2, max_size=10, unique=True), alphabets)
def test_names_that_need_a_hard_change_stay_distinct(found: list[str], alphabet: Alphabet) -> None:
    hard = [name for name in found if re.search(r"-?[0-9a-f]{8}$", legal_name(name, alphabet))]
    changed = {legal_name(name, alphabet) for name in hard if not alphabet.fits(name)}
    unchanged = {name for name in hard if alphabet.fits(name)}
    assert len(changed - unchanged) + len(unchanged) == len(hard)


@pytest.mark.parametrize(
    ("name", "dns", "free"),
    [
        ("Odd_Clean.Install", "odd-clean-install", "Odd_Clean.Install"),
        ("tls/key", "tls-key-#", "tls-key-#"),
        ("ca.crt", "ca-crt", "ca.crt"),
        ("-x", "x-#", "-x"),
        ("naïve", "na-ve-#", "na-ve-#"),
        ("é", "#", "#"),
        ("x\n", "x-#", "x-#"),
        ("\ud800", "#", "#"),
    ],
)
def test_names_become_what_the_design_says(name: str, dns: str, free: str) -> None:
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    assert legal_name(name, DNS) == dns.replace("#", digest)
    assert legal_name(name, FREE) == free.replace("#", digest)


def test_a_name_that_is_too_long_keeps_its_beginning() -> None:
    made = legal_name("a" * 64, DNS)
    assert len(made) == 63
    assert re.fullmatch("a{54}-[0-9a-f]{8}", made)


def test_an_empty_name_is_refused() -> None:
    for make in (lambda: legal_name("", DNS), lambda: first_legal("", DATA_KEYS)):
        with pytest.raises(NameRefused, match="empty"):
            make()


# --- file names


@given(names)
def test_a_file_name_is_one_and_never_a_step_in_a_path(name: str) -> None:
    made = FileNaming().key(name)
    assert is_legal(made)
    assert re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", made)
    assert not made.startswith("..")
    assert made != "."
    assert FileNaming().key(made) == made


@given(st.lists(names, min_size=1, max_size=4))
def test_an_address_splits_into_as_many_folders_as_it_has_parts(parts: list[str]) -> None:
    address = FileNaming().address(tuple(parts))
    assert len(split_address(address)) == len(parts)
    assert FileNaming().same(address) == address


@pytest.mark.parametrize(
    ("name", "made"),
    [
        (".", r"\.-[0-9a-f]{8}"),
        ("..", r"[0-9a-f]{8}"),
        ("...", r"[0-9a-f]{8}"),
        ("..data", r"data-[0-9a-f]{8}"),
        ("../etc", r"-?etc-[0-9a-f]{8}"),
        (".env", r"\.env"),
    ],
)
def test_names_of_the_sinks_own_are_never_made(name: str, made: str) -> None:
    assert re.fullmatch(made, FileNaming().key(name))


def test_where_no_alphabet_helps_the_name_is_refused() -> None:
    everything = Alphabet(allowed="a-z0-9", edges="a-z0-9", max_length=20, reserved=".*")
    with pytest.raises(NameRefused, match="no legal name"):
        first_legal("x", (everything,))


def test_an_address_too_long_for_a_path_is_refused() -> None:
    part = "a" * 253
    assert FileNaming().address((part,) * (MAX_ADDRESS // 254))
    with pytest.raises(NameRefused, match="longer than 2048"):
        FileNaming().address((part,) * 9)
    with pytest.raises(NameRefused, match="empty"):
        FileNaming().address(("a", ""))


@pytest.mark.parametrize(
    "address", ["", "/a", "a/", "a//b", ".", "..", "a/../b", "..data", "a/..syncer.lock", "a\0"]
)
def test_an_address_of_no_secret_is_refused(address: str) -> None:
    with pytest.raises(NameRefused):
        split_address(address)


def test_the_global_namespace_has_a_folder_of_its_own() -> None:
    assert FileNaming().global_namespace == "_global"
    assert is_legal("_global")
