"""The measured process: one pass for each line on stdin, its figures as a line of JSON on stdout.

A process of its own, so that memory, CPU seconds and descriptors are the syncer's alone. Only the
secret store is wrapped, to count what is asked of it; the rest is the product as it runs.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from backends.secret_value import SecretValue
from syncer import app
from syncer.config.loading import load_config_from_environment
from syncer.config.model import Config
from syncer.engine.reconciler import Mode
from syncer.engine.report import Report
from syncer.sources.porter.secrets.filesystem import FilesystemSecrets

_OFTEN = 250
"""Secrets between two looks at the open descriptors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass took. Seconds of CPU are all threads'; memory is in bytes, the highest so far."""

    wall: float
    cpu: float
    memory_before: int
    memory: int
    descriptors: int
    """The most that were open."""
    descriptors_after: int
    secrets: int
    """Fetched out of the secret store."""
    actions: Mapping[str, int]
    problems: tuple[str, ...]


class CountedSecrets(FilesystemSecrets):
    """Counts what is fetched."""

    fetched = 0

    async def resolve(self, keys: Collection[str]) -> Mapping[str, SecretValue | str]:
        CountedSecrets.fetched += len(keys)
        return await super().resolve(keys)


class Watcher:
    """An observer that looks at the descriptors from time to time."""

    def __init__(self) -> None:
        self.descriptors = _descriptors()
        self._entries = 0

    def progress(self, _what: str, _done: int, _total: int) -> None:
        self._look()

    def entry(self, _entry: object) -> None:
        self._entries += 1
        if self._entries % _OFTEN == 0:
            self._look()

    def failed(self, sink: str, reason: str) -> None:
        """It is in the report, too."""

    def _look(self) -> None:
        self.descriptors = max(self.descriptors, _descriptors())


def measured(config: Config) -> Pass:
    """One pass of `once`, from the first connection to the last write."""
    watcher, fetched, before = Watcher(), CountedSecrets.fetched, _memory("VmRSS")
    wall, cpu = time.perf_counter(), time.process_time()
    report = asyncio.run(app.run_pass(config, Mode(apply=True), watcher))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Pass(
        wall=wall,
        cpu=cpu,
        memory_before=before,
        memory=_memory("VmHWM"),
        descriptors=watcher.descriptors,
        descriptors_after=_descriptors(),
        secrets=CountedSecrets.fetched - fetched,
        actions=dict(Counter(entry.action for entry in report.entries)),
        problems=_problems(report),
    )


def _problems(report: Report) -> tuple[str, ...]:
    failures = [sink.failure for sink in report.sinks if sink.failure]
    return (*failures, *[f"{e.subject.address}: {e.error}" for e in report.entries if e.error])[:5]


def _memory(kind: str) -> int:
    """NB: not `ru_maxrss`, which a child inherits from whoever started it."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(f"{kind}:"))
    return int(line.split()[1]) * 1024


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) - 1  # the listing's own


def main(config_file: Path) -> None:
    app.FilesystemSecrets = CountedSecrets  # type: ignore[attr-defined]  # counted from inside, for want of a server
    config = load_config_from_environment(config_file)
    for _ in sys.stdin:
        print(json.dumps(asdict(measured(config))), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
