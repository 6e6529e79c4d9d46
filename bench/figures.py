"""What came out, next to its budget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import harmonic_mean

from bench.rig import Measured
from bench.stages import Stage
from bench.workload import OUTPUTS

_MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table."""

    what: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool | None:
        """None where there is no budget."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return None if self.at_least is None else self.value >= self.at_least


def figures(
    installations: int, stage: Stage, bare: Sequence[float], cold: Measured, idle: Sequence[Measured]
) -> list[Figure]:
    """`bare`: creates per second, before and after the cold sync; `idle`: passes with nothing to do."""
    return [*_cold(installations, stage, bare, cold), *_idle(installations, idle), *_resources(cold, idle)]


def _cold(installations: int, stage: Stage, bare: Sequence[float], cold: Measured) -> Iterable[Figure]:
    rate = cold.syncer.actions.get("create", 0) / cold.syncer.wall
    yield Figure(what="cold sync", value=rate, unit="creates/s")
    if bare:
        yield Figure(what="bare loop, before", value=bare[0], unit="creates/s")
        yield Figure(what="bare loop, after", value=bare[-1], unit="creates/s")
        ratio = 100 * rate / harmonic_mean(bare)
        yield Figure(what="cold sync / bare loop", value=ratio, unit="%", at_least=stage.bare_budget)
    yield Figure(what="cold sync: time", value=cold.syncer.wall, unit="s")
    yield Figure(what="cold sync: CPU", value=_per_thousand(cold.syncer.cpu, installations), unit="s/1000")
    most = installations * stage.secrets_each * stage.writes_each
    yield Figure(what="cold sync: writes", value=cold.writes, at_most=most)
    values = cold.values / installations
    yield Figure(what="cold sync: values fetched for each", value=values, at_most=len(OUTPUTS))
    yield Figure(what="cold sync: database queries", value=cold.queries, at_most=installations / 4 + 40)


def _idle(installations: int, idle: Sequence[Measured]) -> Iterable[Figure]:
    for number, one in enumerate(idle, 1):
        cpu = _per_thousand(one.syncer.cpu, installations)
        yield Figure(what=f"no-op pass {number}: CPU", value=cpu, unit="s/1000", at_most=0.3)
        yield Figure(what=f"no-op pass {number}: time", value=one.syncer.wall, unit="s")
    changed = sum(n for one in idle for action, n in one.syncer.actions.items() if action != "keep")
    yield Figure(what="no-op passes: changes planned", value=changed, at_most=0)
    yield Figure(what="no-op passes: writes", value=sum(one.writes for one in idle), at_most=0)
    yield Figure(what="no-op passes: output values fetched", value=sum(i.values for i in idle), at_most=0)
    yield Figure(what="no-op passes: secrets fetched", value=sum(i.syncer.secrets for i in idle), at_most=0)
    yield Figure(what="no-op pass: database queries", value=max(one.queries for one in idle))
    most = _per_thousand(max(one.queries for one in idle), installations)
    yield Figure(what="no-op pass: database queries per 1000", value=most)


def _resources(cold: Measured, idle: Sequence[Measured]) -> Iterable[Figure]:
    yield Figure(what="memory before any pass", value=cold.syncer.memory_before / _MEGABYTE, unit="MB")
    for what, one in (("cold sync", cold), ("no-op pass 1", idle[0]), (f"no-op pass {len(idle)}", idle[-1])):
        memory = one.syncer.memory / _MEGABYTE
        yield Figure(what=f"peak memory after {what}", value=memory, unit="MB", at_most=200)
    yield Figure(what="cold sync: most descriptors open", value=cold.syncer.descriptors)
    yield Figure(what="no-op passes: most descriptors open", value=max(i.syncer.descriptors for i in idle))
    after = [one.syncer.descriptors_after for one in idle]
    yield Figure(what="descriptors more after the last pass", value=after[-1] - after[0], at_most=0)


def table(found: Iterable[Figure]) -> str:
    """For people: what, how much, the budget, and whether it is met."""
    lines = [f"{'':42}{'measured':>12} {'':10}{'budget':>10}"]
    lines += [_line(figure) for figure in found]
    return "\n".join(line.rstrip() for line in lines)


def _line(figure: Figure) -> str:
    value = f"{figure.value:.0f}" if figure.value == int(figure.value) else f"{figure.value:.2f}"
    budget = ""
    if figure.at_most is not None:
        budget = f"<= {figure.at_most:g}"
    elif figure.at_least is not None:
        budget = f">= {figure.at_least:g}"
    verdict = {True: "met", False: "MISSED", None: ""}[figure.met]
    return f"{figure.what:42}{value:>12} {figure.unit:10}{budget:>10}  {verdict}"


def _per_thousand(amount: float, installations: int) -> float:
    return 1000 * amount / installations
