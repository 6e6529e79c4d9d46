"""The benchmark of the API runs from end to end at a tiny size, and says what it found. Excludes the figures.

The servers are a real `syncer api`, with TLS and without, over the database of the tests; the callers make sure
themselves that every answer is the whole one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.usefixtures("mongo_server")  # for what it builds, and skips where it cannot
@pytest.mark.timeout(400)
def test_a_tiny_benchmark_of_the_api_asks_everything_everywhere() -> None:
    command = [sys.executable, "-m", "bench.api", "--quick"]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    lines = [line.split() for line in ran.stdout.splitlines()[2:]]
    measured = [line for line in lines if line[0] != "memory,"]
    places = [next(word for word in line if word in {"bare", "plain", "TLS"}) for line in measured]
    assert places == ["bare", "plain", "TLS"] * 4, ran.stdout
    # From behind: requests a second, percent of bare, p50, p99, queries; and CPU, which the bare ones do not have.
    counted = [
        line[-5:] if place == "bare" else line[-6:-1] for line, place in zip(measured, places, strict=True)
    ]
    assert all(float(figure) > 0 for figures in counted for figure in figures), ran.stdout
    assert counted[-3][-1] == "4.00", "an ideal reader of outputs asks four times"
    assert [line[1].rstrip(":") for line in lines if line[0] == "memory,"] == ["plain", "TLS"]
