"""How the server of the API is set up, as plain values that the composition root makes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

MEBIBYTE: Final = 1024 * 1024


class CannotServe(Exception):
    """The server cannot be started as it is configured; the message says why, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files; all of them are read again when they change."""

    certificate: Path
    """The server's certificate, and what leads from it to its authority."""
    key: Path
    """Its private key, not encrypted."""
    client_ca: Path | None = None
    """The authorities of client certificates. Where it is set, every client must have one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one server, one connection and one request may cost."""

    send_bytes: int = 16 * MEBIBYTE
    """The largest answer; one that would be larger fails (INTERNAL)."""
    receive_bytes: int = MEBIBYTE
    """The largest request; a larger one is refused (RESOURCE_EXHAUSTED)."""
    requests: int = 64
    """Answered at the same time; more are refused at once (RESOURCE_EXHAUSTED)."""
    request_seconds: float = 30.0
    """Then a request has failed (DEADLINE_EXCEEDED), whatever the client would wait for."""
    connections: int = 256
    """Open at the same time; more are closed at once."""
    streams: int = 100
    """Requests at the same time on one connection; a client waits with more."""
    connection_seconds: float = 1800.0
    """Then a client is asked to connect anew, and so to show its certificate again."""
    drain_seconds: float = 4.0
    """For requests that are being answered when the server stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOptions:
    """Where and how the API is served."""

    listen: str
    """`host:port`, port 0 for any free one. Without `tls` the host must be a loopback address."""
    tls: TlsFiles | None = None
    reflection: bool = False
    """Tell callers which services and messages there are. They have to be known callers for that, too."""
    limits: Limits = field(default_factory=Limits)
