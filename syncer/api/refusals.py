"""What callers are told when they get no answer: one status for each reason, and nothing of the inside.

What is not there and what is not allowed is one refusal: else whoever may read nothing could find out
by trying what there is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, Final, TypeVar

import grpc
import structlog

from syncer.api.conversion import text
from syncer.api.interceptor import DENIED
from syncer.api.pages import BadPageSize, BadPageToken
from syncer.core.errors import NoSuchInstallation, NoSuchRun, NothingToRead, SourceError, SourceUnavailable
from syncer.core.model import InstallationKey

Context = grpc.aio.ServicerContext[Any, Any]

_Answer = TypeVar("_Answer")

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("syncer.api")


class Refused(Exception):
    """The request cannot be answered as it is. The message says why and quotes none of Porter's values."""


class Outdated(Exception):
    """What the first page began to show is not what there is any more."""


class Denied(Exception):
    """Not there, or not allowed: nobody is told which."""


# In the order they are looked up: the special before the general.
_CODES: Final[Mapping[type[Exception], grpc.StatusCode]] = {
    Denied: grpc.StatusCode.PERMISSION_DENIED,
    NoSuchInstallation: grpc.StatusCode.PERMISSION_DENIED,
    NoSuchRun: grpc.StatusCode.NOT_FOUND,
    NothingToRead: grpc.StatusCode.FAILED_PRECONDITION,
    Refused: grpc.StatusCode.INVALID_ARGUMENT,
    BadPageSize: grpc.StatusCode.INVALID_ARGUMENT,
    BadPageToken: grpc.StatusCode.INVALID_ARGUMENT,
    Outdated: grpc.StatusCode.ABORTED,
    SourceUnavailable: grpc.StatusCode.UNAVAILABLE,
    SourceError: grpc.StatusCode.INTERNAL,
}
_TEXTS: Final[Mapping[grpc.StatusCode, str]] = {
    grpc.StatusCode.PERMISSION_DENIED: DENIED,
    grpc.StatusCode.UNAVAILABLE: "this cannot be answered now; try again later",
    grpc.StatusCode.INTERNAL: "Porter's data cannot be read as they are; the log of the server says why",
}
"""Where the error's own words would tell too much."""
_LONGEST_NAME: Final = 1024
"""Characters; as of any name that is read of Porter's."""
_LONGEST_TEXT: Final = 512
"""Characters of what is told: it travels in a header, and clients refuse those of more than 8 KiB."""


async def answered(context: Context, answer: Awaitable[_Answer]) -> _Answer:
    """The answer, or the end of the call with the status that fits what was raised instead of it."""
    try:
        return await answer
    except Exception as error:
        code, told = refusal_of(error)
        if code is None:
            raise
    await context.abort(code, told)
    raise AssertionError("abort raises")


def refusal_of(error: Exception) -> tuple[grpc.StatusCode | None, str]:
    """What the caller is told; no status for what nobody has thought of."""
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), None)
    if isinstance(error, SourceError):
        # NB: the reason names hosts and databases: it is for the log.
        _log.warning("request not answered", reason=error.reason)
    return code, _TEXTS.get(code) or text(str(error))[:_LONGEST_TEXT] if code else ""


def possible(namespace: str, name: str) -> InstallationKey:
    """The installation that is asked for. Raises `Denied` for a name that none can have.

    NB: before access is asked for it, which remembers what it was asked.
    """
    if len(name) > _LONGEST_NAME:
        raise Denied
    return InstallationKey(namespace, name)
