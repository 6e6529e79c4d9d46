"""A prerequisite that cannot be had is told: by a skip to a person, by a failure where CI is set."""

from __future__ import annotations

import pytest

from tests.servers.cache import MissingPrerequisiteError
from tests.servers.lacking import provided


def nothing() -> object:
    raise MissingPrerequisiteError("install it")


def test_a_person_may_go_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="install it"):
        provided(nothing)


def test_ci_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="install it"):
        provided(nothing)


def test_what_is_there_is_handed_over() -> None:
    assert provided(lambda: 7) == 7
