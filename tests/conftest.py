"""What every test gets: the real servers, readable failures of the contract suite, time to search, and to close."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, settings

from tests.servers.connections import all_closed

# How long an example takes says something about the machine: bench/ measures, tests do not.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

pytest.register_assert_rewrite("backends.testing.suite", "backends.testing.rig")

pytest_plugins = ["tests.servers.plugin"]


@pytest.fixture(autouse=True)
async def closed_connections() -> AsyncIterator[None]:
    """A TLS connection that was given up is closed a moment later: the test's loop has to live that long."""
    yield
    await all_closed()
