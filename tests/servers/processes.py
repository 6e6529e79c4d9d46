"""Child processes: started with a log file, waited for with a deadline, stopped for sure, never orphaned.

A child dies with this process, however this process ends. What a particular server needs is not known here.
"""

from __future__ import annotations

import atexit
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_EXEC_CHILD = Path(__file__).with_name("_exec_child.py")
_POLL = 0.02  # seconds
_BELOW_EPHEMERAL = (
    20_000,
    32_000,
)  # a port the kernel hands to nobody between our look and the server's bind

# NB: Linux kills a child when the *thread* that started it ends, so all are started by one that stays.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tests.servers")


class ServerFailedError(Exception):
    """A server ended or was not ready in time; the message ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running server process and its log file (standard output and error together)."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(
        cls, name: str, command: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None
    ) -> Self:
        """Starts it with `folder` as its working directory; its standard input stays open while we live.

        `environ`: its whole environment, where that is not ours.
        """
        log = folder / f"{name}.log"
        wrapper = [sys.executable, "-I", "-S", str(_EXEC_CHILD), str(os.getpid())]
        arguments = [*wrapper, *command]
        child = cls(name, log, _starter.submit(_popen, arguments, folder, log, environ).result())
        atexit.register(child.stop, grace=0)
        return child

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Returns once `ready()` holds; raises ServerFailedError when the process ends or the time is over."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self.process.poll() is not None:
                raise ServerFailedError(self._complaint(f"ended with status {self.process.returncode}"))
            if time.monotonic() > deadline:
                raise ServerFailedError(self._complaint(f"was not ready within {seconds:g} s"))
            time.sleep(_POLL)

    def wait_for_line(self, pattern: str, seconds: float) -> str:
        """The first group of the first log line that matches `pattern`."""
        found: list[str] = []

        def ready() -> bool:
            found.extend(re.findall(pattern, self.log.read_text(errors="replace"), re.MULTILINE)[:1])
            return bool(found)

        self.wait_until(ready, seconds)
        return found[0]

    def stop(self, grace: float = 3) -> None:
        """Asks it to end, and kills it after `grace` seconds. Stopping it again is fine."""
        atexit.unregister(self.stop)
        if self.process.poll() is None and grace:
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGTERM)
            self._wait(grace)
        if self.process.poll() is None:
            self._signal(signal.SIGKILL)
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Frozen inside the block: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _complaint(self, what: str) -> str:
        return f"{self.name} {what}; the end of {self.log}:\n{self.log_tail()}"

    def _signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def _wait(self, seconds: float) -> None:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    while True:
        port = random.randint(*_BELOW_EPHEMERAL)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _popen(
    arguments: list[str], folder: Path, log: Path, environ: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        # A session of its own: Ctrl-C reaches pytest, which then stops the servers in order.
        return subprocess.Popen(
            arguments,
            cwd=folder,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
