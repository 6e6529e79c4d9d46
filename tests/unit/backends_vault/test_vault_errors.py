"""What an answer other than success means; and that nothing of what a server said is ever passed on."""

from __future__ import annotations

import pytest

from backends.clients.vault_errors import Answer, Call, no_answer, refusal, refused_login
from backends.errors import (
    AuthenticationFailed,
    Forbidden,
    OutcomeUnknown,
    PreconditionFailed,
    Refused,
    SinkUnavailable,
    TargetUnavailable,
    Throttled,
    TooLarge,
)

CANARY = "canary-7f3a9c51e2"
READ = Call("GET", "secret/data/shop")
LIST = Call("LIST", "secret/metadata/shop")
WRITE = Call("POST", "secret/data/shop")
PATCH = Call("PATCH", "secret/metadata/shop")
DELETE = Call("DELETE", "secret/metadata/shop")


def answer(status: int, *errors: str, **body: object) -> Answer:
    return Answer(status=status, body={"errors": [*errors], **body})


@pytest.mark.parametrize(
    ("call", "status", "message", "kind", "reason"),
    [
        (READ, 400, CANARY, Refused, "read secret/data/shop: refused with status 400"),
        (WRITE, 405, CANARY, Refused, "write secret/data/shop: refused with status 405"),
        (LIST, 401, CANARY, Forbidden, "the right to list secret/metadata/shop is missing"),
        (WRITE, 403, CANARY, Forbidden, "the right to write secret/data/shop is missing"),
        (DELETE, 403, CANARY, Forbidden, "the right to delete secret/metadata/shop is missing"),
        (READ, 404, CANARY, TargetUnavailable, "read secret/data/shop: there is no such engine at this mount"),
        (PATCH, 404, CANARY, TargetUnavailable, "patch secret/metadata/shop: there is no such engine at this mount"),
        (WRITE, 413, CANARY, TooLarge, "write secret/data/shop: more than the server takes"),
        (WRITE, 429, CANARY, Throttled, "write secret/data/shop: the server asks for fewer requests"),
        (WRITE, 472, CANARY, SinkUnavailable, "write secret/data/shop: the server is a standby and not the active one"),
        (READ, 473, CANARY, SinkUnavailable, "read secret/data/shop: the server is a standby and not the active one"),
        (WRITE, 307, CANARY, SinkUnavailable, "write secret/data/shop: the server is a standby and not the active one"),
        (READ, 500, CANARY, SinkUnavailable, "read secret/data/shop: the server failed with status 500"),
        (WRITE, 500, CANARY, OutcomeUnknown, "write secret/data/shop: sent, but the server failed with status 500"),
        (PATCH, 502, CANARY, OutcomeUnknown, "patch secret/metadata/shop: sent, but the server failed with status 502"),
        (WRITE, 500, f"{CANARY}: put failed due to value being too large; max size", TooLarge,
         "write secret/data/shop: more than the server's storage takes"),
        (WRITE, 503, f"Vault is Sealed {CANARY}", SinkUnavailable, "write secret/data/shop: the server is sealed"),
        (READ, 503, CANARY, SinkUnavailable, "read secret/data/shop: the server is not available"),
    ],
)  # fmt: skip
def test_a_status_becomes_an_error_in_our_own_words(call, status, message, kind, reason):
    error = refusal(call, answer(status, message))
    assert (type(error), error.reason) == (kind, reason)


def test_nothing_a_server_said_is_passed_on_whatever_the_status():
    for call in (READ, WRITE, PATCH, LIST, DELETE):
        for status in range(300, 600):
            for found in (
                answer(status, CANARY),
                answer(status, warnings=[CANARY]),
                Answer(status=status, body={"x": CANARY}),
            ):
                assert CANARY not in repr(refusal(call, found))
                assert CANARY not in repr(found)


@pytest.mark.parametrize("status", [429, 503])
def test_how_long_to_wait_is_passed_on(status):
    error = refusal(READ, Answer(status=status, body={}, retry_after=7.0))
    assert error.retry_after == 7.0


