"""`syncer status`: how every installation stands at every target."""

from __future__ import annotations

from syncer.cli.errors import FAILED, OK
from syncer.cli.formats import shaped
from syncer.cli.options import Common, Output
from syncer.cli.rendering import status_data, status_text
from syncer.cli.session import begin, perform, write
from syncer.engine.reconciler import Mode


def status(*, common: Common = Common(), output: Output = "plaintext") -> int:
    """Show how every installation stands at every target."""
    report = perform(begin(common), Mode(apply=False))
    write(shaped(output, lambda: status_data(report), lambda: status_text(report)))
    return FAILED if report.failed else OK
