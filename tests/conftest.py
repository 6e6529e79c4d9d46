"""What every test gets: the real servers, readable failures of the contract suite, and time to search."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says something about the machine: bench/ measures, tests do not.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

pytest.register_assert_rewrite("backends.testing.suite", "backends.testing.rig")

pytest_plugins = ["tests.servers.plugin"]
