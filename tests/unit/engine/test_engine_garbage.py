"""How seldom reference cycles are looked for during a pass. Excludes how much that saves (bench)."""

from __future__ import annotations

import gc

import pytest

from syncer.engine.garbage import seldom_collected


def test_inside_cycles_are_looked_for_less_often_and_still_looked_for() -> None:
    before = gc.get_threshold()
    with seldom_collected():
        young, *older = gc.get_threshold()
        assert young > 10 * before[0] > 0
        assert all(older)
    assert gc.get_threshold() == before


def test_a_pass_that_fails_leaves_the_collector_as_it_was() -> None:
    before = gc.get_threshold()
    with pytest.raises(KeyError), seldom_collected():
        raise KeyError
    assert gc.get_threshold() == before
