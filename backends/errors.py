"""What can go wrong at a sink, and for each what the engine does next.

SinkError
├── SinkUnavailable         not reachable, timed out, 5xx            retry with backoff
│   └── Throttled           told to slow down (429)                  after `retry_after`
├── AuthenticationFailed    not logged in, token refused             retry slowly
├── Forbidden               logged in, right missing                 retry with backoff
├── PreconditionFailed      the secret changed since it was observed observe again
├── OutcomeUnknown          sent, no answer                          observe again
└── Refused                 this secret will not be taken            hold the target
    ├── ForeignSecret       somebody else's secret is there
    ├── TargetUnavailable   namespace or mount missing or going
    └── TooLarge            over the sink's limit

NameRefused (ValueError)    no legal name can be made; raised by pure naming code.

A message names addresses, verbs and sizes, never a value, a token or a server's raw
answer. Adapters raise these `from None` wherever the original could carry a value.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import ClassVar


class Retry(Enum):
    """What the engine does after a failure."""

    BACKOFF = auto()
    SLOWLY = auto()
    OBSERVE = auto()
    HOLD = auto()


class SinkError(Exception):
    """Any failure of a sink. `reason` is fit for users: one sentence, no value in it."""

    retry: ClassVar[Retry] = Retry.BACKOFF

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        """Seconds the server asked us to wait, where it did."""


class SinkUnavailable(SinkError):
    """The sink cannot be reached or does not work right now. Never means "empty"."""


class Throttled(SinkUnavailable):
    """The sink asked for fewer requests."""


class AuthenticationFailed(SinkError):
    """The credentials were refused."""

    retry = Retry.SLOWLY


class Forbidden(SinkError):
    """The credentials are good, the right is missing. The reason names verb and resource.

    NB: an API server that has just started says so to everybody, until it has read its roles.
    """


class PreconditionFailed(SinkError):
    """The secret is no longer what it was when it was observed; nothing was written."""

    retry = Retry.OBSERVE


class OutcomeUnknown(SinkError):
    """A write was sent and its answer lost: read before acting again."""

    retry = Retry.OBSERVE


class Refused(SinkError):
    """The sink will not take this secret as it is; sending it again changes nothing."""

    retry = Retry.HOLD


class ForeignSecret(Refused):
    """A secret that does not carry our mark is at the address."""


class TargetUnavailable(Refused):
    """Where the secret should go does not exist, or is being removed."""


class TooLarge(Refused):
    """More bytes than the sink takes."""


class NameRefused(ValueError):
    """No legal name can be made from what was given. The message says from what, and why."""
