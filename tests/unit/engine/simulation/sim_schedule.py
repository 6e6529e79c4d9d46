"""What may happen in the simulated world: steps, schedules made of them, and the run of a schedule."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence

from hypothesis import strategies as st
from sim_audit import CALM, KEYS, POLL, RESYNC
from sim_sink import Hand, Mood
from sim_source import Reads
from sim_world import World, addresses, wall_clock

from tests.unit.engine.virtual_time import run_virtual

Step = tuple[object, ...]
"""The name of a method of `Steps`, and its arguments."""

SINKS = ("all", "each")
OUTPUTS = ("host", "password", "empty")
_NAMES = st.sets(st.sampled_from(OUTPUTS), min_size=1).map(lambda names: tuple(sorted(names)))
_KEYS = st.sampled_from(range(len(KEYS)))
_SINKS = st.sampled_from(SINKS)
_PLACES = st.sampled_from([(sink, address) for sink in SINKS for address in addresses(sink)])


def _changes() -> st.SearchStrategy[Step]:
    """What the controller has to follow."""
    lags = st.sampled_from([0.0, 0.0, 0.7, 20.0, 10_000.0])
    actions = st.sampled_from(["install", "upgrade", "upgrade", "ping"])
    runs = st.tuples(st.just("run"), _KEYS, actions, _NAMES, _NAMES, lags)
    ends = st.tuples(st.sampled_from(["remove", "remove", "uninstall", "fail"]), _KEYS)
    hands = st.tuples(st.just("hand"), _PLACES, st.sampled_from(Hand))
    database = st.sampled_from([("back_up",), ("restore",)])
    return st.one_of(runs, runs, ends, ends, hands, database)


def _troubles() -> st.SearchStrategy[Step]:
    """What keeps it from that."""
    return st.one_of(
        st.tuples(st.just("read"), st.sampled_from(Reads)),
        st.tuples(st.just("mood"), _SINKS, st.sampled_from(Mood)),
        st.tuples(st.just("mood"), _SINKS, st.sampled_from(Mood)),
        st.tuples(st.sampled_from(["forbid", "poison"]), _PLACES),
        st.tuples(st.just("kill"), st.sampled_from([0, 1])),
        st.tuples(st.just("lead"), st.sampled_from([0, 1, None])),
        st.tuples(st.just("gap"), _SINKS),
        st.just(("deaf",)),
    )


def _episodes() -> st.SearchStrategy[Sequence[Step]]:
    """Troubles begin, things change in them, and it lasts for a while; now and then all is well again."""
    short = st.tuples(st.just("wait"), st.sampled_from([0.0, 0.1, 0.3, 1.1, 2.2]))
    long = st.tuples(st.just("wait"), st.sampled_from([1.0, 5.0, 11.0, 26.0, 70.0]))
    return st.builds(
        lambda troubles, changes, pause, relief: [
            *troubles,
            *(one for two in changes for one in two),
            pause,
            *relief,
        ],
        st.lists(_troubles(), max_size=2),
        st.lists(st.tuples(st.one_of(_changes(), _changes(), _troubles()), short), max_size=4),
        long,
        st.sampled_from([(), (("relief",),)]),
    )


def schedules(most: int = 8) -> st.SearchStrategy[Sequence[Step]]:
    """Begins with some installations, so that there is something to lose."""
    beginning = [("run", number, "install", OUTPUTS[:2], (), 0.0) for number in range(4)]
    return st.lists(_episodes(), max_size=most).map(
        lambda episodes: [*beginning, ("wait", 3.0), *(step for episode in episodes for step in episode)]
    )


class Steps:
    """Does what a schedule says to a world."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def do(self, step: Step) -> None:
        name, *arguments = step
        outcome = getattr(self, str(name))(*arguments)
        if outcome is not None:
            await outcome

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def run(self, key: int, action: str, names: Iterable[str], declares: Iterable[str], lag: float) -> None:
        self._world.porter.run(KEYS[key], action, tuple(names), tuple(declares), lag)

    def uninstall(self, key: int) -> None:
        if KEYS[key] in self._world.porter.database.records:
            self._world.porter.run(KEYS[key], "uninstall", (), (), 0.0)

    def remove(self, key: int) -> None:
        self._world.porter.remove(KEYS[key])

    def fail(self, key: int) -> None:
        self._world.porter.fail(KEYS[key])

    def back_up(self) -> None:
        self._world.porter.back_up()

    def restore(self) -> None:
        self._world.porter.restore()

    def read(self, reads: Reads) -> None:
        self._world.server.reads = reads

    def deaf(self) -> None:
        self._world.server.tells = False

    def mood(self, sink: str, mood: Mood) -> None:
        self._world.sinks[sink].turn(mood)

    def gap(self, sink: str) -> None:
        self._world.sinks[sink].gap()

    def hand(self, place: tuple[str, str], hand: Hand) -> None:
        sink, address = place
        self._world.sinks[sink].touch(hand, address)

    def forbid(self, place: tuple[str, str]) -> None:
        sink, address = place
        self._world.sinks[sink].forbidden.add(address)

    def poison(self, place: tuple[str, str]) -> None:
        sink, address = place
        self._world.sinks[sink].poisoned.add(address)

    def relief(self) -> None:
        self._world.calm_down()

    def kill(self, number: int) -> None:
        self._world.kill(number)

    def lead(self, number: int | None) -> None:
        self._world.lead(number)


def violations(schedule: Sequence[Step]) -> list[str]:
    """What goes wrong when this happens, and then nothing more."""
    random.seed(0)
    return run_virtual(_violations(schedule))


async def _violations(schedule: Sequence[Step]) -> list[str]:
    async with World(*SINKS, processes=2) as world:
        with wall_clock(world.clock):
            steps = Steps(world)
            for step in schedule:
                await steps.do(step)
            world.calm_down()
            await asyncio.sleep(CALM)
            await world.converged()
            await world.quiet(max(100 * POLL, 3.3 * RESYNC))
        return world.audit.violations
