"""What every test gets: the real servers, and readable failures of the contract suite."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("backends.testing.suite", "backends.testing.rig")

pytest_plugins = ["tests.servers.plugin"]
