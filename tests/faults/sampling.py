"""What a reader of both sinks sees while a test goes on: a thread reads them, as often as it can.

Simulates consumers that may look at any moment. Excludes what is between two looks.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.faults.estate import Estate

_PREFIX = "outputs.porter.sh/"
_MARK = "..syncer.json"
_PAUSE = 0.003  # seconds, so that the test itself comes on


class Sight(NamedTuple):
    """What was at one sink at one moment."""

    sink: str
    life: str
    """Id of the installation that the mark names."""
    data: frozenset[tuple[str, bytes]]


class Samples:
    """Different sights of one installation's secrets; that there are none is none."""

    def __init__(self, estate: Estate, installation: str) -> None:
        self.seen: set[Sight] = set()
        self.looks = 0
        self._estate = estate
        self._installation = installation
        self._over = threading.Event()
        self._failures: list[BaseException] = []

    @property
    def data(self) -> list[dict[str, bytes]]:
        """Without repetition, and whatever the sink or the life."""
        return [dict(data) for data in {one.data for one in self.seen}]

    def run(self) -> None:
        """Until `end`; what goes wrong fails the test there."""
        try:
            while not self._over.wait(_PAUSE):
                self.seen |= {one for one in (self._in_cluster(), self._in_files()) if one}
                self.looks += 1
        except BaseException as error:  # noqa: BLE001  # it belongs to the test, not to the thread
            self._failures.append(error)

    def end(self) -> None:
        self._over.set()

    def check(self) -> None:
        """That it looked all the time."""
        assert not self._failures, self._failures
        assert self.looks

    def _in_cluster(self) -> Sight | None:
        secret = self._estate.secret(self._installation)
        if secret is None:
            return None
        data: Mapping[str, str] = secret.get("data") or {}
        life = secret["metadata"]["annotations"][f"{_PREFIX}installation-id"]
        content = frozenset((key, base64.b64decode(text)) for key, text in data.items())
        return Sight("cluster", life, content)

    def _in_files(self) -> Sight | None:
        """NB: as whoever wants one state whole has to: find the folder, read in it, and see that it still is the one."""
        live = Path(self._estate.folder, "out", self._installation, "..data")
        try:
            folder = live.resolve(strict=True)
            content = {path.name: path.read_bytes() for path in folder.iterdir()}
            if live.resolve(strict=True) != folder:
                return None
        except FileNotFoundError:
            return None
        mark = content.pop(_MARK)
        return Sight("files", json.loads(mark)["installation-id"], frozenset(content.items()))


@contextmanager
def sampled(estate: Estate, installation: str) -> Iterator[Samples]:
    """Looks all the time inside the block."""
    samples = Samples(estate, installation)
    thread = threading.Thread(target=samples.run, name="samples", daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        samples.end()
        thread.join(20)
    samples.check()
