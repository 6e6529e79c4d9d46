"""Election by a lease: who leads, from when to when, whatever server, network and processes do.

In virtual time, against a lease in memory whose requests and answers get lost, hang or come late. Excludes
how Kubernetes keeps a lease (tests/contract/test_kubernetes_lease.py).
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lease_world import Fault, Lock, Process, Server, Way, with_processes
from virtual_time import run_virtual

from backends.errors import Forbidden, SinkUnavailable
from syncer.engine.lease import LeaseElection, LeaseTimes

EPOCH = datetime(2026, 11, 24, tzinfo=UTC)


def contender(
    server: Server,
    identity: str = "us",
    *,
    times: LeaseTimes | None = None,
    clock: Callable[[], float] | None = None,
    chance: float = 0.5,
) -> LeaseElection:
    """By the loop's clock, at 15 s, 10 s and 2 s; wall clocks begin at EPOCH."""
    time = asyncio.get_running_loop().time
    return LeaseElection(
        Lock(server),
        identity,
        times=times,
        clock=clock or ahead_by,
        now=lambda: EPOCH + timedelta(seconds=time()),
        chance=lambda: chance,
    )


def now() -> float:
    return asyncio.get_running_loop().time()


def ahead_by(seconds: float = 0.0) -> float:
    """A clock with coarse, exact ticks: virtual time does not pass during what a loop rounds to nothing."""
    return math.floor((now() + seconds) * 2**20 + 0.5) / 2**20


def at(seconds: float) -> str:
    moment = EPOCH + timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond:06d}Z"


# --- getting it


def test_who_finds_no_lease_makes_one_and_leads() -> None:
    async def story() -> None:
        server = Server()
        us = contender(server)
        assert (us.holds(), us.holder) == (False, "")
        await us.acquire()
        assert (us.holds(), us.holder, us.reason) == (True, "us", "")
        record = server.record
        assert record is not None
        assert (record.holder, record.seconds, record.transitions) == ("us", 15, 0)
        assert (record.acquired, record.renewed) == (at(0), "2026-11-24T00:00:00.000000Z")
        await us.release()

    run_virtual(story())


def test_a_lease_that_nobody_renews_is_taken_when_it_did_not_change_for_its_whole_duration() -> None:
    async def story() -> None:
        server = Server()
        # NB: a time long past, of a machine whose clock is wrong: it is not looked at.
        server.write(holder="them", seconds=20, renewed="1970-01-01T00:00:00.000000Z", transitions=4)
        us = contender(server)
        getting = asyncio.create_task(us.acquire())
        await asyncio.sleep(19.9)
        assert (us.holds(), us.holder, us.reason) == (False, "them", "them leads")
        server.write(renewed="1970-01-01T00:00:01.000000Z")
        renewed = now()
        await getting
        assert renewed + 20 <= now() <= renewed + 20 + 2 * 2.4
        assert (us.holds(), us.holder) == (True, "us")
        assert server.record is not None
        assert (server.record.transitions, server.record.acquired) == (5, at(now()))
        await us.release()

    run_virtual(story())


def test_a_lease_that_does_not_say_for_how_long_holds_for_as_long_as_ours() -> None:
    async def story() -> None:
        server = Server()
        server.write(holder="them", seconds=0)
        us = contender(server)
        await us.acquire()
        assert 15 <= now() <= 15 + 2.4
        await us.release()

    run_virtual(story())


def test_a_lease_that_was_given_up_is_taken_at_once() -> None:
    async def story() -> None:
        server = Server()
        server.write(holder="", seconds=1, transitions=4)
        us = contender(server)
        await us.acquire()
        assert now() == 0
        assert server.record is not None
        assert server.record.transitions == 5
        await us.release()

    run_virtual(story())


def test_a_lease_that_somebody_else_takes_between_look_and_write_is_theirs() -> None:
    async def story() -> None:
        server = Server(itertools.chain([Way(), Way(there=1)]))
        us = contender(server)
        getting = asyncio.create_task(us.acquire())
        await asyncio.sleep(0.5)
        server.write(holder="them")
        await asyncio.sleep(5)
        assert (us.holds(), us.holder) == (False, "them")
        getting.cancel()

    run_virtual(story())


def test_a_lease_that_we_got_without_an_answer_is_found_to_be_ours() -> None:
    async def story() -> None:
        server = Server(iter([Way(), Way(Fault.UNANSWERED)]))
        us = contender(server)
        await us.acquire()
        assert 2 <= now() <= 2.4
        assert server.record is not None
        assert (server.record.transitions, server.record.acquired) == (0, at(0))
        await us.release()

    run_virtual(story())


def test_what_keeps_us_from_leading_is_told_and_tried_again() -> None:
    async def story() -> None:
        server = Server()
        us = contender(server)
        getting = asyncio.create_task(us.acquire())
        server.failure = Forbidden("the right to get leases is missing")
        await asyncio.sleep(3)
        assert us.reason == "the right to get leases is missing"
        server.failure, server.way = None, Way(Fault.HANGS)
        await asyncio.sleep(12)
        assert us.reason == "the lease: there was no answer in time"
        server.way = None
        await getting
        assert us.reason == ""
        await us.release()

    run_virtual(story())


