"""The event loop the engine's tests run on: hours in no time, and no test that hangs."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest
import virtual_time
from virtual_time import Deadlock, run_virtual


def now() -> float:
    return asyncio.get_running_loop().time()


def test_a_day_takes_no_time_and_the_clock_shows_it() -> None:
    async def sleeps() -> tuple[float, float]:
        begun = now()
        await asyncio.sleep(86_400.5)
        return begun, now()

    real = time.monotonic()
    assert run_virtual(sleeps()) == (0.0, 86_400.5)
    assert time.monotonic() - real < 10


def test_timers_come_in_their_order_each_at_its_time() -> None:
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((name, now()))

    async def all_of_them() -> None:
        await asyncio.gather(sleeper("late", 7), sleeper("early", 0.1), sleeper("also late", 7))

    run_virtual(all_of_them())
    assert woken == [("early", 0.1), ("late", 7.0), ("also late", 7.0)]


def test_a_timeout_ends_what_would_take_too_long() -> None:
    async def waits() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()
        return now()

    assert run_virtual(waits()) == 30.0


def test_an_exception_comes_out_as_it_is() -> None:
    async def fails() -> None:
        await asyncio.sleep(1)
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        run_virtual(fails())


def test_waiting_for_nobody_is_an_error_and_what_waits_is_cancelled() -> None:
    ended: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("waits")

    with pytest.raises(Deadlock):
        run_virtual(waits())
    assert ended == ["waits"]


def test_a_thread_is_waited_for_and_takes_no_time() -> None:
    async def works() -> tuple[str, float]:
        clock = asyncio.get_running_loop()
        gate = threading.Event()
        timer = clock.call_later(5, lambda: None)
        clock.call_soon(gate.set)
        answer = await asyncio.to_thread(lambda: "done" if gate.wait(60) else "never let go")
        assert not timer.cancelled()
        return answer, now()

    assert run_virtual(works()) == ("done", 0.0)


def test_time_goes_on_after_a_thread_has_ended() -> None:
    async def works() -> float:
        await asyncio.to_thread(lambda: None)
        await asyncio.sleep(3)
        return now()

    assert run_virtual(works()) == 3.0


def test_a_thread_that_waits_for_virtual_time_is_told_rather_than_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(virtual_time, "_PATIENCE", 0.05)
    timer_came = threading.Event()

    async def works() -> None:
        asyncio.get_running_loop().call_later(1, timer_came.set)
        await asyncio.to_thread(timer_came.wait, 60)

    async def both() -> None:
        try:
            await works()
        finally:
            timer_came.set()

    with pytest.raises(Deadlock):
        run_virtual(both())


def test_a_real_connection_is_refused() -> None:
    async def connects() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, pytest.raises(RuntimeError, match="real connections"):
            asyncio.get_running_loop().add_reader(ours, lambda: None)
        await asyncio.sleep(1)

    run_virtual(connects())
