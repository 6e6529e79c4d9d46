"""The bad-input catalogue is covered whole: a row without a test fails the suite.

Rows 45 and 46 (custom resources) and 48 to 52 (gRPC) join when there is something to feed them to.
"""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent.parent
MARK = re.compile(r"mark\.bad_input\(([\d, ]+)\)")
NOT_BUILT = {45, 46}
ROWS = set(range(1, 48)) - NOT_BUILT


def test_every_row_has_a_test() -> None:
    text = "".join(path.read_text() for path in TESTS.rglob("test_*.py"))
    named = {int(number) for found in MARK.findall(text) for number in found.split(",")}
    assert not sorted(ROWS - named)


def test_no_test_names_a_row_that_does_not_exist() -> None:
    text = "".join(path.read_text() for path in TESTS.rglob("test_*.py"))
    named = {int(number) for found in MARK.findall(text) for number in found.split(",")}
    assert not sorted(named - ROWS)
