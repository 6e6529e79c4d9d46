"""What pages say of one another, of the tests, and of the product's own words is so.

Links lead somewhere, every page is found from the index, every threat has tests that exist, every state, alert and
reason of the product is explained. Excludes whether the explanations help, and links to other sites.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from syncer.core.changes import State
from tests.docs.pages import PAGES, ROOT, anchors, links, name_of, prose, rows_after, spans
from tests.docs.reasons import Reason, reasons

DOCS = ROOT / "docs"
INDEX = DOCS / "README.md"
OPERATIONS, SECURITY = DOCS / "operations.md", DOCS / "security.md"
DEFINED = re.compile(r"def (test_\w+)")
LONG_ENOUGH = 40  # characters of a reason that tell it from any other


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    own = [link for link in links(page) if "://" not in link]
    assert [link for link in own if not leads_somewhere(page, link)] == []


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


def test_a_link_that_leads_nowhere_would_be_found() -> None:
    assert leads_somewhere(INDEX, "operations.md#states")
    assert not leads_somewhere(INDEX, "operations.md#no-such-heading")
    assert not leads_somewhere(INDEX, "no-such-page.md")


def test_every_page_is_in_the_index() -> None:
    listed = {(DOCS / link.partition("#")[0]).resolve() for link in links(INDEX)}
    assert {page for page in DOCS.glob("*.md") if page != INDEX} - listed == set()


# --- security.md


def threats() -> list[str]:
    return [row[0] for row in rows_after(SECURITY, "## Threats")]


def shown_by() -> dict[str, list[str]]:
    return {row[0]: spans(row[1]) for row in rows_after(SECURITY, "### Which test shows it")}


def test_every_threat_has_an_id_of_its_own_and_tests() -> None:
    assert threats() == [f"T{number}" for number in range(1, len(threats()) + 1)]
    assert list(shown_by()) == threats()
    assert all(shown_by().values())


def test_the_tests_of_the_threats_exist() -> None:
    files = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "backends" / "testing").glob("*.py")]
    defined = {name for path in files for name in DEFINED.findall(path.read_text())}
    assert {name for names in shown_by().values() for name in names} - defined == set()


def test_the_three_questions_of_the_proposal_are_answered() -> None:
    asked = {"who-may-read-outputs-and-what-is-the-role-of-rbac", "how-are-sensitive-outputs-handled"}
    carried = {"can-services-be-used-that-move-kubernetes-secrets-into-external-stores"}
    assert asked | carried <= anchors(SECURITY)


# --- operations.md


def test_every_state_is_explained() -> None:
    assert {row[0] for row in rows_after(OPERATIONS, "## States")} == {state.value for state in State}


def test_every_alert_has_a_way_out() -> None:
    rules = yaml.safe_load((ROOT / "dashboards" / "alerts.yaml").read_text())["groups"]
    alerts = {
        re.sub(r"^PorterOutputs(Syncer)?", "", rule["alert"]) for group in rules for rule in group["rules"]
    }
    assert {alert.lower() for alert in alerts} <= anchors(OPERATIONS)


def explained() -> str:
    """All that stands in backticks, a line's end read as a blank."""
    return "\n".join(spans(prose(OPERATIONS)))


@pytest.mark.parametrize("reason", reasons(), ids=lambda reason: reason.place)
def test_every_reason_of_the_product_is_explained(reason: Reason) -> None:
    assert reason.longest[:LONG_ENOUGH] in explained()


def test_reasons_are_found_where_they_are_said() -> None:
    said = {reason.longest for reason in reasons()}
    assert {"unreadable mark", "it is changing while it is read", "several want this address"} <= said
    assert "newer outputs or another layout" not in said
