"""What was said last about something, so that it is not said over and over. Forgets the oldest."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable


class Recent:
    """Remembers one text for each of the `size` subjects that were last spoken of.

    The same text is news again after `again` seconds of `clock`.
    """

    def __init__(
        self, size: int, *, again: float = math.inf, clock: Callable[[], float] = lambda: 0.0
    ) -> None:
        self._size = size
        self._again = again
        self._clock = clock
        self._said: dict[Hashable, tuple[str, float]] = {}

    def is_news(self, about: Hashable, text: str) -> bool:
        """Whether this is not what was said about it last; from now on it is."""
        now = self._clock()
        before, since = self._said.pop(about, (None, now))
        news = before != text or now - since >= self._again
        self._said[about] = (text, now if news else since)
        if len(self._said) > self._size:
            del self._said[next(iter(self._said))]
        return news

    def forget(self, about: Hashable) -> bool:
        """Whatever comes next about it is news. Answers whether anything had been said."""
        return self._said.pop(about, None) is not None