@pytest.mark.parametrize(
    ("body", "absent"),
    [
        ({"errors": []}, True),
        ({"data": {"data": None, "metadata": {"version": 2}}}, True),
        ({"data": None, "warnings": None}, True),
        ({"errors": [CANARY]}, False),
        ({"errors": [], "warnings": [CANARY]}, False),
        ({"data": None, "warnings": [CANARY]}, False),
        ({}, False),
        ({"kind": "Status", "reason": "NotFound"}, False),
        ({"message": "no Route matched with those values"}, False),
        ({"errors": "none"}, False),
    ],
)
def test_absent_is_only_what_the_engine_itself_calls_so(body, absent):
    assert Answer(status=404, body=body).absent is absent
    assert not Answer(status=200, body=body).absent


def test_a_404_of_somebody_elses_is_neither_absence_nor_a_verdict():
    stranger = Answer(status=404, body={"message": CANARY})
    assert (type(refusal(READ, stranger)), type(refusal(WRITE, stranger))) == (
        SinkUnavailable,
        OutcomeUnknown,
    )
    assert type(refusal(PATCH, stranger)) is OutcomeUnknown


def test_a_patch_of_what_is_gone_changed_nothing():
    error = refusal(PATCH, Answer(status=404, body={}))
    assert (type(error), error.reason) == (PreconditionFailed, "patch secret/metadata/shop: it is gone")


@pytest.mark.parametrize(
    ("found", "failed"),
    [
        (answer(400, "check-and-set parameter did not match the current version"), True),
        (answer(400, "metadata check-and-set parameter does not match the current version"), True),
        (answer(400, "check-and-set parameter required for this call"), True),
        (answer(400, "no data provided"), False),
        (answer(500, "check-and-set parameter"), False),
        (Answer(status=400, body={"errors": "check-and-set parameter"}), False),
    ],
)
def test_a_failed_check_and_set_is_told_from_other_refusals(found, failed):
    assert found.cas_failed is failed


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_what_succeeded(status):
    assert answer(status).succeeded


@pytest.mark.parametrize("status", [100, 300, 307, 400, 404, 500])
def test_what_did_not_succeed(status):
    assert not answer(status).succeeded


@pytest.mark.parametrize("data", [None, [], "text", 1])
def test_data_of_another_kind_are_none(data):
    assert answer(200, data=data).data == {}
    assert answer(200, data={"a": 1}).data == {"a": 1}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 412])
def test_a_login_that_is_refused_is_no_missing_right(status):
    error = refused_login("kubernetes", answer(status, CANARY))
    assert (type(error), error.reason) == (
        AuthenticationFailed,
        f"the login by kubernetes was refused (status {status})",
    )


@pytest.mark.parametrize(("status", "kind"), [(429, Throttled), (472, SinkUnavailable), (500, SinkUnavailable),
                                              (502, SinkUnavailable), (503, SinkUnavailable), (307, SinkUnavailable)])  # fmt: skip
def test_a_login_that_could_not_be_is_no_refusal_and_no_unknown_outcome(status, kind):
    assert type(refused_login("approle", answer(status, CANARY))) is kind


@pytest.mark.parametrize(
    ("call", "writes"),
    [
        (READ, False), (LIST, False), (WRITE, True), (PATCH, True), (DELETE, True),
        (Call("POST", "the login by jwt"), False),
        (Call("POST", "auth/token/renew-self"), False),
        (Call("POST", "sys/capabilities-self"), False),
        (Call("POST", "authors/data/a"), True),
    ],
)  # fmt: skip
def test_an_unknown_outcome_is_only_that_of_a_write_that_was_sent(call, writes):
    assert type(no_answer(call, sent=True, why="there was no answer in time")) is (
        OutcomeUnknown if writes else SinkUnavailable
    )
    assert type(no_answer(call, sent=False, why="the server cannot be reached")) is SinkUnavailable


def test_a_login_that_brings_no_token_was_not_answered_by_vault():
    error = refused_login("jwt", answer(200, CANARY))
    assert (type(error), error.reason) == (SinkUnavailable, "the login by jwt: the answer is not Vault's")
