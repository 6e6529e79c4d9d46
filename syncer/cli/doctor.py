"""`syncer doctor`: whether everything configured can be reached, with the right rights."""

from __future__ import annotations

from collections.abc import Sequence

from backends.contract import Finding, FindingLevel
from syncer.app import examine
from syncer.cli.errors import FAILED, OK
from syncer.cli.formats import Data, shaped, table
from syncer.cli.options import Common, Output
from syncer.cli.session import begin, wait_for, write

Findings = Sequence[tuple[str, tuple[Finding, ...]]]


def doctor(*, common: Common = Common(), output: Output = "plaintext") -> int:
    """Check source and sinks."""
    findings = wait_for(examine(begin(common)))
    write(shaped(output, lambda: _data(findings), lambda: _text(findings)))
    levels = {finding.level for _, found in findings for finding in found}
    return FAILED if FindingLevel.ERROR in levels else OK


def _data(findings: Findings) -> Data:
    return [
        {"of": of, "level": one.level.value, "subject": one.subject, "detail": one.detail}
        for of, found in findings
        for one in found
    ]


def _text(findings: Findings) -> str:
    rows = [(of, one.level.value, one.subject, one.detail) for of, found in findings for one in found]
    return table(("OF", "LEVEL", "SUBJECT", "DETAIL"), rows)
