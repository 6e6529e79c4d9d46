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


@pytest.mark.usefixtures("kube_cluster", "mongo_server")
@pytest.mark.parametrize("what", ["latency", "resources", "isolation"])
@pytest.mark.timeout(400)
def test_changes_arrive_in_the_benches_of_the_controller(what: str) -> None:
    """At a small size, on a machine that does other things as well: that all of them arrive, not how soon."""
    printed = run_controller_bench(what)
    counts = [value for line, value in printed.items() if line.endswith(("runs", "runs each"))]
    assert counts, printed
    assert set(counts) == {"20"}, printed


@pytest.mark.usefixtures("kube_cluster", "mongo_server")
@pytest.mark.timeout(600)
def test_a_controller_with_nothing_to_do_writes_nothing_and_grows_nowhere() -> None:
    printed = run_controller_bench("idle")
    assert printed["installations"] == "500"
    for what in ("quiet polls and sweeps: writes", "memory, the most", "descriptors more after all of it"):
        assert printed[what].endswith("met"), printed
    assert float(printed["memory more after the last sweep"].split()[0]) < 5, printed


def run_controller_bench(what: str) -> dict[str, str]:
    command = [sys.executable, "-m", "bench.run", what, "--quick"]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return lines_of(ran.stdout)
