"""Who is told what the API was asked: metrics, and the audit of sensitive reads.

Signatures only. Is never given a token, a value or a message of a client.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class ApiObserver(Protocol):
    """Must be quick and must not fail. `request` is called from any thread."""

    def request(self, method: str, code: str, seconds: float) -> None:
        """A request is over: `/package.Service/Method`, the name of its gRPC status, how long it took."""
        ...

    def sensitive_read(self, caller: str, namespace: str, installation: str, names: Sequence[str]) -> None:
        """Somebody was given the values of these sensitive outputs."""
        ...
