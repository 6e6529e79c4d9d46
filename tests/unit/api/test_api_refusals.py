"""What a caller is told instead of an answer: one status a reason, a text that can travel, nothing of the inside.

Excludes failures nobody has thought of, which the interceptor answers (test_api_server.py).
"""

from __future__ import annotations

import grpc
import pytest
import structlog

from syncer.api.interceptor import DENIED, Refusal, RequestContext
from syncer.api.pages import BadPageSize, BadPageToken
from syncer.api.refusals import Denied, Outdated, Refused, answered, possible, refusal_of
from syncer.core.errors import (
    NoSuchInstallation,
    NoSuchRun,
    NothingToRead,
    SourceError,
    SourceRefused,
    SourceUnavailable,
)
from syncer.core.model import InstallationKey
from tests.unit.api.records_world import ANN

CODES = grpc.StatusCode
INSIDE = "mongodb at db.internal:27017, database porter"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Denied(), CODES.PERMISSION_DENIED),
        (NoSuchInstallation("there is no installation shop/db"), CODES.PERMISSION_DENIED),
        (NoSuchRun("run 01 did not succeed"), CODES.NOT_FOUND),
        (NothingToRead("it is changing"), CODES.FAILED_PRECONDITION),
        (Refused("installation is empty"), CODES.INVALID_ARGUMENT),
        (BadPageSize(), CODES.INVALID_ARGUMENT),
        (BadPageToken(), CODES.INVALID_ARGUMENT),
        (Outdated("begin anew"), CODES.ABORTED),
        (SourceUnavailable(INSIDE), CODES.UNAVAILABLE),
        (SourceRefused(INSIDE), CODES.INTERNAL),
        (SourceError(INSIDE), CODES.INTERNAL),
    ],
    ids=lambda one: type(one).__name__,
)
async def test_each_reason_has_its_status(error, code):
    async def work() -> None:
        raise error

    with pytest.raises(Refusal) as caught:
        await answered(RequestContext(ANN), work())  # type: ignore[arg-type]
    assert caught.value.code is code
    assert caught.value.text


def test_what_is_not_there_is_told_as_what_is_not_allowed():
    denied = (CODES.PERMISSION_DENIED, DENIED)
    assert refusal_of(Denied()) == refusal_of(NoSuchInstallation("there is no shop/db")) == denied


@pytest.mark.parametrize("kind", [SourceUnavailable, SourceRefused, SourceError])
def test_where_the_database_is_is_for_the_log_alone(kind):
    with structlog.testing.capture_logs() as log:
        _, text = refusal_of(kind(INSIDE))
    assert log == [{"event": "request not answered", "reason": INSIDE, "log_level": "warning"}]
    assert not set(INSIDE.split()) & set(text.split())


@pytest.mark.parametrize("error", [Denied(), NoSuchRun("01"), Refused("no"), NothingToRead("no")])
def test_what_a_caller_can_do_at_will_is_not_logged(error):
    with structlog.testing.capture_logs() as log:
        refusal_of(error)
    assert log == []


@pytest.mark.parametrize("name", ["\udcff\ud800", "x" * 1_000_000, "\N{GRINNING FACE}" * 10_000, "\0\n\r"])
def test_what_is_told_fits_into_a_header_whatever_names_it_quotes(name):
    code, text = refusal_of(NoSuchRun(f"run {name} did not succeed"))
    assert code is CODES.NOT_FOUND
    percent_encoded = 3 * len(text.encode())
    assert percent_encoded < 8 * 1024


async def test_what_nobody_has_thought_of_is_left_to_the_interceptor():
    async def work() -> None:
        raise KeyError("value")

    with pytest.raises(KeyError):
        await answered(RequestContext(ANN), work())  # type: ignore[arg-type]


async def test_an_answer_is_an_answer():
    async def work() -> int:
        return 7

    assert await answered(RequestContext(ANN), work()) == 7  # type: ignore[arg-type]


def test_only_names_that_porter_may_have_are_possible():
    assert possible("shop", "x" * 1024) == InstallationKey("shop", "x" * 1024)
    with pytest.raises(Denied):
        possible("shop", "x" * 1025)
