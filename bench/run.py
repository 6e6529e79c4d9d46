"""`python -m bench.run latency|resources|idle|isolation`: what `syncer run` costs, how soon changes come.

The process is the product's, the servers are those of the tests, all on one machine. Figures go to stdout
as a table. `--quick` is for continuous integration: the same at a small size.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Protocol

from bench.figures import Figure, table
from bench.run_idle import idle
from bench.run_latency import isolation, latency, resources


class _Bench(Protocol):
    def __call__(self, *, quick: bool) -> Sequence[Figure]: ...


_BENCHES: Mapping[str, _Bench] = {
    "latency": latency,
    "resources": resources,
    "idle": idle,
    "isolation": isolation,
}


def main(arguments: Sequence[str]) -> int:
    """Prints the table; 1 where a count that does not depend on the machine is over its budget."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("what", choices=[*_BENCHES])
    parser.add_argument("--quick", action="store_true", help="a small size: about a minute")
    parsed = parser.parse_args(arguments)
    found = _BENCHES[parsed.what](quick=parsed.quick)
    print(table(found))
    return 1 if any(one.met is False for one in found if one.what.endswith("writes")) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
