"""`syncer plan`: what `once` would do."""

from __future__ import annotations

from syncer.cli.formats import shaped
from syncer.cli.options import Common, Output
from syncer.cli.rendering import plan_code, plan_data, plan_text
from syncer.cli.session import begin, perform, write
from syncer.engine.reconciler import Mode


def plan(*, common: Common = Common(), output: Output = "plaintext") -> int:
    """Show what `once` would do."""
    report = perform(begin(common), Mode(apply=False))
    write(shaped(output, lambda: plan_data(report), lambda: plan_text(report, verbose=common.verbose)))
    return plan_code(report)
