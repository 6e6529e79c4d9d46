"""What can go wrong on the side of the source.

SourceError
├── SourceUnavailable    not reachable, a read was cut, refused       retry; nothing is concluded
└── SourceRefused        wrong schema, wrong rights, unusable options  stop; nothing is concluded

Neither ever means that something is not there. Messages carry names, never values or URLs
with credentials.
"""

from __future__ import annotations


class NothingToRead(Exception):
    """The source was read, and what was asked for is not to be had. The message says why."""


class NoSuchInstallation(NothingToRead):
    """There is no installation of that name."""


class NoSuchRun(NothingToRead):
    """There is no such run, it is another installation's or of an earlier life, or it did not succeed."""


class SourceError(Exception):
    """The source gave no complete answer, so nothing may be derived from it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SourceUnavailable(SourceError):
    """The source cannot be read right now."""


class SourceRefused(SourceError):
    """The source can be read, and must not be used as it is."""
