"""Python's collector of reference cycles during a pass: seldom, because what a pass holds is in none.

What it holds only grows until it ends, and every full collection walks through all of it: with
Python's own thresholds that takes a quarter of the CPU of a pass in which nothing changed. Not too
seldom, either: the libraries leave cycles with every request, which are megabytes until they are found.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_THRESHOLDS: Final = (10_000, 10, 100)
"""Young containers until they are looked at, and how many times until older ones are."""


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Inside the block cycles are looked for less often; for the whole process."""
    before = gc.get_threshold()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
