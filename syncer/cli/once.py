"""`syncer once`: one full pass."""

from __future__ import annotations

from syncer.cli.formats import shaped
from syncer.cli.options import Common, Output
from syncer.cli.rendering import once_code, once_text, plan_data
from syncer.cli.session import begin, perform, write
from syncer.engine.reconciler import Mode


def once(*, common: Common = Common(), output: Output = "plaintext") -> int:
    """Make one full pass."""
    report = perform(begin(common), Mode(apply=True))
    write(shaped(output, lambda: plan_data(report), lambda: once_text(report, verbose=common.verbose)))
    return once_code(report)