# --- keeping it


def test_a_leader_renews_and_says_since_when_it_leads() -> None:
    async def story() -> None:
        server = Server()
        us = contender(server)
        await us.acquire()
        await asyncio.sleep(100)
        assert us.holds()
        record = server.record
        assert record is not None
        assert (record.acquired, record.transitions) == (at(0), 0)
        assert record.renewed >= at(100 - 2.4)
        assert 100 / 2.4 <= server.requests / 2 - 1 <= 100 / 2
        await us.release()

    run_virtual(story())


@pytest.mark.parametrize("way", [Way(Fault.HANGS), Way(Fault.LOST), Way(Fault.UNANSWERED), Way(there=6)])
def test_a_leader_whose_renewals_fail_stops_at_the_deadline_and_not_before(way) -> None:
    async def story() -> None:
        server = Server()
        us = contender(server)
        await us.acquire()
        await asyncio.sleep(0.5)
        server.way = way
        losing = asyncio.create_task(us.lost())
        await asyncio.sleep(9.4)
        assert (us.holds(), losing.done(), us.holder) == (True, False, "us")
        await losing
        assert now() == pytest.approx(10)
        assert (us.holds(), us.holder) == (False, "")
        assert us.reason

    run_virtual(story())


def test_a_renewal_counts_from_when_it_was_sent() -> None:
    async def story() -> None:
        server = Server(iter([Way(), Way(back=3)]))
        us = contender(server)
        await us.acquire()
        assert now() == 3
        server.way = Way(Fault.HANGS)
        await us.lost()
        assert now() == pytest.approx(10)

    run_virtual(story())


def test_after_the_process_was_stopped_no_write_may_leave_before_another_renewal() -> None:
    async def story() -> None:
        server, slept = Server(), 0.0
        us = contender(server, clock=lambda: ahead_by(slept))
        await us.acquire()
        slept = 9.9
        assert us.holds()
        slept = 10.0
        assert not us.holds()
        await us.lost()
        assert not us.holds()
        await us.acquire()
        assert us.holds()
        await us.release()

    run_virtual(story())


def test_an_answer_that_comes_after_the_deadline_makes_no_leader() -> None:
    async def story() -> None:
        server, slept = Server(), 0.0
        us = contender(server, clock=lambda: ahead_by(slept))
        await us.acquire()
        server.way = Way(back=1)
        await asyncio.sleep(2.5 + 1)  # the renewal is under way
        slept = 60.0
        await us.lost()
        assert not us.holds()

    run_virtual(story())


def test_a_leader_that_sees_another_one_stops_at_once() -> None:
    async def story() -> None:
        server = Server()
        us = contender(server)
        await us.acquire()
        server.write(holder="them")
        await us.lost()
        assert now() <= 2.4
        assert (us.holds(), us.holder, us.reason) == (False, "them", "them leads")

    run_virtual(story())


def test_a_lease_that_is_deleted_under_its_leader_is_made_again() -> None:
    async def story() -> None:
        server = Server()
        us = contender(server)
        await us.acquire()
        server.store(None)
        await asyncio.sleep(12)
        assert us.holds()
        assert server.record is not None
        assert server.record.holder == "us"
        await us.release()

    run_virtual(story())


def test_leadership_that_was_lost_can_be_had_again() -> None:
    async def story() -> None:
        server = Server()
        us = contender(server)
        await us.acquire()
        server.way = Way(Fault.HANGS)
        await us.lost()
        server.way = None
        await us.acquire()
        await asyncio.sleep(30)
        assert us.holds()
        await us.acquire()
        assert us.holds()
        await us.release()

    run_virtual(story())


# --- giving it up


def test_a_lease_that_is_given_up_passes_on_at_the_next_look() -> None:
    async def story() -> None:
        server = Server()
        async with contender(server, "first") as first:
            await first.acquire()
            second = contender(server, "second")
            getting = asyncio.create_task(second.acquire())
            losing = asyncio.create_task(first.lost())
            await asyncio.sleep(5)
        left = now()
        assert (first.holds(), first.holder) == (False, "")
        await losing
        assert server.record is not None
        assert (server.record.holder, server.record.seconds) == ("", 1)
        await getting
        assert now() <= left + 2.4
        assert server.record.transitions == 1
        await second.release()

    run_virtual(story())


@pytest.mark.parametrize(
    "trouble",
    [Way(Fault.HANGS), Way(Fault.LOST), SinkUnavailable("the API server cannot be reached")],
)
def test_giving_up_takes_a_few_seconds_at_most_and_raises_nothing(trouble) -> None:
    async def story() -> None:
        server = Server()
        us = contender(server)
        await us.acquire()
        server.way = trouble if isinstance(trouble, Way) else None
        server.failure = trouble if isinstance(trouble, SinkUnavailable) else None
        await us.release()
        assert now() <= 3
        assert not us.holds()

    run_virtual(story())


