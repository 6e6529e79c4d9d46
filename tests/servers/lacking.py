"""What becomes of a test whose server or program cannot be had: skipped with the reason, or failed where CI is set."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn, TypeVar

import pytest

from tests.servers.cache import MissingPrerequisiteError

T = TypeVar("T")


def provided(make: Callable[[], T]) -> T:
    """What `make` makes; ends the test where that raises MissingPrerequisiteError."""
    try:
        return make()
    except MissingPrerequisiteError as error:
        give_up(str(error))


def give_up(missing: str) -> NoReturn:
    """Ends the test, with what is missing."""
    if os.environ.get("CI"):  # noqa: TID251 - the rig has no configuration of its own
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)
