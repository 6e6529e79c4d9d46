"""A running `syncer run` in a process of its own, and what can be seen of it from outside.

Simulates nothing: the process is the product's, started with a configuration file. Excludes how the
places look that it writes to; a test knows those.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from tests.servers.processes import Child, ServerFailedError, free_port

Found = TypeVar("Found")

ROOT = Path(__file__).parents[2]
SECONDS = 30.0
"""For whatever is to happen; nothing should need as long."""
_POLL = 0.02


@dataclass
class Syncer:
    """One process; `start` makes it and `stop` ends it. `config` may be changed while it runs."""

    folder: Path
    config: Path
    port: int
    _child: Child
    _environ: Mapping[str, str] = field(repr=False)

    @classmethod
    def start(
        cls,
        document: Mapping[str, Any],
        folder: Path,
        *,
        environ: Mapping[str, str] | None = None,
        level: str = "debug",
    ) -> Self:
        """Writes the configuration into a folder of its own below `folder`, and starts."""
        own = Path(tempfile.mkdtemp(prefix="syncer-", dir=folder))
        port = free_port()
        config = own / "syncer.yaml"
        listening = {"telemetry": {"listen": f"127.0.0.1:{port}"}}
        config.write_text(json.dumps({"leaderElection": {"kind": "none"}, **listening, **document}))
        command = [sys.executable, "-m", "syncer", "run", "--log-level", level, "-c", str(config)]
        ours = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **(environ or {})}
        variables = {**os.environ, **ours}  # noqa: TID251  # a child's
        return cls(own, config, port, Child.start("syncer", command, own, environ=variables), variables)

    def beside(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command, with the same configuration, while this one runs."""
        return subprocess.run(
            [sys.executable, "-m", "syncer", *arguments, "-c", str(self.config)],
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def reconfigure(self, document: Mapping[str, Any], *, signalled: bool = True) -> None:
        """Replaces the configuration; without the signal the process has to notice by itself."""
        now = json.loads(self.config.read_text())
        kept = {name: now[name] for name in ("telemetry", "leaderElection")}
        new = self.config.with_suffix(".new")
        new.write_text(json.dumps({**kept, **document}))
        new.replace(self.config)
        if signalled:
            self.signal(signal.SIGHUP)

    # --- from outside

    @property
    def pid(self) -> int:
        return self._child.process.pid

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of one of its pages; 0 where nothing listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str, **labels: str) -> float:
        """The value of a metric, all that carry these labels added up."""
        _, text = self.get("/metrics")
        pattern = re.compile(rf"^porter_outputs_syncer_{name}(?:\{{(.*)\}})? (\S+)$", re.MULTILINE)
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        lines = ((set((found[1] or "").split(",")), float(found[2])) for found in pattern.finditer(text))
        return sum(value for given, value in lines if wanted <= given)

    @property
    def log(self) -> list[dict[str, Any]]:
        """Its log so far, one object a line."""
        lines = self._child.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def logged(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """Those lines of its log that tell of this, with these fields."""
        wanted = {"event": event, **fields}
        return [line for line in self.log if wanted.items() <= line.items()]

    def looks(self, installation: str) -> Mapping[str, int]:
        """How often each sink was compared with what there is of it in the source."""
        lines = self.logged("reconciled", installation=f"shop/{installation}")
        return Counter(line["sink"] for line in lines)

    def until_looked(self, installation: str, since: Mapping[str, int], *, times: int = 1) -> None:
        """Until that was done so often again; `since` is what `looks` said."""
        self.until(
            lambda: all(self.looks(installation)[sink] >= count + times for sink, count in since.items())
        )

    @property
    def output(self) -> str:
        """Everything it wrote."""
        return self._child.log.read_text()

    def until(
        self, condition: Callable[[], Found], seconds: float = SECONDS, *, every: float = _POLL
    ) -> Found:
        """What `condition` answers as soon as that is true. Fails with the end of the log."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if self._child.process.poll() is not None:
                raise ServerFailedError(f"syncer ended with {self._child.process.returncode}:\n{self.tail()}")
            assert time.monotonic() < deadline, (
                f"not within {seconds:g} s; the end of the log:\n{self.tail()}"
            )
            time.sleep(every)
        return found

    def until_ready(self) -> None:
        """Until it leads and has read the source, or stands by."""
        self.until(lambda: self.get("/readyz")[0] == 200)

    def until_swept(self, *, sink: str, times: int = 2) -> None:
        """Until so many more sweeps of this sink have ended; the last of two has surely begun after this."""
        before = len(self.logged("swept", sink=sink))
        self.until(lambda: len(self.logged("swept", sink=sink)) >= before + times)

    def tail(self) -> str:
        return self._child.log_tail(40)

    # --- hands on the process

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Frozen inside the block."""
        with self._child.paused():
            yield

    def kill(self) -> None:
        """As the kernel does when memory runs out."""
        self._child.stop(grace=0)

    def end(self, seconds: float = 10) -> int:
        """SIGTERM; its exit status. Fails where it is not gone in time."""
        self.signal(signal.SIGTERM)
        self._child.process.wait(seconds)
        return self._child.process.returncode

    def until_ended(self, seconds: float = SECONDS) -> int:
        """Its exit status, once it is gone."""
        return self._child.process.wait(seconds)

    def stop(self) -> None:
        """Whatever state it is in."""
        self._child.stop(grace=3)
