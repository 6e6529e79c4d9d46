"""`python -m bench`, from the root of the repository: measures, and prints a table on stdout.

The servers are those of the tests (`tests/servers`), on the same machine: compare ratios and counts,
not seconds. 10,000 installations take about five minutes and 9 GB of memory. With `--sink azure-keyvault`
the service's own limits set the pace (24 secrets a second, 5 to an installation): take a few hundred.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bench.figures import Figure, figures, table
from bench.rig import Measured, Rig, running, say
from bench.stages import STAGES
from bench.workload import Workload

_QUICK = 500
_MOST_BARE = 4000
_IDLE_PASSES = 3


def main(arguments: Sequence[str]) -> int:
    """Prints the table; 1 where the syncer did not do its work, so that nothing was measured."""
    parsed = _parser().parse_args(arguments)
    installations = _QUICK if parsed.quick else parsed.installations
    workload = Workload(installations=installations, runs=parsed.runs)
    say(f"{installations} installations with {parsed.runs} runs each")
    with running(workload, parsed.sink) as rig:
        bare, cold, idle = _measure(rig, installations)
        facts, stage = rig.stage.facts(), rig.stage
    problems = _problems(installations * stage.secrets_each, cold, idle)
    for problem in problems:
        say(problem)
    found: Sequence[Figure] = figures(installations, stage, bare, cold, idle)
    print(table([*found, *(Figure(what=name, value=value) for name, value in facts.items())]))
    return 1 if problems else 0


def _measure(rig: Rig, installations: int) -> tuple[list[float], Measured, list[Measured]]:
    count = max(1, min(installations, _MOST_BARE) // 2)
    bare = [_bare(rig, count, "before")]
    say("cold sync ...")
    with rig.syncer() as syncer:
        cold = syncer.run()
    bare.append(_bare(rig, count, "after"))
    say(f"no-op pass, {_IDLE_PASSES} times ...")
    with rig.syncer() as syncer:
        idle = [syncer.run() for _ in range(_IDLE_PASSES)]
    return [rate for rate in bare if rate is not None], cold, idle


def _bare(rig: Rig, count: int, prefix: str) -> float | None:
    if rig.stage.bare_budget is not None:
        say(f"bare loop, {count} creates ...")
    return rig.stage.bare(count, prefix)


def _problems(secrets: int, cold: Measured, idle: Sequence[Measured]) -> list[str]:
    problems = [problem for one in (cold, *idle) for problem in one.syncer.problems]
    if cold.syncer.actions != {"create": secrets}:
        problems.append(f"the cold sync should create {secrets}: {cold.syncer.actions}")
    if any(one.syncer.actions != {"keep": secrets} for one in idle):
        problems.append(f"a no-op pass should keep {secrets}: {[i.syncer.actions for i in idle]}")
    return problems


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--installations", type=int, default=10_000, metavar="N", help="how many (10000)")
    size.add_argument("--quick", action="store_true", help=f"{_QUICK} installations: half a minute")
    parser.add_argument("--sink", choices=[*STAGES], default="kubernetes", help="where to (kubernetes)")
    parser.add_argument("--runs", type=int, default=10, metavar="N", help="of each installation (10)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
