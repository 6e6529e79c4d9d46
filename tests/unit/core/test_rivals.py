"""Two that want one address: the one marked there keeps it, every newcomer is held, in any order.

Left out: two outputs of one installation that meet (test_mapping).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from core_world import mark, observed, output_set, policy, rule, target, unmappable

from syncer.core.changes import Hold
from syncer.core.mapping import Mapped, map_target
from syncer.core.model import FromOutput, InstallationKey
from syncer.core.planning import rivals_held

CONTENTS = {"host": b"db.internal"}
THERE = observed(mark())
FOREIGN = observed(None, foreign="no mark")


def claim(installation: str, *, namespace: str = "shop", **changes) -> Mapped:
    outputs = output_set(CONTENTS, key=InstallationKey(namespace, installation))
    aim = target(parts=("{namespace}", "same"))
    (mapped,) = map_target(outputs, rule(aim, **changes), aim, policy(namespaces={"platform": "shop"}))
    return mapped


def held_subjects(held: list[Hold]) -> list[tuple[InstallationKey, str]]:
    return [(one.subject.key, one.subject.rule) for one in held]


@pytest.mark.bad_input(18)
@pytest.mark.parametrize("there", [None, FOREIGN, replace(THERE, foreign="x"), THERE])
def test_two_newcomers_to_one_address_are_both_held_and_named(there):
    holder, held = rivals_held([claim("a-b"), claim("A_b")], there)
    assert holder is None
    assert held_subjects(held) == [
        (InstallationKey("shop", "A_b"), "default"),
        (InstallationKey("shop", "a-b"), "default"),
    ]
    assert all("shop/A_b (rule 'default'), shop/a-b (rule 'default')" in one.reason for one in held)


@pytest.mark.bad_input(18)
@pytest.mark.bad_input(31)
def test_the_installation_marked_at_an_address_keeps_it_and_newcomers_are_held():
    owner, newcomer = claim("orders"), claim("Orders")
    holder, held = rivals_held([newcomer, owner], THERE)
    assert holder is owner
    assert held_subjects(held) == [(InstallationKey("shop", "Orders"), "default")]


def test_two_rules_on_one_address_collide_and_the_marked_one_keeps_it():
    owner, other = claim("orders"), claim("orders", name="second")
    assert rivals_held([owner, other], None)[0] is None
    assert rivals_held([other, owner], THERE)[0] is owner


def test_a_namespace_mapped_on_to_anothers_collides_with_it():
    first, second = claim("orders"), claim("orders", namespace="platform")
    assert first.address == second.address
    assert rivals_held([first, second], None)[0] is None


def test_claims_that_cannot_be_told_apart_are_all_held():
    assert rivals_held([claim("orders"), claim("orders")], THERE)[0] is None


def test_a_marked_target_that_is_held_itself_keeps_its_address_all_the_same():
    aim = target(keys={"A": FromOutput("gone")})
    blocked = unmappable(output_set(CONTENTS), aim)
    assert rivals_held([claim("Orders"), blocked], THERE)[0] is blocked


CLAIMS = [claim("orders"), claim("Orders"), claim("orders", name="second"), claim("x")]


@pytest.mark.parametrize("there", [None, FOREIGN, THERE])
def test_who_keeps_an_address_does_not_depend_on_the_order(there):
    answers = [rivals_held(order, there) for order in permutations(CLAIMS)]
    assert all(answer == answers[0] for answer in answers)
