"""The whole controller in random worlds: whatever happens, no invariant of safety.md breaks.

Simulates what `sim_source`, `sim_sink` and `sim_world` name, in virtual time. Excludes real servers
(tests/functional) and documents of Porter (tests/unit/sources). `SIMULATED_SCHEDULES=100000` in the
environment tries so many instead of a few (about 15 in a second on one core):

    SIMULATED_SCHEDULES=100000 pytest -o timeout=0 tests/unit/engine/simulation/test_simulation.py
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from sim_schedule import Step, schedules, violations

SCHEDULES = int(os.environ.get("SIMULATED_SCHEDULES", "150"))  # noqa: TID251  # how long, not what


@settings(max_examples=SCHEDULES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(schedules())
def test_no_schedule_breaks_an_invariant(schedule: Sequence[Step]) -> None:
    assert violations(schedule) == []
