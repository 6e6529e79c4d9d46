"""What an answer of the Kubernetes API server other than success means for a sink.

Pure, and the only place that knows. A server's message may quote what it was sent, so no
message is ever passed on: reasons are made of our own request (verb, resource, namespace, name)
and of codes, field names and webhook names. Messages are looked at only to tell cases apart
that share a code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

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

_PATH: Final = re.compile(
    r"/(?:api/[^/]+|apis/[^/]+/[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<resource>[^/]+)"
    r"(?:/(?P<name>[^/]+)(?:/(?P<part>[^/]+))?)?"
)
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_WEBHOOK_DENIED: Final = re.compile(r'admission webhook "([-.a-zA-Z0-9]{1,253})" denied the request')
_WEBHOOK_FAILED: Final = "failed calling webhook"
_POLICY_DENIED: Final = "ValidatingAdmissionPolicy "
# `data[some-key]`: the shape of a field's path; anything else in that place is left out.
_FIELD: Final = re.compile(r"[-._a-zA-Z0-9/\[\]]{1,300}")
_NAMESPACE_TERMINATING: Final = "NamespaceTerminating"
_TOO_LONG: Final = frozenset({"FieldValueTooLong", "FieldValueTooMany"})


@dataclass(frozen=True, slots=True)
class Call:
    """One request, in the words of RBAC."""

    method: str
    path: str
    """Without the query."""

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    @property
    def verb(self) -> str:
        return _VERBS.get(self.method) or ("get" if self._part("name") else "list")

    @property
    def resource(self) -> str:
        """With a subresource as RBAC names it."""
        return "/".join(filter(None, (self._part("resource"), self._part("part")))) or self.path

    @property
    def namespace(self) -> str | None:
        return self._part("namespace")

    @property
    def scope(self) -> str:
        """`secrets in namespace shop`."""
        return f"{self.resource} in namespace {self.namespace}" if self.namespace else self.resource

    def _part(self, group: str) -> str | None:
        match = _PATH.fullmatch(self.path)
        return match[group] if match else None


@dataclass(frozen=True, slots=True)
class Cause:
    """One entry of `details.causes`, without its message."""

    reason: str
    field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A refusal, taken apart. `message` is for telling cases apart, never for showing.

    Of a body that is not a Kubernetes `Status` (a proxy's page) only the code is known.
    """

    code: int
    reason: str = ""
    kind: str = ""
    message: str = ""
    causes: tuple[Cause, ...] = ()
    retry_after: float | None = None

    @property
    def not_found(self) -> bool:
        """The API server itself says that the object is not there.

        It names a kind then; of a resource it does not serve it says NotFound, and no kind.
        """
        return self.code == HTTPStatus.NOT_FOUND and self.reason == "NotFound" and bool(self.kind)


def read_answer(code: int, body: object, retry_after: str | None) -> Answer:
    """Take the body of a refusal apart; whatever is not as Kubernetes writes it is left out."""
    seconds = float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else None
    if not isinstance(body, Mapping) or body.get("kind") != "Status":
        return Answer(code=code, retry_after=seconds)
    details = body.get("details")
    details = details if isinstance(details, Mapping) else {}
    causes = details.get("causes")
    return Answer(
        code=code,
        reason=str(body.get("reason") or ""),
        kind=str(details.get("kind") or ""),
        message=str(body.get("message") or ""),
        causes=tuple(_causes(causes if isinstance(causes, list) else [])),
        retry_after=seconds,
    )


def _causes(entries: list[object]) -> list[Cause]:
    found = (entry for entry in entries if isinstance(entry, Mapping))
    return [Cause(str(entry.get("reason") or ""), str(entry.get("field") or "")) for entry in found]


def refusal(call: Call, answer: Answer) -> SinkError:
    """The error for an answer that is not success."""
    is_client_error = HTTPStatus.BAD_REQUEST <= answer.code < HTTPStatus.INTERNAL_SERVER_ERROR
    by_code = _BY_CODE.get(answer.code, _refused) if is_client_error else _server_error
    return _admission(call, answer) or by_code(call, answer)