def test_who_never_led_gives_nothing_up() -> None:
    async def story() -> None:
        server = Server()
        server.write(holder="them")
        us = contender(server)
        await us.lost()
        await us.release()
        assert server.requests == 0

    run_virtual(story())


def test_who_waited_in_vain_leaves_the_lease_to_its_holder() -> None:
    async def story() -> None:
        server = Server()
        us = contender(server)
        await us.acquire()
        server.write(holder="them")
        await us.lost()
        await us.release()
        assert server.record is not None
        assert server.record.holder == "them"
        server.store(None)
        await us.acquire()
        server.store(None)
        await us.release()
        assert server.record is None

    run_virtual(story())


def test_a_lease_that_was_got_while_we_stopped_wanting_it_is_given_up_too() -> None:
    async def story() -> None:
        server = Server(iter([Way(), Way(back=4)]))
        us = contender(server)
        getting = asyncio.create_task(us.acquire())
        await asyncio.sleep(1)
        getting.cancel()
        await us.release()
        assert server.record is not None
        assert server.record.holder == ""

    run_virtual(story())


# --- settings


@pytest.mark.parametrize(
    ("duration", "deadline", "retry"),
    [(10, 10, 2), (15, 2.4, 2), (15, 10, 0), (15, 10, -1), (float("inf"), 10, 2), (15, float("nan"), 2)],
)
def test_times_that_could_make_two_lead_are_refused(duration, deadline, retry) -> None:
    with pytest.raises(ValueError, match="retryPeriod < renewDeadline < leaseDuration"):
        LeaseTimes(lease_duration=duration, renew_deadline=deadline, retry_period=retry)


def test_the_times_are_those_of_kubernetes_own_components() -> None:
    times = LeaseTimes()
    assert (times.lease_duration, times.renew_deadline, times.retry_period) == (15, 10, 2)


async def test_the_clock_is_the_machines_where_none_is_given() -> None:
    server = Server()
    async with LeaseElection(Lock(server), "us") as us:
        await us.acquire()
        assert us.holds()
        assert server.record is not None
        renewed = datetime.strptime(server.record.renewed, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
        assert abs(datetime.now(UTC) - renewed) < timedelta(seconds=20)


# --- any number of processes, and anything that can happen to them

CALM = 60.0
"""Seconds after which nothing goes wrong any more."""

TIMES = LeaseTimes(lease_duration=4, renew_deadline=3.5, retry_period=0.5)
slowness = st.sampled_from([0.0, 0.0, 0.0, 0.1, 0.7, 1.4, 2.6, 4.5, 9.0])
ways = st.builds(Way, fault=st.sampled_from([*[Fault.NONE] * 5, *Fault]), there=slowness, back=slowness)
# Most of them longer than a lease holds: they begin when somebody else may lead, and end when he may not.
stops = st.lists(
    st.tuples(st.integers(0, 400), st.integers(1, 100)).map(lambda x: (x[0] / 10, (x[0] + x[1]) / 10)),
    max_size=6,
).map(tuple)
terms = st.lists(st.one_of(st.none(), st.integers(1, 20)), min_size=1, max_size=4)
"""After how long a leader gives it up by itself, turn for turn; None: it stays."""


async def contend(election: LeaseElection, terms: list[float | None]) -> None:
    for term in itertools.cycle(terms):
        await election.acquire()
        if term is None or now() > CALM:
            await election.lost()
            continue
        try:
            async with asyncio.timeout(term):
                await election.lost()
        except TimeoutError:
            await election.release()


@pytest.mark.fault(55)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    travels=st.lists(ways, min_size=1, max_size=40),
    processes=st.lists(st.tuples(stops, terms, st.floats(0, 1)), min_size=2, max_size=4),
)
def test_no_two_lead_at_once_and_once_all_is_well_somebody_does(travels, processes) -> None:
    async def story() -> None:
        with_processes()
        server = Server(itertools.cycle(travels))
        elections: list[LeaseElection] = []
        most = 0

        def watch() -> None:
            nonlocal most
            most = max(most, sum(one.holds() for one in elections))

        running = []
        for number, (stopped, turns, chance) in enumerate(processes):
            # Clocks that agree in nothing but their rate.
            clock = partial(ahead_by, 1000.0 * number)
            elections.append(contender(server, f"p{number}", times=TIMES, clock=clock, chance=chance))
            running.append(Process(stopped, watch).run(contend(elections[-1], turns)))
        await asyncio.sleep(CALM)
        server.way = Way()
        # What hangs is given up after an attempt, what is on its way arrives, and a lease runs out.
        await asyncio.sleep(1.75 + 2 * 9 + 4 + 2 * 0.6)
        assert (most, sum(one.holds() for one in elections)) == (1, 1)
        await asyncio.sleep(15)
        assert (most, sum(one.holds() for one in elections)) == (1, 1)
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        for one in elections:
            await one.release()

    run_virtual(story())
