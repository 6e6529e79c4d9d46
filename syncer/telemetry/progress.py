"""One line of progress on a terminal, written over and over; nothing anywhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TextIO

_START_OF_LINE: Final = "\r\x1b[K"
INTERVAL: Final = 0.1
"""Seconds between two looks of the line: more often than that nobody sees."""


class Progress:
    """`clock` gives seconds; `show` and `clear` do nothing unless `stream` is a terminal."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._clock = clock
        self._terminal = stream.isatty()
        self._next = clock()
        self._shown = False

    def show(self, what: str, done: int, total: int) -> None:
        """Say that `done` of `total` are through."""
        if not self._terminal or (self._clock() < self._next and done < total):
            return
        self._next = self._clock() + INTERVAL
        self._shown = True
        self._write(f"{_START_OF_LINE}{what}: {done}/{total}")

    def clear(self) -> None:
        """Leave an empty line for what comes next."""
        if self._shown:
            self._write(_START_OF_LINE)
        self._shown = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