def no_answer(call: Call, *, sent: bool, why: str) -> SinkError:
    """The error for a request without a (readable) answer; `why` is ours, never the server's."""
    if sent and call.writes:
        return OutcomeUnknown(f"{call.verb} {call.scope}: sent, but {why}")
    return SinkUnavailable(f"{call.verb} {call.scope}: {why}")


def _admission(call: Call, answer: Answer) -> SinkError | None:
    webhook = _WEBHOOK_DENIED.match(answer.message)
    if webhook is not None:
        return Refused(f"{call.verb} {call.scope}: denied by the admission webhook {webhook[1]}")
    if answer.message.startswith(_POLICY_DENIED) or f": {_POLICY_DENIED}" in answer.message:
        return Refused(f"{call.verb} {call.scope}: denied by a validating admission policy")
    return None


def _unauthorised(call: Call, answer: Answer) -> SinkError:  # noqa: ARG001  # one signature for all codes
    return AuthenticationFailed("the API server does not accept the credentials")


def _moved(call: Call, answer: Answer) -> SinkError:  # noqa: ARG001
    return PreconditionFailed(f"{call.verb} {call.scope}: it changed meanwhile, or exists already")


def _expired(call: Call, answer: Answer) -> SinkError:  # noqa: ARG001
    return SinkUnavailable(f"{call.verb} {call.scope}: the list expired before its end was read")


def _throttled(call: Call, answer: Answer) -> SinkError:  # noqa: ARG001
    return Throttled("the API server asks for fewer requests", retry_after=answer.retry_after)


def _refused(call: Call, answer: Answer) -> SinkError:
    return Refused(f"{call.verb} {call.scope}: refused with status {answer.code}")


def _forbidden(call: Call, answer: Answer) -> SinkError:
    if any(cause.reason == _NAMESPACE_TERMINATING for cause in answer.causes):
        return TargetUnavailable(f"namespace {call.namespace} is being removed")
    if "exceeded quota" in answer.message or "failed quota" in answer.message:
        return Refused(f"{call.verb} {call.scope}: over the namespace's quota")
    return Forbidden(f"the right to {call.verb} {call.scope} is missing")


def _missing(call: Call, answer: Answer) -> SinkError:
    if not answer.not_found:
        return no_answer(call, sent=True, why=f"the server knows no {call.resource}")
    if call.method == "POST":
        return TargetUnavailable(f"namespace {call.namespace} does not exist")
    return PreconditionFailed(f"{call.verb} {call.scope}: it is gone")


def _invalid(call: Call, answer: Answer) -> SinkError:
    too_long = any(cause.reason in _TOO_LONG for cause in answer.causes)
    if answer.code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or too_long:
        return TooLarge(f"{call.verb} {call.scope}: more than the API server takes")
    fields = sorted({cause.field for cause in answer.causes if _FIELD.fullmatch(cause.field)})
    return Refused(f"{call.verb} {call.scope}: invalid{': ' if fields else ''}{', '.join(fields)}")


def _server_error(call: Call, answer: Answer) -> SinkError:
    if _WEBHOOK_FAILED in answer.message:
        return SinkUnavailable(f"{call.verb} {call.scope}: an admission webhook does not answer")
    if "request is too large" in answer.message:
        return TooLarge(f"{call.verb} {call.scope}: more than the API server's database takes")
    if answer.code == HTTPStatus.SERVICE_UNAVAILABLE:
        reason = f"{call.verb} {call.scope}: the API server is not available"
        return SinkUnavailable(reason, retry_after=answer.retry_after)
    return no_answer(call, sent=True, why=f"the API server failed with status {answer.code}")


_BY_CODE: Final[Mapping[int, Callable[[Call, Answer], SinkError]]] = {
    HTTPStatus.UNAUTHORIZED: _unauthorised,
    HTTPStatus.FORBIDDEN: _forbidden,
    HTTPStatus.NOT_FOUND: _missing,
    HTTPStatus.CONFLICT: _moved,
    HTTPStatus.GONE: _expired,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: _invalid,
    HTTPStatus.UNPROCESSABLE_ENTITY: _invalid,
    HTTPStatus.TOO_MANY_REQUESTS: _throttled,
}
