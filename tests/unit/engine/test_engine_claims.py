"""Who wants which address: what is learnt at each look, and who waits for what was given up."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from backends.contract import Layout
from backends.memory import CAPABILITIES, MemoryNaming
from syncer.core.mapping import Mapped, Unmappable
from syncer.core.model import Address, InstallationKey, OutputSet, Rule, Target
from syncer.engine.claims import Claims

A, B, C = (InstallationKey("shop", name) for name in "abc")


def claim(key: InstallationKey, path: str | None) -> Mapped:
    target = Target(
        sink="s",
        id="0",
        parts=(),
        layout=Layout.BUNDLE,
        naming=MemoryNaming(),
        capabilities=CAPABILITIES,
    )
    return Unmappable(
        address=None if path is None else Address("s", path),
        rule=Rule(name="r", targets=(target,)),
        target=target,
        outputs=OutputSet(key=key, id="1", run_id="", result_id="", action="", outputs={}),
        reason="",
    )


def learn(claims: Claims, key: InstallationKey, *paths: str) -> frozenset[InstallationKey]:
    return claims.learn(claims.begin(), [key], [claim(key, path) for path in paths])


def test_who_wants_an_address_as_the_sink_compares_them_is_a_rival() -> None:
    claims = Claims(str.lower)
    learn(claims, A, "Shop/DB", "mine")
    learn(claims, B, "shop/db")
    learn(claims, C, "elsewhere")
    assert claims.rivals([A]) == {B}
    assert claims.rivals([A, B]) == frozenset()
    assert claims.rivals([C]) == frozenset()
    assert claims.wants("SHOP/db")
    assert not claims.wants("shop/other")
    assert claims.known() == {A, B, C}


def test_who_waits_for_an_address_that_is_given_up_is_told() -> None:
    claims = Claims(str)
    learn(claims, A, "x", "y")
    learn(claims, B, "x")
    assert learn(claims, A, "y") == {B}
    assert learn(claims, A) == frozenset()
    assert claims.known() == {B}
    assert not claims.wants("y")


def test_who_is_looked_at_anyway_does_not_wait() -> None:
    claims = Claims(str)
    learn(claims, A, "x")
    learn(claims, B, "x")
    assert claims.learn(claims.begin(), [A, B], [claim(B, "x")]) == frozenset()
    assert claims.rivals([A]) == frozenset()


def test_an_older_look_does_not_undo_what_a_later_one_said() -> None:
    claims = Claims(str)
    older = claims.begin()
    learn(claims, A, "new")
    assert claims.learn(older, [A, B], [claim(A, "old"), claim(B, "other")]) == frozenset()
    assert claims.wants("new")
    assert not claims.wants("old")
    assert claims.wants("other")


def test_what_has_no_address_or_was_not_asked_for_is_left_out() -> None:
    claims = Claims(str)
    claims.learn(claims.begin(), [A], [claim(A, None), claim(B, "x")])
    assert claims.known() == frozenset()
    assert not claims.wants("x")


@given(st.lists(st.tuples(st.sampled_from([A, B, C]), st.sets(st.sampled_from("xyz"))), max_size=12))
def test_after_any_looks_it_knows_the_last_of_each(looks: Iterable[tuple[InstallationKey, set[str]]]) -> None:
    claims = Claims(str)
    wanted: dict[InstallationKey, set[str]] = {}
    for key, paths in looks:
        lost = wanted.get(key, set()) - paths
        waiting = {other for other, theirs in wanted.items() if other != key and theirs & lost}
        assert learn(claims, key, *paths) == waiting
        wanted[key] = paths
    assert claims.known() == {key for key, paths in wanted.items() if paths}
    for path in "xyz":
        assert claims.wants(path) == any(path in paths for paths in wanted.values())
    for key, mine in wanted.items():
        rivals = {other for other, theirs in wanted.items() if other != key and theirs & mine}
        assert claims.rivals([key]) == rivals
