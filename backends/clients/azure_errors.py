"""What an answer of Azure Key Vault other than success means, and what a login that failed means.

Pure, and the only place that knows. A server's message may quote what it was sent, so none is ever
passed on: reasons are made of our own request (right, name of the secret) and of codes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from typing import Final

from backends.errors import (
    AuthenticationFailed,
    Forbidden,
    OutcomeUnknown,
    Refused,
    SinkError,
    SinkUnavailable,
    TargetUnavailable,
    Throttled,
    TooLarge,
)

_MISSING: Final = "SecretNotFound"
_DISABLED: Final = "SecretDisabled"
_FIREWALL: Final = frozenset({"ForbiddenByFirewall", "ForbiddenByConnection"})
_TRY_LATER: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.GONE, HTTPStatus.TOO_MANY_REQUESTS})


class Operation(Enum):
    """A request, by the right it takes and by what it does."""

    GET = ("get", "get")
    LIST = ("list", "list")
    VERSIONS = ("list", "list the versions of")
    SET = ("set", "set")
    GET_DELETED = ("get", "get the deleted")
    DELETE = ("delete", "delete")
    RECOVER = ("recover", "recover")
    PURGE = ("purge", "purge")

    @property
    def right(self) -> str:
        """As an access policy names it."""
        return self.value[0]

    @property
    def verb(self) -> str:
        return self.value[1]


_LONGEST_PAUSE: Final = 600.0
"""Seconds of what a header may ask for: it must not close a vault for ever."""
_TRANSITION: Final = 10.0
"""Seconds after which a name in transition is worth another look."""
_WRITES: Final = frozenset({Operation.SET, Operation.DELETE, Operation.RECOVER, Operation.PURGE})


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `name` is the secret's, "" for a list of all."""

    operation: Operation
    name: str = ""

    @property
    def writes(self) -> bool:
        return self.operation in _WRITES

    def __str__(self) -> str:
        return f"{self.operation.verb} {self.name or 'secrets'}"


class NameState(Enum):
    """Why a name cannot be used right now."""

    DELETED = "deleted, and can be recovered"
    BEING_DELETED = "being deleted"
    BEING_RECOVERED = "being recovered"
    BEING_PURGED = "being purged"


_STATES: Final[Mapping[str, NameState]] = {
    "ObjectIsDeletedButRecoverable": NameState.DELETED,
    "ObjectIsBeingDeleted": NameState.BEING_DELETED,
    "ObjectIsBeingRecovered": NameState.BEING_RECOVERED,
    "ObjectIsBeingPurged": NameState.BEING_PURGED,
}


class NameTaken(TargetUnavailable):
    """The vault keeps the name for a deleted secret, or one on its way there or back (409).

    It is this secret that has to wait, and not the sink.
    """

    def __init__(self, reason: str, state: NameState) -> None:
        super().__init__(reason, retry_after=_TRANSITION)
        self.state = state


class SecretDisabled(Refused):
    """The latest version is disabled: its value and tags cannot be had by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A refusal, taken apart. Of a body that is not a key vault's only the status is known."""

    status: int
    code: str = ""
    inner: str = ""
    retry_after: float | None = None

    @property
    def not_found(self) -> bool:
        """The vault itself says that there is no such secret; a proxy's 404 never means that."""
        return self.status == HTTPStatus.NOT_FOUND and self.code == _MISSING


def read_answer(status: int, body: object, retry_after: float | None = None) -> Answer:
    """Take the body of a refusal apart; whatever is not as a key vault writes it is left out."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return Answer(status=status, retry_after=retry_after)
    inner = error.get("innererror")
    inner = inner.get("code") if isinstance(inner, Mapping) else None
    return Answer(
        status=status, code=str(error.get("code") or ""), inner=str(inner or ""), retry_after=retry_after
    )


def asked_pause(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the headers of an answer ask to wait; `now` in seconds since 1970. None: they do not."""
    asked = _asked(headers, now)
    return None if asked is None else min(asked, _LONGEST_PAUSE)


