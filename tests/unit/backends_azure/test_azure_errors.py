"""What answers of a key vault and of a login mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.clients.azure_errors import (
    Call,
    NameState,
    NameTaken,
    Operation,
    SecretDisabled,
    asked_pause,
    login_refusal,
    no_answer,
    read_answer,
    refusal,
)
from backends.errors import (
    AuthenticationFailed,
    Forbidden,
    OutcomeUnknown,
    Refused,
    Retry,
    SinkError,
    SinkUnavailable,
    TargetUnavailable,
    Throttled,
    TooLarge,
)

GET, SET = Call(Operation.GET, "dsn"), Call(Operation.SET, "dsn")
LIST, RECOVER = Call(Operation.LIST), Call(Operation.RECOVER, "dsn")


def body(code: str, inner: str | None = None) -> dict:
    innererror = {} if inner is None else {"innererror": {"code": inner}}
    return {"error": {"code": code, "message": "canary-value"} | innererror}


MEANINGS = [
    (
        GET,
        401,
        body("Unauthorized"),
        AuthenticationFailed,
        "the vault does not accept the token of the login; is it of the vault's tenant?",
    ),
    (GET, 403, body("Forbidden", "AccessDenied"), Forbidden, "the right to get secrets is missing"),
    (SET, 403, body("Forbidden", "ForbiddenByRbac"), Forbidden, "the right to set secrets is missing"),
    (LIST, 403, None, Forbidden, "the right to list secrets is missing"),
    (
        LIST,
        403,
        body("Forbidden", "ForbiddenByFirewall"),
        Forbidden,
        "list secrets: the vault's network rules do not allow it from here",
    ),
    (GET, 403, body("Forbidden", "SecretDisabled"), SecretDisabled, "get dsn: it is disabled"),
    (RECOVER, 404, body("SecretNotFound"), SinkUnavailable, "recover dsn: it is not there"),
    (GET, 404, "<html>", SinkUnavailable, "get dsn: what answers is no key vault"),
    (
        SET,
        409,
        body("Conflict", "ObjectIsDeletedButRecoverable"),
        NameTaken,
        "set dsn: a secret of that name is deleted, and can be recovered",
    ),
    (
        RECOVER,
        409,
        body("Conflict", "ObjectIsBeingPurged"),
        NameTaken,
        "recover dsn: a secret of that name is being purged",
    ),
    (SET, 409, body("Conflict"), TargetUnavailable, "set dsn: the vault is busy with it"),
    (SET, 429, body("Throttled"), Throttled, "the vault asks for fewer requests"),
    (SET, 400, body("BadParameter"), Refused, "set dsn: refused with status 400"),
    (SET, 413, None, TooLarge, "set dsn: more than the vault takes"),
    (GET, 500, body("InternalServerError"), SinkUnavailable, "get dsn: the vault failed with status 500"),
    (SET, 503, None, OutcomeUnknown, "set dsn: sent, but the vault failed with status 503"),
    (GET, 302, None, SinkUnavailable, "get dsn: what answers (status 302) is no key vault"),
]


@pytest.mark.parametrize(("call", "status", "answer", "kind", "reason"), MEANINGS)
def test_an_answer_means_one_kind_of_error_and_its_reason_is_ours(call, status, answer, kind, reason):
    error = refusal(call, read_answer(status, answer))
    assert (type(error), error.reason) == (kind, reason)
    assert "canary" not in reason


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("ObjectIsDeletedButRecoverable", NameState.DELETED),
        ("ObjectIsBeingDeleted", NameState.BEING_DELETED),
        ("ObjectIsBeingRecovered", NameState.BEING_RECOVERED),
        ("ObjectIsBeingPurged", NameState.BEING_PURGED),
    ],
)
def test_the_states_of_a_taken_name_are_told_apart(code, state):
    for answer in (body("Conflict", code), body(code)):
        error = refusal(SET, read_answer(409, answer))
        assert isinstance(error, NameTaken)
        assert (error.state, error.retry, error.retry_after) == (state, Retry.HOLD, 10)


def test_only_the_vaults_own_404_means_absent():
    assert read_answer(404, body("SecretNotFound")).not_found
    for answer in (None, "x", body("NotFound"), {"error": "SecretNotFound"}):
        assert not read_answer(404, answer).not_found


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "17"}, 17),
        ({"retry-after-ms": "1500", "Retry-After": "17"}, 1.5),
        ({"x-ms-retry-after-ms": "250"}, 0.25),
        ({"Retry-After": "Thu, 01 Jan 1970 00:02:00 GMT"}, 20),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
        ({"Retry-After": "1e308"}, 600),
        ({"Retry-After": "in a while"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"retry-after-ms": "soon", "Retry-After": "3"}, 3),
    ],
)
def test_a_pause_is_read_from_seconds_milliseconds_or_a_date(headers, seconds):
    assert asked_pause(headers, now=100.0) == seconds


@given(st.dictionaries(st.sampled_from(["Retry-After", "retry-after-ms"]), st.text()))
def test_whatever_the_headers_are_a_pause_is_a_time_or_none(headers):
    pause = asked_pause(headers, now=100.0)
    assert pause is None or pause >= 0


def test_a_write_that_was_not_sent_has_a_known_outcome():
    assert type(no_answer(SET, sent=False, why="x")) is SinkUnavailable
    assert type(no_answer(SET, sent=True, why="x")) is OutcomeUnknown
    assert type(no_answer(GET, sent=True, why="x")) is SinkUnavailable


@pytest.mark.parametrize("status", [408, 410, 429, 500, 502, 503, 200, 302])
def test_a_login_endpoint_in_trouble_is_unavailable(status):
    error = login_refusal(status, 7.0)
    assert type(error) is SinkUnavailable
    assert error.retry_after == (7.0 if status >= 400 else None)


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_login_that_is_answered_otherwise_is_refused(status):
    assert type(login_refusal(status)) is AuthenticationFailed


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["error", "code", "innererror"]), inner)
    ),
    max_leaves=8,
)


@given(st.integers(200, 599), st.sampled_from(Operation), JSON)
def test_whatever_is_answered_is_some_sink_error(status, operation, answer):
    assert isinstance(refusal(Call(operation, "dsn"), read_answer(status, answer)), SinkError)


@given(
    st.text(min_size=1, max_size=40).map(lambda text: f"secret {text}"),
    st.sampled_from([400, 403, 409, 429, 500]),
)
def test_no_text_of_the_vault_is_passed_on(text, status):
    answer = {"error": {"code": text, "message": text, "innererror": {"code": text}}}
    assert text not in refusal(SET, read_answer(status, answer)).reason


def test_a_name_in_transition_holds_its_secret_and_not_the_sink():
    assert NameTaken.retry is Retry.HOLD
    assert not issubclass(NameTaken, SinkUnavailable)
