"""Whatever a document holds, judging it answers: a record or a reason, and never raises.

Pure, with generated documents. Excludes what each kind of bad document means (test_porter_load).
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import given
from hypothesis import strategies as st
from porter_world import ulid

from syncer.core.model import InstallationKey, OutputRef
from syncer.core.ulid import is_ulid, ulid_seconds
from syncer.sources.porter.documents import (
    ResultHead,
    _digests,
    _digests_one_by_one,
    describe,
    parse_head,
    parse_identity,
    parse_installation,
    parse_outputs,
    parse_schema,
    unreadable,
)
from syncer.sources.porter.snapshot import Draft, draft, heads
from syncer.sources.porter.times import ZERO, nanoseconds, normalised
from syncer.sources.porter.values import judge

KEY = InstallationKey("shop", "db")
BSON = st.recursive(
    st.sampled_from([ObjectId(), Code("x"), Decimal128("1"), MinKey(), MaxKey(), Regex("x"), Timestamp(1, 1)])
    | st.sampled_from(
        [Binary(b"x", 5), b"x", Int64(1), datetime(1, 1, 1, tzinfo=UTC), "\udcff", ulid(1), "succeeded"]
    )
    | st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "_id",
    "id",
    "namespace",
    "name",
    "installation",
    "runId",
    "status",
    "outputs",
    "labels",
    "action",
    "key",
    "value",
)
DOCUMENT = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, BSON))
STATUS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("installed", "uninstalled", "resultId", "modified"), BSON)
)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "contentDigest": st.sampled_from(["sha256:" + "0" * 64, "sha256:" + "0" * 63, "", None, 7, Code("x")])
    },
)


@given(DOCUMENT, STATUS)
def test_no_installation_raises(document, status):
    identity = parse_identity(document)
    assert isinstance(identity.id, str)
    assert identity.key.name
    parse_installation(KEY, {**document, "status": status})
    parse_installation(KEY, document)
    parse_schema({"installations": document.get("name")})


@given(DOCUMENT, st.dictionaries(st.text(max_size=3), ENTRY | BSON, max_size=4))
def test_no_result_run_or_output_raises(document, outputs):
    parse_head({**document, "status": "succeeded"})
    parse_outputs(document)
    parse_outputs({**document, "outputs": outputs})
    record = parse_installation(KEY, {"id": ulid(1)})
    assert not isinstance(record, str)
    assert isinstance(heads(record, [document], now=0), str | list)
    head = ResultHead(ulid(2), "run")
    run = {**document, "namespace": "shop", "installation": "db"}
    assert isinstance(draft(record, [head], {head.id: document}, {"run": run}), str | Draft)
    judge(OutputRef(KEY, "run", "result", "name", None), [document])
    assert describe("results", document).startswith("results document ")


@given(st.dictionaries(st.text(max_size=3), ENTRY | BSON, min_size=1, max_size=4))
def test_judging_digests_all_at_once_or_one_by_one_comes_to_the_same(outputs):
    assert _digests(outputs) == _digests_one_by_one(outputs)


def test_results_that_list_the_same_outputs_share_their_names():
    """They are thousands, and remembered."""
    entry = {"contentDigest": f"sha256:{'0' * 64}"}
    one, other = (parse_outputs({"outputs": {f"ho{end}": entry}}) for end in ("st", "st"))
    assert isinstance(one, dict)
    assert isinstance(other, dict)
    assert next(iter(one)) is next(iter(other))


def test_an_unreadable_document_is_not_mistaken_for_an_installation():
    identity = parse_identity({"_id": ObjectId(), "name": 7, "id": ulid(1)})
    assert unreadable(identity.key)
    assert not identity.id
    assert not unreadable(InstallationKey("", "db"))
    assert not unreadable(InstallationKey("shop", identity.key.name))


def test_a_reason_quotes_no_content_of_a_document():
    assert "s3cr3t" not in describe("outputs", {"_id": {"x": "s3cr3t"}, "value": "s3cr3t"})
    assert "s3cr3t" not in str(parse_outputs({"_id": "x", "outputs": ["s3cr3t"]}))


@given(st.integers(0, 2**48 - 1))
def test_a_ulid_tells_when_it_was_made(milliseconds):
    made = ulid(5, seconds=milliseconds / 1000)
    assert is_ulid(made)
    assert abs(ulid_seconds(made) - milliseconds / 1000) < 0.002


@given(st.datetimes(), st.integers(0, 999), st.integers(-14 * 60, 14 * 60))
def test_times_are_compared_by_the_moment_they_name(moment, nano, offset):
    text = f"{moment.isoformat(timespec='microseconds')}{nano:03}"
    sign = "-" if offset < 0 else "+"
    shifted = f"{text}{sign}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    utc, other = nanoseconds(f"{text}Z"), nanoseconds(shifted)
    assert utc is not None
    assert other == utc - offset * 60 * 1_000_000_000
    assert nanoseconds(normalised(shifted)) == other


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("2026-11-24T00:10:00.120Z", "2026-11-24T00:10:00.12Z"),
        ("2026-11-24T00:10:00.000Z", "2026-11-24T00:10:00Z"),
        ("2026-11-24T00:10:00+00:00", "2026-11-24T00:10:00Z"),
        ("2026-11-24T00:10:00.5-05:30", "2026-11-24T00:10:00.5-05:30"),
        ("yesterday", ZERO),
        (None, ZERO),
        (Code("x"), ZERO),
    ],
)
def test_times_are_printed_as_go_prints_them(text, printed):
    assert normalised(text) == printed
