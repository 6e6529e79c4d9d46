"""`python -m bench.api`: what the Outputs API costs, beside the same queries made bare on the database.

The product's process serves, callers are another process, the database is that of the tests; all of them
share one machine, so compare ratios, CPU for each request and counts of queries, not seconds. For a page of
all installations the database looks at every one of them, where MongoDB follows an index, so that such ratios
are too good; those of one namespace, which it has an index for, are not. Nobody is asked for rights
(`access: {kind: loopback}`). 10,000 installations take about eight minutes and 4 GB of memory.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.api_load import Load
from bench.api_rig import Endpoint, Rig, put, running
from bench.rig import say
from bench.run_idle import Look
from bench.run_latency import percentile
from bench.workload import Workload

_QUERIES = {
    "page": "installations, a page of 100",
    "walk": "installations, all, pages of 1000",
    "namespace": "a namespace's installations, 100",
    "outputs": "latest outputs",
}
_HEAD = (
    f"{'':40}{'clients':>8}{'requests/s':>12}{'of bare':>9}{'p50':>9}{'p99':>9}{'queries':>9}{'CPU':>9}",
    f"{'':40}{'':8}{'':12}{'%':>9}{'ms':>9}{'ms':>9}{'each':>9}{'ms each':>9}",
)
_MILLI = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is asked."""

    installations: int = 10_000
    runs: int = 3
    clients: tuple[int, ...] = (1, 8, 32)
    """So many at a time."""
    rounds: int = 2
    """Every place has its turn in each, so that what else the machine does falls on all of them."""
    seconds: float = 2.0
    """Of each turn."""
    warm_up: float = 0.5
    """Seconds before each turn, which do not count."""


_QUICK = Size(installations=200, runs=2, clients=(8,), rounds=1, seconds=0.3, warm_up=0.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """What one kind of request took in one place."""

    latencies: tuple[float, ...]
    """Seconds, shortest first."""
    seconds: float
    """In which those were measured."""
    requests: int
    """All of them, also those that do not count."""
    queries: int
    """Of the database, for all of them."""
    cpu: float | None
    """Seconds of the server's, for all of them."""

    @property
    def rate(self) -> float:
        """Requests in a second."""
        return len(self.latencies) / self.seconds

    def __add__(self, other: Took) -> Took:
        return Took(
            latencies=tuple(sorted(self.latencies + other.latencies)),
            seconds=self.seconds + other.seconds,
            requests=self.requests + other.requests,
            queries=self.queries + other.queries,
            cpu=None if self.cpu is None or other.cpu is None else self.cpu + other.cpu,
        )


def main(arguments: Sequence[str]) -> int:
    """Prints the table; an answer that is not the whole one ends it with an error."""
    size = _size(arguments)
    say(f"{size.installations} installations with {size.runs} runs each")
    with running(Workload(installations=size.installations, runs=size.runs)) as rig:
        places = {"bare": rig.bare, "plain text": rig.plain, "TLS": rig.tls}
        before = _looks(places)
        print(*_HEAD, sep="\n")
        for query, what in _QUERIES.items():
            for clients in size.clients:
                say(f"{what}, {clients} at a time ...")
                took = _measured(rig, places, _load(query, clients, size), size.rounds)
                print(*_lines(what, clients, took), sep="\n", flush=True)
        print(*_memory(before, _looks(places)), sep="\n")
    return 0


def _load(query: str, clients: int, size: Size) -> Load:
    return Load(
        query=query,
        clients=clients,
        seconds=size.seconds,
        warm_up=size.warm_up,
        installations=size.installations,
        url="",
    )


def _measured(rig: Rig, places: Mapping[str, Endpoint], load: Load, rounds: int) -> Mapping[str, Took]:
    took: dict[str, Took] = {}
    for _ in range(rounds):
        for name, place in places.items():
            one = _turn(rig, place, load)
            took[name] = took[name] + one if name in took else one
    return took


def _turn(rig: Rig, place: Endpoint, load: Load) -> Took:
    rig.queries()
    before = place.look()
    found = put(replace(load, url=place.url, ca_file=place.ca_file))
    after = place.look()
    return Took(
        latencies=tuple(sorted(found.latencies)),
        seconds=found.seconds,
        requests=found.requests,
        queries=rig.queries(),
        cpu=after.cpu - before.cpu if before and after else None,
    )


def _lines(what: str, clients: int, took: Mapping[str, Took]) -> Iterator[str]:
    """The bare one first, the others as percentages of it."""
    for name, one in took.items():
        label = f"{what}: {name}" if name == "bare" else f"  {name}"
        p50, p99 = (_MILLI * percentile(one.latencies, percent) for percent in (50, 99))
        ratio, queries = 100 * one.rate / took["bare"].rate, one.queries / one.requests
        cpu = "" if one.cpu is None else f"{_MILLI * one.cpu / one.requests:9.2f}"
        yield f"{label:44}{clients:4}{one.rate:12.1f}{ratio:9.1f}{p50:9.2f}{p99:9.2f}{queries:9.2f}{cpu}"


def _looks(places: Mapping[str, Endpoint]) -> Mapping[str, Look]:
    return {name: look for name, place in places.items() if (look := place.look()) is not None}


def _memory(before: Mapping[str, Look], after: Mapping[str, Look]) -> Iterator[str]:
    for name, look in before.items():
        yield f"memory, {name}: {look.memory:.0f} MB at first, {after[name].memory:.0f} MB after all of it"


def _size(arguments: Sequence[str]) -> Size:
    usual = Size()
    parser = argparse.ArgumentParser(prog="python -m bench.api", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny: whether it works, not how fast")
    for name in ("installations", "runs", "rounds"):
        value = getattr(usual, name)
        parser.add_argument(f"--{name}", type=int, default=value, metavar="N", help=f"({value})")
    parsed = vars(parser.parse_args(arguments))
    return _QUICK if parsed.pop("quick") else replace(usual, **parsed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
