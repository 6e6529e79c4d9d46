"""Rows as messages: whatever a database may hold becomes a message that can be sent and printed.

Excludes how rows are made of documents (tests/unit/sources), and comparison with what Porter prints
(tests/functional/test_api_clients.py).
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import bson
import pytest
from bson.code import Code
from bson.decimal128 import Decimal128
from bson.min_key import MinKey
from bson.regex import Regex
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from backends.secret_value import SecretValue
from syncer.api import conversion
from syncer.api._generated.porter.outputs.v1alpha1 import porter_bundle_pb2 as ours
from syncer.core.model import InstallationState
from syncer.core.rows import InstallationRow, OutputRow, RunRow
from tests.unit.api.records_world import row

DAY = timedelta(days=1)
BROKEN = "a\udcff\ud800b\0é\N{GRINNING FACE}"
MENDED = "a\ufffd\ufffdb\0é\N{GRINNING FACE}"


def sent(message: Any) -> Any:
    """What arrives at a client, and can be printed there."""
    received = type(message).FromString(message.SerializeToString())
    assert received == message
    json_format.MessageToJson(received)
    return received


@given(st.text(st.characters()))
def test_any_text_can_be_sent_and_text_that_is_whole_stays_what_it_is(stored):
    shown = conversion.text(stored)
    shown.encode()
    if not any("\ud800" <= letter <= "\udfff" for letter in stored):
        assert shown == stored


@given(st.binary())
def test_every_byte_that_is_no_utf_8_becomes_one_sign_in_its_place(raw):
    stored = raw.decode("utf-8", "surrogateescape")
    expected = "".join("\ufffd" if "\udc80" <= letter <= "\udcff" else letter for letter in stored)
    assert conversion.text(stored) == expected


@pytest.mark.parametrize(
    ("time", "seconds", "nanos"),
    [
        ("1970-01-01T00:00:00Z", 0, 0),
        ("1970-01-01T00:00:00.5Z", 0, 500_000_000),
        ("1969-12-31T23:59:59.999999999Z", -1, 999_999_999),
        ("2026-11-24T00:10:05.338609366Z", 1_795_479_005, 338_609_366),
        ("2026-11-24T02:10:05.1+02:00", 1_795_479_005, 100_000_000),
        ("2026-11-23T18:40:05-05:30", 1_795_479_005, 0),
        ("0001-01-01T00:00:00.000000001Z", -62_135_596_800, 1),
        ("0001-01-01T01:00:00Z", -62_135_593_200, 0),
        ("9999-12-31T23:59:59.999999999Z", 253_402_300_799, 999_999_999),
    ],
)
def test_a_time_is_the_same_moment_to_the_nanosecond(time, seconds, nanos):
    moment = sent(conversion.moment(time))
    assert (moment.seconds, moment.nanos) == (seconds, nanos)


@pytest.mark.parametrize(
    "time",
    [
        None,
        "",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "2026-02-30T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:60Z",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00.1234567890Z",
        "2026-01-01T00:00:00Z\n",
        "２０26-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        BROKEN,
    ],
)
def test_what_was_never_set_or_is_no_time_is_unset(time):
    assert conversion.moment(time) is None


@given(
    st.datetimes(datetime.min + DAY, datetime.max - DAY, timezones=st.just(UTC)),  # noqa: DTZ901  # given one
    st.integers(-1439, 1439),
)
def test_any_offset_is_taken_into_account(moment, minutes):
    there = moment.astimezone(timezone(timedelta(minutes=minutes))).replace(microsecond=0)
    found = conversion.moment(there.isoformat())
    assert found is not None
    assert found.ToDatetime(UTC) == there


def test_an_installation_is_itself_field_by_field():
    shown = sent(conversion.installation(row("shop", "db", custom={"a": 1}, labels={"team": "db"})))
    assert (shown.namespace, shown.name, shown.schema_version, shown.id) == ("shop", "db", "1.0.2", "01ID")
    assert (shown.bundle.repository, shown.bundle.version) == ("example.com/mysql", "1.2.3")
    assert (shown.bundle.digest, shown.bundle.tag) == ("sha256:0", "latest")
    assert (list(shown.credential_sets), list(shown.parameter_sets)) == (["c2", "c1"], ["p"])
    assert dict(shown.labels) == {"team": "db"}
    assert shown.status == ours.InstallationStatus(
        run_id="01RUN",
        action="install",
        result_id="01RESULT",
        result_status="succeeded",
        created=conversion.moment("2026-11-24T00:10:00Z"),
        modified=conversion.moment("2026-11-24T00:10:01.5Z"),
        installed=conversion.moment("2026-11-24T00:10:01Z"),
        bundle_reference="example.com/mysql:v1.2.3",
        bundle_version="1.2.3",
        bundle_digest="sha256:1",
    )
    assert (shown.state, shown.display_status, shown.uninstalled) == (
        ours.INSTALLATION_STATE_INSTALLED,
        "succeeded",
        False,
    )
    assert json_format.MessageToDict(shown.custom) == {"a": 1.0}


def test_every_state_has_a_word():
    shown = [conversion.installation(row("shop", "db", state=state)).state for state in InstallationState]
    assert len(set(shown)) == len(InstallationState)
    assert ours.INSTALLATION_STATE_UNSPECIFIED not in shown


def test_broken_text_is_mended_wherever_it_stands():
    broken = replace(
        row(BROKEN, BROKEN, labels={BROKEN: BROKEN}, custom={BROKEN: [BROKEN]}),
        id=BROKEN,
        schema_version=BROKEN,
        bundle=dict.fromkeys(("repository", "version", "digest", "tag"), BROKEN),
        credential_sets=(BROKEN,),
        parameter_sets=(BROKEN,),
        status=dict.fromkeys(row("", "").status, BROKEN),
        display_status=BROKEN,
    )
    shown = sent(conversion.installation(broken))
    told = str(json_format.MessageToDict(shown))
    assert told.count(MENDED[:4]) == 22
    assert sent(conversion.porters_installation(broken)).status.run_id == MENDED


def test_a_run_that_goes_on_has_no_end():
    run = RunRow(
        id="01RUN",
        bundle="b",
        version="1",
        action=BROKEN,
        started="2026-11-24T00:10:01Z",
        stopped=None,
        status="running",
    )
    shown = sent(conversion.run(run))
    assert (shown.id, shown.bundle_reference, shown.bundle_version) == ("01RUN", "b", "1")
    assert (shown.action, shown.status) == (MENDED, "running")
    assert shown.HasField("started")
    assert not shown.HasField("stopped")


# --- custom data ---------------------------------------------------------------------------


def custom(data: object) -> Any:
    shown = sent(conversion.installation(row("shop", "db", custom=data)))
    return json_format.MessageToDict(shown.custom) if shown.HasField("custom") else None


@pytest.mark.parametrize("data", [None, [], "text", 7, b"bytes"])
def test_custom_data_that_are_no_map_are_unset(data):
    assert custom(data) is None


OBJECT_ID = bson.ObjectId("6b0aac8f6c171ce4a53313fc")


@pytest.mark.parametrize(
    ("item", "shown"),
    [
        (None, None),
        (True, True),
        (False, False),
        (7, 7.0),
        (bson.Int64(2**53), 2.0**53),
        (-(2**63), -(2.0**63)),
        (0.5, 0.5),
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
        ("", ""),
        ("a\0$b", "a\0$b"),
        (OBJECT_ID, str(OBJECT_ID)),
        (Decimal128("1.50"), "1.50"),
        (datetime(2026, 11, 24, tzinfo=UTC), "2026-11-24 00:00:00+00:00"),
        (b"\0\xff", "b'\\x00\\xff'"),
        (Code("x"), "x"),
        (Regex("a"), "Regex('a', 0)"),
        (MinKey(), "MinKey()"),
        ([], []),
        ({}, {}),
        ([1, [2, {"a": None}]], [1.0, [2.0, {"a": None}]]),
    ],
)
def test_custom_data_are_json_as_near_as_can_be(item, shown):
    assert custom({"item": item}) == {"item": shown}


@pytest.mark.parametrize("nest", [lambda inner: {"k": inner}, lambda inner: [inner]], ids=["maps", "lists"])
def test_custom_data_that_are_nested_too_deeply_end_in_null(nest):
    deep: object = "bottom"
    for _ in range(90):
        deep = nest(deep)
    shown = custom({"deep": deep})["deep"]
    depth = 0
    while shown is not None:
        (shown,) = shown.values() if isinstance(shown, dict) else shown
        depth += 1
    assert depth == 16


def test_huge_custom_data_are_sent_whole():
    data = {f"key{number}": "x" * 100 for number in range(100_000)}
    shown = conversion.installation(row("shop", "db", custom=data))
    assert len(shown.custom.fields) == 100_000


# --- Porter's own messages -----------------------------------------------------------------


def test_porters_installation_has_what_porters_api_has():
    shown = sent(conversion.porters_installation(row("shop", "db", labels={"team": "db"}, custom={"a": 1})))
    printed = json_format.MessageToDict(shown)
    assert set(printed) == {
        "id",
        "schemaType",
        "schemaVersion",
        "name",
        "namespace",
        "bundle",
        "credentialSets",
        "parameterSets",
        "status",
        "_calculated",
    }
    assert printed["bundle"] == {"repository": "example.com/mysql", "version": "1.2.3"}
    assert printed["_calculated"] == {
        "displayInstallationState": "installed",
        "displayInstallationStatus": "succeeded",
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [(b"", ""), (b"text", "text"), (b"\xff\xfe", "\ufffd\ufffd"), (b"\0", "\0"), ("é".encode(), "é")],
)
def test_porters_values_are_text(value, shown):
    output = OutputRow(name="n", type="string", sensitive=False, value=SecretValue(value))
    assert sent(conversion.porters_value(output)).value.string_value == shown


def test_a_value_that_was_not_asked_for_is_unset():
    output = OutputRow(name=BROKEN, type=BROKEN, sensitive=True, value=None)
    shown = sent(conversion.porters_value(output))
    assert not shown.HasField("value")
    assert (shown.name, shown.type, shown.sensitive) == (MENDED, MENDED, True)


def test_rows_of_any_kind_can_be_sent(hostile: InstallationRow):
    sent(conversion.installation(hostile))
    sent(conversion.porters_installation(hostile))


@pytest.fixture(params=["", "\0", "$ne", "../../etc/passwd", "x" * 1_000_000], ids=repr)
def hostile(request: pytest.FixtureRequest) -> InstallationRow:
    name: str = request.param
    return row(name, name, labels={name: name}, custom={name: name})
