"""Page tokens and page sizes: a token is good for one caller, one request and one process, unchanged.

Excludes what a place is and who may read there: the services' part.
"""

from __future__ import annotations

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.api.callers import Caller
from syncer.api.pages import DEFAULT_SIZE, LARGEST_SIZE, BadPageSize, BadPageToken, PageTokens, page_size


def in_base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode()


ANN, BOB = Caller("ann", uid="1"), Caller("bob", uid="2")
TOKENS = PageTokens(b"k" * 32)
PLACES = st.lists(st.text(st.characters(), max_size=40), min_size=1, max_size=3).map(tuple)
_ALPHABET = string.ascii_letters + string.digits + "-_+/= \n\0."


@given(PLACES, st.binary(max_size=40))
def test_a_token_leads_back_to_its_place(place, request_bytes):
    token = TOKENS.issue(ANN, request_bytes, place)
    assert token.isascii()
    assert TOKENS.read(token, ANN, request_bytes) == place


def test_no_token_is_the_beginning():
    assert TOKENS.read("", ANN, b"request") is None


@pytest.mark.parametrize(
    ("tokens", "caller", "request_bytes"),
    [
        (TOKENS, BOB, b"request"),
        (TOKENS, Caller("ann", uid="2"), b"request"),
        (TOKENS, Caller("ann"), b"request"),
        (TOKENS, ANN, b"another"),
        (TOKENS, ANN, b"request\0"),
        (TOKENS, ANN, b""),
        (PageTokens(b"K" * 32), ANN, b"request"),
    ],
    ids=["caller", "account made anew", "no uid", "request", "longer request", "no request", "process"],
)
def test_a_token_is_good_for_nobody_and_nothing_else(tokens, caller, request_bytes):
    token = TOKENS.issue(ANN, b"request", ("shop", "db"))
    assert TOKENS.read(token, ANN, b"request") == ("shop", "db")
    with pytest.raises(BadPageToken):
        tokens.read(token, caller, request_bytes)


def test_groups_may_change_between_two_pages():
    token = TOKENS.issue(Caller("ann", ("a",), "1"), b"request", ("db",))
    assert TOKENS.read(token, Caller("ann", ("a", "b"), "1"), b"request") == ("db",)


def test_what_is_sealed_cannot_be_divided_in_another_way():
    token = TOKENS.issue(Caller("a"), b"bc", ("d",))
    content = base64.urlsafe_b64decode(token)[16:]
    for who, request_bytes in ((Caller("ab"), b"c"), (Caller("a"), b"b"), (Caller("a"), b"bc" + content)):
        with pytest.raises(BadPageToken):
            TOKENS.read(token, who, request_bytes)


@pytest.mark.parametrize("length", range(1, 8))
def test_no_letter_of_a_token_can_be_changed(length):
    token = TOKENS.issue(ANN, b"request", ("n" * length,))
    mutants = {token[:at] + letter + token[at + 1 :] for at in range(len(token)) for letter in _ALPHABET}
    mutants |= {token[:at] + token[at + 1 :] for at in range(len(token))}
    mutants |= {token[:at] + letter + token[at:] for at in range(len(token) + 1) for letter in _ALPHABET}
    mutants -= {token, ""}
    for mutant in mutants:
        with pytest.raises(BadPageToken):
            TOKENS.read(mutant, ANN, b"request")


@given(st.text(min_size=1) | st.text(_ALPHABET, min_size=1) | st.binary(min_size=1).map(in_base64))
def test_whatever_is_sent_as_a_token_is_refused_and_nothing_else_goes_wrong(sent):
    with pytest.raises(BadPageToken):
        TOKENS.read(sent, ANN, b"request")


@pytest.mark.parametrize("letter", ["n", "é", "\N{GRINNING FACE}", "\0", '"'])
def test_a_token_behind_the_longest_names_can_be_sent_back(letter):
    place = (letter * 1024, letter * 1024)
    assert TOKENS.read(TOKENS.issue(ANN, b"", place), ANN, b"") == place


@pytest.mark.parametrize(
    ("asked", "given"),
    [(0, DEFAULT_SIZE), (1, 1), (999, 999), (LARGEST_SIZE, 1000), (1001, 1000), (2**31 - 1, 1000)],
)
def test_a_page_holds_what_is_asked_for_within_bounds(asked, given):
    assert page_size(asked) == given


@pytest.mark.parametrize("asked", [-1, -(2**31)])
def test_a_negative_size_is_refused(asked):
    with pytest.raises(BadPageSize):
        page_size(asked)
