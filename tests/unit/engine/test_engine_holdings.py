"""What is ours at one sink, as far as was seen: whose, where, and in which version."""

from __future__ import annotations

from dataclasses import replace

from backends.contract import Mark, ObservedSecret, Version
from syncer.core.model import InstallationKey
from syncer.engine.holdings import Holdings

A, B = (InstallationKey("shop", name) for name in "ab")


def mark(address: str, key: InstallationKey = A, identity: str = "1") -> Mark:
    return Mark(
        instance="test",
        source="s",
        rule="r",
        target="0",
        address=address,
        namespace=key.namespace,
        installation=key.name,
        installation_id=identity,
        run_id="run",
        result_id="result",
        revision="revision",
        content_id="content",
    )


def seen(address: str, *, foreign: str | None = None, version: str = "1") -> ObservedSecret:
    return ObservedSecret(address=address, version=Version(version), mark=mark(address), foreign=foreign)


def test_what_is_written_or_seen_belongs_to_whom_its_mark_names() -> None:
    holdings = Holdings()
    holdings.wrote(mark("x"), Version("1"))
    holdings.saw(seen("y"))
    holdings.wrote(mark("z", B, "2"), Version("3"))
    assert holdings.of([A]) == {"x", "y"}
    assert holdings.of([A, B]) == {"x", "y", "z"}
    assert holdings.installations == {A, B}
    assert holdings.ids() == {"1", "2"}
    found = holdings.at("z")
    assert found is not None
    assert (found.key, found.id, found.version) == (B, "2", Version("3"))


def test_an_address_that_goes_to_another_installation_is_no_longer_the_first_one_s() -> None:
    holdings = Holdings()
    holdings.wrote(mark("x"), Version("1"))
    holdings.wrote(mark("x", B, "2"), Version("2"))
    assert holdings.of([A]) == frozenset()
    assert holdings.installations == {B}
    assert holdings.ids() == {"2"}


def test_what_is_lost_or_turns_out_foreign_is_no_holding() -> None:
    holdings = Holdings()
    for address in "xyz":
        holdings.saw(seen(address))
    holdings.lost("x")
    holdings.lost("never there")
    holdings.saw(seen("y", foreign="no mark"))
    holdings.saw(replace(seen("z"), mark=None))
    assert holdings.at("x") is None
    assert holdings.installations == frozenset()
    assert holdings.ids() == frozenset()


def test_a_complete_list_drops_what_it_lacks_and_keeps_what_was_written_since_it_began() -> None:
    holdings = Holdings()
    for address in ("kept", "gone"):
        holdings.saw(seen(address))
    since = holdings.order
    holdings.wrote(mark("fresh"), Version("9"))
    holdings.only({"kept"}, since=since)
    assert holdings.of([A]) == {"kept", "fresh"}


def test_a_list_is_older_than_what_was_seen_or_written_since_it_began() -> None:
    holdings = Holdings()
    holdings.wrote(mark("old"), Version("1"))
    since = holdings.order
    holdings.wrote(mark("fresh"), Version("5"))
    for address in ("old", "fresh", "new"):
        holdings.listed(seen(address, version="4"), since=since)
    versions = {address: holdings.at(address) for address in ("old", "fresh", "new")}
    assert {address: one and one.version.token for address, one in versions.items()} == {
        "old": "4",
        "fresh": "5",
        "new": "4",
    }


def test_whoever_listens_hears_of_every_mark() -> None:
    told: list[Mark] = []
    holdings = Holdings(told.append)
    holdings.wrote(mark("x"), Version("1"))
    holdings.saw(seen("y"))
    holdings.saw(seen("z", foreign="no mark"))
    assert [one.address for one in told] == ["x", "y"]


def test_what_is_seen_again_keeps_its_objects_and_gets_its_new_version() -> None:
    """Else every list would scatter thousands of new ones over the memory."""
    holdings = Holdings()
    holdings.wrote(mark("x"), Version("1"))
    before = holdings.at("x")
    holdings.saw(seen("x", version="2"))
    after = holdings.at("x")
    assert before is not None
    assert after is not None
    assert after.key is before.key
    assert (after.version, holdings.of([A])) == (Version("2"), {"x"})


def test_a_new_life_at_the_same_address_replaces_the_old_one() -> None:
    holdings = Holdings()
    holdings.wrote(mark("x"), Version("1"))
    holdings.wrote(mark("x", identity="2"), Version("2"))
    assert holdings.ids() == {"2"}
    assert holdings.of([A]) == {"x"}