def _asked(headers: Mapping[str, str], now: float) -> float | None:
    given = {name.lower(): text for name, text in headers.items()}
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        if (milliseconds := _number(given.get(name))) is not None:
            return milliseconds / 1000
    text = given.get("retry-after")
    return _number(text) if _number(text) is not None else _until(text, now)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _until(text: str | None, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now)


def refusal(call: Call, answer: Answer) -> SinkError:
    """The error for an answer that is not success."""
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        why = f"the vault failed with status {answer.status}"
        return no_answer(call, sent=True, why=why, retry_after=answer.retry_after)
    if answer.status < HTTPStatus.BAD_REQUEST:
        return no_answer(call, sent=True, why=f"what answers (status {answer.status}) is no key vault")
    return _BY_STATUS.get(answer.status, _refused)(call, answer)


def no_answer(call: Call, *, sent: bool, why: str, retry_after: float | None = None) -> SinkError:
    """The error for a request without a (readable) answer; `why` is ours, never the server's."""
    if sent and call.writes:
        return OutcomeUnknown(f"{call}: sent, but {why}", retry_after=retry_after)
    return SinkUnavailable(f"{call}: {why}", retry_after=retry_after)


def login_refusal(status: int, retry_after: float | None = None) -> SinkError:
    """The error for a login that failed although, or because, it was answered with this status.

    A failing endpoint says nothing about the credentials: unavailable, not refused.
    """
    if status < HTTPStatus.BAD_REQUEST:
        return SinkUnavailable("log in: what answers is no login endpoint")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRY_LATER:
        return SinkUnavailable(f"log in: the endpoint failed with status {status}", retry_after=retry_after)
    return AuthenticationFailed("the login was refused")


def _unauthorised(call: Call, answer: Answer) -> SinkError:  # noqa: ARG001  # one signature for all codes
    return AuthenticationFailed(
        "the vault does not accept the token of the login; is it of the vault's tenant?"
    )


def _forbidden(call: Call, answer: Answer) -> SinkError:
    if answer.inner == _DISABLED:
        return SecretDisabled(f"{call}: it is disabled")
    if answer.inner in _FIREWALL:
        return Forbidden(f"{call}: the vault's network rules do not allow it from here")
    return Forbidden(f"the right to {call.operation.right} secrets is missing")


def _missing(call: Call, answer: Answer) -> SinkError:
    if not answer.not_found:
        return SinkUnavailable(f"{call}: what answers is no key vault")
    return SinkUnavailable(f"{call}: it is not there")


def _conflict(call: Call, answer: Answer) -> SinkError:
    state = _STATES.get(answer.inner) or _STATES.get(answer.code)
    if state is None:
        return TargetUnavailable(f"{call}: the vault is busy with it", retry_after=answer.retry_after)
    return NameTaken(f"{call}: a secret of that name is {state.value}", state)


def _throttled(call: Call, answer: Answer) -> SinkError:  # noqa: ARG001
    return Throttled("the vault asks for fewer requests", retry_after=answer.retry_after)


def _too_large(call: Call, answer: Answer) -> SinkError:  # noqa: ARG001
    return TooLarge(f"{call}: more than the vault takes")


def _refused(call: Call, answer: Answer) -> SinkError:
    return Refused(f"{call}: refused with status {answer.status}")


_BY_STATUS: Final[Mapping[int, Callable[[Call, Answer], SinkError]]] = {
    HTTPStatus.UNAUTHORIZED: _unauthorised,
    HTTPStatus.FORBIDDEN: _forbidden,
    HTTPStatus.NOT_FOUND: _missing,
    HTTPStatus.CONFLICT: _conflict,
    HTTPStatus.REQUEST_TIMEOUT: lambda call, _: no_answer(call, sent=True, why="the vault waited in vain"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: _too_large,
    HTTPStatus.TOO_MANY_REQUESTS: _throttled,
}
