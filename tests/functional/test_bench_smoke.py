"""The benchmark runs from end to end at a tiny size, and says what it found. Excludes the figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def lines_of(output: str) -> dict[str, str]:
    return {line[:42].strip(): line[42:].strip() for line in output.splitlines()}


@pytest.mark.usefixtures("kube_cluster", "mongo_server")  # for what they build, and skip where they cannot
@pytest.mark.parametrize(("sink", "writes"), [("kubernetes", 20), ("vault", 60), ("azure-keyvault", 100)])
def test_a_tiny_benchmark_prints_its_table(sink: str, writes: int) -> None:
    command = [sys.executable, "-m", "bench", "--installations", "20", "--runs", "2", "--sink", sink]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    printed = lines_of(ran.stdout)
    assert printed["cold sync: writes"].startswith(f"{writes} ")
    for nothing in ("changes planned", "writes", "output values fetched", "secrets fetched"):
        assert printed[f"no-op passes: {nothing}"].startswith("0 ")
    assert float(printed["cold sync"].split()[0]) > 0
    assert "20 installations with 2 runs each" in ran.stderr
