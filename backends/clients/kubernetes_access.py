"""Asks the Kubernetes API server who a bearer of a token is, and what somebody may do.

TokenReview and SubjectAccessReview, one request for each question. Remembers nothing and decides nothing:
how long an answer holds, and what follows from it, is the caller's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from backends.clients.kubernetes import Json, KubernetesClient
from backends.errors import OutcomeUnknown, SinkUnavailable
from backends.secret_value import SecretValue
from backends.sending import only_while

_AUTHENTICATION: Final = "authentication.k8s.io"
_AUTHORIZATION: Final = "authorization.k8s.io"
_RIGHTS: Final = {"tokenreviews": _AUTHENTICATION, "subjectaccessreviews": _AUTHORIZATION}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Somebody, as the API server knows users."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What somebody wants to do, in the words of RBAC. An empty `namespace` is all of them."""

    verb: str
    group: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""


class KubernetesReviews:
    """Questions about others, asked with the rights of the client's own login."""

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client

    async def missing_rights(self) -> tuple[str, ...]:
        """What this login may not `create` and would have to. Raises `SinkError`."""
        allowed = {
            resource: await self._client.review_access(verb="create", resource=resource, group=group)
            for resource, group in _RIGHTS.items()
        }
        return tuple(f"{resource}.{_RIGHTS[resource]}" for resource, may in allowed.items() if not may)

    async def authenticate(self, token: SecretValue, audience: str) -> Subject | None:
        """Who bears this token, None where it is not good for this audience. Raises `SinkError`."""
        try:
            text = token.reveal().decode("ascii")
        except UnicodeDecodeError:
            return None
        spec = {"token": text, "audiences": [audience]}
        status = await self._review(_AUTHENTICATION, "TokenReview", spec)
        audiences = status.get("audiences")
        # NB: an API server that knows no audiences answers none, and then the token was meant for itself.
        if not (isinstance(audiences, list) and audience in audiences):
            return None
        return _subject(status.get("user")) if status.get("authenticated") is True else None

    async def authorize(self, subject: Subject, attributes: Attributes) -> bool:
        """Whether somebody may do this. Raises `SinkError`."""
        spec = {
            "user": subject.name,
            "uid": subject.uid,
            "groups": list(subject.groups),
            "extra": {key: list(values) for key, values in subject.extra.items()},
            "resourceAttributes": {
                "verb": attributes.verb,
                "group": attributes.group,
                "resource": attributes.resource,
                "subresource": attributes.subresource,
                "namespace": attributes.namespace,
                "name": attributes.name,
            },
        }
        status = await self._review(_AUTHORIZATION, "SubjectAccessReview", spec)
        return status.get("allowed") is True and status.get("denied") is not True

    async def _review(self, group: str, kind: str, spec: Json) -> Json:
        body = {"apiVersion": f"{group}/v1", "kind": kind, "spec": spec}
        path = f"/apis/{group}/v1/{kind.lower()}s"
        with only_while(lambda: True):  # a question, however it is put
            try:
                review = await self._client.post(path, body)
            except (
                OutcomeUnknown
            ):  # a connection that the API server had closed; nothing is done twice by asking
                review = await self._client.post(path, body)
        status = review.get("status")
        if not isinstance(status, dict):
            raise SinkUnavailable(f"{kind}: the answer is not a Kubernetes API server's")
        return status


def _subject(user: object) -> Subject | None:
    """None where it has no name: nothing could be granted to it, or anything."""
    if not isinstance(user, Mapping) or not (isinstance(user.get("username"), str) and user["username"]):
        return None
    return Subject(
        name=user["username"],
        uid=str(user.get("uid") or ""),
        groups=tuple(str(group) for group in user.get("groups") or ()),
        extra={
            str(key): tuple(str(value) for value in values)
            for key, values in (user.get("extra") or {}).items()
        },
    )
