"""What `plan`, `once`, `gc` and `status` print, on hand-made reports: shapes, exit codes, words.

No pass is made; the shapes of the data are those of design.md section 8, key by key.
"""

from __future__ import annotations

import itertools

import pytest
from cli_reports import ADDED, CHANGED, REMOVED, RUN, entry, report

from syncer.cli.rendering import (
    ACTIONS,
    collected,
    failures_text,
    gc_data,
    gc_text,
    once_code,
    once_text,
    plan_code,
    plan_data,
    plan_text,
    since,
    status_data,
    status_text,
)
from syncer.core.changes import State


def test_a_plan_has_the_documented_shape():
    one = entry("update", keys=(ADDED, CHANGED, REMOVED), reason="another run succeeded")
    assert plan_data(report(one, entry("keep", "shop/a"))) == {
        "instance": "prod-eu-1",
        "source": "feed",
        "changes": [
            {
                "action": "keep",
                "sink": "local",
                "address": "shop/a",
                "rule": "files",
                "installation": {"namespace": "shop", "name": "a", "id": "id-a"},
                "run": RUN,
                "reason": "because",
                "keys": [],
            },
            {
                "action": "update",
                "sink": "local",
                "address": "shop/orders-db",
                "rule": "files",
                "installation": {"namespace": "shop", "name": "orders-db", "id": "id-orders-db"},
                "run": RUN,
                "reason": "another run succeeded",
                "keys": [
                    {"key": "host", "change": "add"},
                    {"key": "port", "change": "change"},
                    {"key": "user", "change": "remove"},
                ],
            },
        ],
        "summary": {"create": 0, "update": 1, "keep": 1, "delete": 0, "conflict": 0, "hold": 0},
    }


def test_a_status_has_the_documented_shape_and_groups_by_installation():
    drifted = entry("update", sink="local", state=State.DRIFTED)
    other = entry("keep", sink="cluster")
    assert status_data(report(entry("hold", None, run=""), drifted, other)) == [
        {
            "namespace": "shop",
            "name": "nameless",
            "id": "id-nameless",
            "targets": [target("local", "", "Held", run="", since="")],
        },
        {
            "namespace": "shop",
            "name": "orders-db",
            "id": "id-orders-db",
            "targets": [
                target("cluster", "shop/orders-db", "InSync"),
                target("local", "shop/orders-db", "Drifted"),
            ],
        },
    ]


def target(sink: str, address: str, state: str, *, run: str = RUN, since: str = "2026-11-24T00:10:01Z"):
    return {
        "sink": sink,
        "address": address,
        "rule": "files",
        "state": state,
        "run": run,
        "revision": "r1",
        "since": since,
        "reason": "because",
    }


def test_what_failed_says_why_in_place_of_the_reason():
    failed = report(entry("create", error="the disk is full"))
    assert plan_data(failed)["changes"][0]["reason"] == "the disk is full"
    assert status_data(failed)[0]["targets"][0]["reason"] == "the disk is full"
    assert "create failed" in plan_text(failed, verbose=False)
    assert "1 failed" in once_text(failed, verbose=False)
    assert "created local" not in once_text(failed, verbose=False)


