"""What an answer of Vault other than success means. Pure, and the only place that knows.

A server's message may quote what it was sent, so none is ever passed on: reasons are made of our
own request. Messages are looked at only to tell cases apart that share a status code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from backends.errors import (
    AuthenticationFailed,
    Forbidden,
    OutcomeUnknown,
    PreconditionFailed,
    Refused,
    SinkError,
    SinkUnavailable,
    TargetUnavailable,
    Throttled,
    TooLarge,
)

Json = Mapping[str, Any]

_VERBS: Final = {"GET": "read", "LIST": "list", "POST": "write", "PATCH": "patch", "DELETE": "delete"}
_LOGIN: Final = "the login"
_NO_SECRETS: Final = ("auth/", "sys/", _LOGIN)
_CAS: Final = "check-and-set parameter"
NOT_VAULTS: Final = "the answer is not Vault's"
_TOO_LARGE: Final = "too large"
_STANDBY: Final = frozenset({472, 473})
"""What a node that only replicates answers; a standby that does not forward answers 307, or 503."""
_SEALED: Final = "sealed"


@dataclass(frozen=True, slots=True)
class Call:
    """One request, in the words of Vault's policies."""

    method: str
    path: str
    """Below `/v1/`, not quoted."""
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def writes(self) -> bool:
        """Whether a secret may be another one afterwards."""
        return self.method not in ("GET", "LIST") and not self.path.startswith(_NO_SECRETS)

    @property
    def what(self) -> str:
        """`write secret/data/shop`."""
        is_login = self.path.startswith(_LOGIN)
        return self.path if is_login else f"{_VERBS[self.method]} {self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A status and what came with it; the body may hold values."""

    status: int
    body: Json = field(repr=False)
    retry_after: float | None = None

    @property
    def data(self) -> Json:
        """The part of the body that Vault calls data."""
        found = self.body.get("data")
        return found if isinstance(found, Mapping) else {}

    @property
    def absent(self) -> bool:
        """The engine itself says that nothing is there.

        Of a mount that does not exist, or is of another version, it complains besides (seen at
        OpenBao 2.7). Of a 404 without `errors` or `data` it is not known who sent it.
        """
        is_vaults = isinstance(self.body.get("errors"), list) or "data" in self.body
        return self.status == HTTPStatus.NOT_FOUND and is_vaults and not self.complains

    @property
    def complains(self) -> bool:
        return bool(self.messages or self.body.get("warnings"))

    @property
    def cas_failed(self) -> bool:
        """Another version is there than the one the write was for (seen at OpenBao 2.7: status 400)."""
        return self.status == HTTPStatus.BAD_REQUEST and _CAS in self.messages

    @property
    def succeeded(self) -> bool:
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def messages(self) -> str:
        """For telling cases apart, never for showing."""
        errors = self.body.get("errors")
        return " ".join(map(str, errors)) if isinstance(errors, list) else ""


def refusal(call: Call, answer: Answer) -> SinkError:
    """The error for an answer that is not success."""
    redirected = HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST
    if answer.status in _STANDBY or redirected:
        return SinkUnavailable(f"{call.what}: the server is a standby and not the active one")
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _server_error(call, answer)
    return _BY_STATUS.get(answer.status, _refused)(call, answer)


def refused_login(method: str, answer: Answer) -> SinkError:
    """The error for a login that did not succeed."""
    call = Call("POST", f"the login by {method}")
    if answer.succeeded:
        return no_answer(call, sent=True, why=NOT_VAULTS)
    is_refusal = HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR
    if not is_refusal or answer.status in (*_STANDBY, HTTPStatus.TOO_MANY_REQUESTS):
        return refusal(call, answer)
    return AuthenticationFailed(f"the login by {method} was refused (status {answer.status})")


def no_answer(call: Call, *, sent: bool, why: str) -> SinkError:
    """The error for a request without a (readable) answer; `why` is ours, never the server's."""
    if sent and call.writes:
        return OutcomeUnknown(f"{call.what}: sent, but {why}")
    return SinkUnavailable(f"{call.what}: {why}")


def _server_error(call: Call, answer: Answer) -> SinkError:
    if _TOO_LARGE in answer.messages:
        return TooLarge(f"{call.what}: more than the server's storage takes")
    if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
        sealed = _SEALED in answer.messages.lower()
        reason = "the server is sealed" if sealed else "the server is not available"
        return SinkUnavailable(f"{call.what}: {reason}", retry_after=answer.retry_after)
    return no_answer(call, sent=True, why=f"the server failed with status {answer.status}")


def _refused(call: Call, answer: Answer) -> SinkError:
    return Refused(f"{call.what}: refused with status {answer.status}")


def _forbidden(call: Call, answer: Answer) -> SinkError:  # noqa: ARG001  # one signature for all
    return Forbidden(f"the right to {call.what} is missing")


def _not_found(call: Call, answer: Answer) -> SinkError:
    """NB: of a secret to patch that is not there, OpenBao 2.7 says nothing but the status."""
    if answer.complains:
        return TargetUnavailable(f"{call.what}: there is no such engine at this mount")
    if call.method == "PATCH" and not answer.body:
        return PreconditionFailed(f"{call.what}: it is gone")
    return no_answer(call, sent=True, why=NOT_VAULTS)


def _too_large(call: Call, answer: Answer) -> SinkError:  # noqa: ARG001
    return TooLarge(f"{call.what}: more than the server takes")


def _throttled(call: Call, answer: Answer) -> SinkError:
    return Throttled(f"{call.what}: the server asks for fewer requests", retry_after=answer.retry_after)


_BY_STATUS: Final[Mapping[int, Callable[[Call, Answer], SinkError]]] = {
    HTTPStatus.UNAUTHORIZED: _forbidden,
    HTTPStatus.FORBIDDEN: _forbidden,
    HTTPStatus.NOT_FOUND: _not_found,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: _too_large,
    HTTPStatus.TOO_MANY_REQUESTS: _throttled,
}
