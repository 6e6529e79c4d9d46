"""What answers of the API server mean. The answers of `answers.json` were recorded from
kube-apiserver 1.37.2, which was made to quote the value `canary-value` wherever it would.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.clients.kubernetes_errors import Call, no_answer, read_answer, refusal
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

ANSWERS = json.loads((Path(__file__).parent / "answers.json").read_text())
CANARIES = ("canary", base64.b64encode(b"canary-value").decode())

LIST = Call("GET", "/api/v1/secrets")
SECRETS = "/api/v1/namespaces/shop/secrets"
GET, CREATE = Call("GET", f"{SECRETS}/a"), Call("POST", SECRETS)
UPDATE, DELETE = Call("PUT", f"{SECRETS}/a"), Call("DELETE", f"{SECRETS}/a")
IN_SHOP = "secrets in namespace shop"
BY_WEBHOOK = f"create {IN_SHOP}: denied by the admission webhook secrets.example.com"

MEANINGS = {
    "unauthorised": (GET, AuthenticationFailed, "the API server does not accept the credentials"),
    "forbidden create": (CREATE, Forbidden, f"the right to create {IN_SHOP} is missing"),
    "forbidden list": (LIST, Forbidden, "the right to list secrets is missing"),
    "exists": (CREATE, PreconditionFailed, f"create {IN_SHOP}: it changed meanwhile, or exists already"),
    "stale update": (
        UPDATE,
        PreconditionFailed,
        f"update {IN_SHOP}: it changed meanwhile, or exists already",
    ),
    "stale delete": (
        DELETE,
        PreconditionFailed,
        f"delete {IN_SHOP}: it changed meanwhile, or exists already",
    ),
    "foreign uid delete": (
        DELETE,
        PreconditionFailed,
        f"delete {IN_SHOP}: it changed meanwhile, or exists already",
    ),
    "delete absent": (DELETE, PreconditionFailed, f"delete {IN_SHOP}: it is gone"),
    "get absent": (GET, PreconditionFailed, f"get {IN_SHOP}: it is gone"),
    "update absent": (UPDATE, PreconditionFailed, f"update {IN_SHOP}: it is gone"),
    "no namespace": (CREATE, TargetUnavailable, "namespace shop does not exist"),
    "no resource": (GET, SinkUnavailable, f"get {IN_SHOP}: the server knows no secrets"),
    "bad key": (CREATE, Refused, f"create {IN_SHOP}: invalid"),
    "tls missing": (CREATE, Refused, f"create {IN_SHOP}: invalid: data[tls.crt], data[tls.key]"),
    "bad annotation": (CREATE, Refused, f"create {IN_SHOP}: invalid: metadata.labels"),
    "bad base64": (CREATE, Refused, f"create {IN_SHOP}: refused with status 400"),
    "too long": (CREATE, TooLarge, f"create {IN_SHOP}: more than the API server takes"),
    "way too long": (CREATE, TooLarge, f"create {IN_SHOP}: more than the API server takes"),
    "annotations too long": (CREATE, TooLarge, f"create {IN_SHOP}: more than the API server takes"),
    "type change": (UPDATE, Refused, f"update {IN_SHOP}: invalid: type"),
    "immutable": (UPDATE, Refused, f"update {IN_SHOP}: invalid: data"),
    "quota": (CREATE, Refused, f"create {IN_SHOP}: over the namespace's quota"),
    "terminating": (CREATE, TargetUnavailable, "namespace shop is being removed"),
    "policy": (CREATE, Refused, f"create {IN_SHOP}: denied by a validating admission policy"),
    "webhook down": (CREATE, SinkUnavailable, f"create {IN_SHOP}: an admission webhook does not answer"),
    "webhook": (CREATE, Refused, BY_WEBHOOK),
    "webhook 409": (CREATE, Refused, BY_WEBHOOK),
    "webhook 500": (CREATE, Refused, BY_WEBHOOK),
}


def meaning(name: str, call: Call) -> SinkError:
    recorded = ANSWERS[name]
    return refusal(call, read_answer(recorded["code"], recorded["body"], None))


def test_every_recorded_answer_has_a_meaning():
    assert MEANINGS.keys() == ANSWERS.keys()


@pytest.mark.parametrize("name", MEANINGS)
def test_an_answer_means_one_kind_of_error_and_its_reason_is_ours(name):
    call, kind, reason = MEANINGS[name]
    error = meaning(name, call)
    assert (type(error), error.reason) == (kind, reason)


def test_the_recordings_quote_values_and_no_reason_does():
    for canary in CANARIES:
        assert canary in json.dumps(ANSWERS)
        assert not any(canary in meaning(name, call).reason for name, (call, _, _) in MEANINGS.items())


@pytest.mark.parametrize("name", ["get absent", "delete absent"])
def test_only_an_object_of_a_known_kind_is_not_found(name):
    assert read_answer(404, ANSWERS[name]["body"], None).not_found
    assert not read_answer(404, ANSWERS["no resource"]["body"], None).not_found
    assert not read_answer(404, "<html>404</html>", None).not_found


@pytest.mark.fault(26)
def test_throttling_keeps_what_the_server_asks_for():
    error = refusal(GET, read_answer(429, ANSWERS["unauthorised"]["body"], "17"))
    assert (type(error), error.retry_after) == (Throttled, 17.0)
    assert refusal(GET, read_answer(429, None, "in a while")).retry_after is None


@pytest.mark.parametrize("code", [500, 502, 504])
def test_a_failed_server_may_have_written(code):
    assert type(refusal(CREATE, read_answer(code, None, None))) is OutcomeUnknown
    assert type(refusal(GET, read_answer(code, None, None))) is SinkUnavailable


def test_an_unavailable_server_wrote_nothing():
    error = refusal(CREATE, read_answer(503, None, "5"))
    assert (type(error), error.retry_after) == (SinkUnavailable, 5.0)


def test_an_expired_list_is_not_a_short_one():
    assert type(refusal(LIST, read_answer(410, None, None))) is SinkUnavailable


def test_a_full_database_is_too_large():
    status = {"kind": "Status", "message": "etcdserver: request is too large", "code": 500}
    assert type(refusal(CREATE, read_answer(500, status, None))) is TooLarge


def test_a_write_that_was_not_sent_has_a_known_outcome():
    assert type(no_answer(CREATE, sent=False, why="it cannot be reached")) is SinkUnavailable
    assert type(no_answer(CREATE, sent=True, why="the connection broke")) is OutcomeUnknown


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (LIST, ("list", "secrets", None)),
        (GET, ("get", "secrets", "shop")),
        (Call("POST", "/apis/coordination.k8s.io/v1/namespaces/shop/leases"), ("create", "leases", "shop")),
        (Call("GET", "/api/v1/namespaces/shop"), ("get", "namespaces", None)),
        (Call("GET", "/version"), ("list", "/version", None)),
    ],
)
def test_a_call_is_told_in_the_words_of_rbac(call, words):
    assert (call.verb, call.resource, call.namespace) == words


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["kind", "causes"]), inner),
    max_leaves=8,
)


@given(
    code=st.integers(300, 599),
    call=st.sampled_from([LIST, GET, CREATE, UPDATE, DELETE]),
    details=JSON,
    reason=JSON,
)
def test_whatever_is_answered_is_some_sink_error(code, call, details, reason):
    body = {"kind": "Status", "reason": reason, "details": details, "message": reason}
    for answer in (body, details):
        assert isinstance(refusal(call, read_answer(code, answer, None)), SinkError)


@given(
    st.text(min_size=1, max_size=40).map(lambda text: f"secret {text}"),
    st.sampled_from([400, 403, 409, 422, 500]),
)
def test_no_message_of_the_server_is_passed_on(message, code):
    causes = [{"message": message, "field": message, "reason": message}]
    body = {"kind": "Status", "message": message, "reason": message, "details": {"causes": causes}}
    assert message not in refusal(CREATE, read_answer(code, body, None)).reason