@pytest.mark.parametrize(
    ("run", "time"),
    [(RUN, "2026-11-24T00:10:01Z"), ("", ""), ("not-a-ulid", ""), ("7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "")],
)
def test_since_is_the_time_in_the_runs_id(run, time):
    assert since(run) == time


# --- exit codes ----------------------------------------------------------------------------


def expected_of_once(actions: tuple[str, ...], *, failed: bool) -> int:
    return 1 if failed else 4 if {"hold", "conflict"} & set(actions) else 0


def expected_of_plan(actions: tuple[str, ...], *, failed: bool) -> int:
    if failed:
        return 1
    return 3 if {"create", "update", "delete"} & set(actions) else expected_of_once(actions, failed=False)


@pytest.mark.parametrize("failed", [None, "entry", "sink"])
@pytest.mark.parametrize(
    "actions", [(), *((one,) for one in ACTIONS), *itertools.combinations(ACTIONS, 2), ACTIONS]
)
def test_exit_codes_rank_failures_changes_and_holds(actions, failed):
    entries = [entry(action, f"shop/{action}") for action in actions]
    if failed == "entry":
        entries.append(entry("update", error="it keeps changing"))
    made = report(*entries, failure="unreachable" if failed == "sink" else None)
    assert once_code(made) == expected_of_once(actions, failed=failed is not None)
    assert plan_code(made) == expected_of_plan(actions, failed=failed is not None)


# --- text ----------------------------------------------------------------------------------


def test_a_plan_is_a_line_for_each_change_and_a_summary():
    made = report(entry("create", keys=(ADDED, CHANGED, REMOVED)), entry("keep", "shop/a"))
    assert plan_text(made, verbose=False).splitlines() == [
        "-" * 76,
        "  ACTION  ADDRESS               INSTALLATION    REASON   KEYS",
        "-" * 76,
        "  create  local:shop/orders-db  shop/orders-db  because  +host ~port -user",
        "1 create, 0 update, 1 keep, 0 delete, 0 conflict, 0 hold",
    ]


def test_what_is_in_sync_is_listed_on_demand_only_and_orphans_always():
    made = report(entry("keep", "shop/a"), entry("keep", "shop/b", state=State.ORPHANED))
    assert "shop/a" not in plan_text(made, verbose=False)
    assert "shop/b" in plan_text(made, verbose=False)
    assert "shop/a" in plan_text(made, verbose=True)
    assert "shop/a" in once_text(made, verbose=True)


def test_once_ends_with_what_was_written_where():
    made = report(
        entry("create"),
        entry("delete", "shop/b"),
        entry("update", "shop/c"),
        entry("hold", "shop/d", reason="output 'x' is lost"),
        entry("keep", "shop/e"),
    )
    lines = once_text(made, verbose=False).splitlines()
    assert "output 'x' is lost" in lines[3]
    assert lines[4:] == [
        "",
        "deleted local:shop/b (shop/b)",
        "updated local:shop/c (shop/c)",
        "created local:shop/orders-db (shop/orders-db)",
        "1 created, 1 updated, 1 deleted, 1 unchanged, 0 in conflict, 1 held, 0 failed",
    ]


@pytest.mark.parametrize("text", [gc_text, lambda made: plan_text(made, verbose=False)])
def test_held_deletions_say_how_to_release_them(text):
    made = report(entry("hold", "shop/a", reason="too many"), held="3f2a")
    assert "syncer gc --approve 3f2a" in text(made)
    assert "syncer gc --approve 3f2a" in once_text(made, verbose=False)
    assert "--approve" not in text(report(entry("hold", "shop/a")))


def test_gc_is_about_deletions_holds_and_orphans():
    made = collected(
        report(
            entry("delete", "shop/a"),
            entry("keep", "shop/b", state=State.ORPHANED),
            entry("hold", "shop/c"),
            entry("keep", "shop/d"),
            entry("conflict", "shop/e"),
            held="3f2a",
        )
    )
    assert [one["address"] for one in gc_data(made)["changes"]] == ["shop/a", "shop/b", "shop/c"]
    assert gc_data(made)["held"] == [{"sink": "local", "hash": "3f2a"}]
    assert "1 to delete, 1 held, 1 orphaned" in gc_text(made)
    assert "syncer gc --prune" in gc_text(made)


def test_status_is_a_line_for_each_target():
    text = status_text(report(entry("keep", "shop/b"), entry("conflict", "shop/a", reason="no mark")))
    assert [line.split()[:2] for line in text.splitlines()[3:]] == [["shop", "a"], ["shop", "b"]]
    assert "Conflict" in text
    assert "no mark" in text


def test_sinks_that_could_not_be_finished_are_named():
    assert failures_text(report(failure="not reachable")) == "sink local: not reachable\n"
    assert failures_text(report()) == ""
