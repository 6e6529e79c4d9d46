"""`syncer gc`: what is no longer wanted, and the way to release a held set."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from syncer.cli.formats import shaped
from syncer.cli.options import Common, Output, switch
from syncer.cli.rendering import collected, gc_data, gc_text, once_code, once_text, plan_code
from syncer.cli.session import begin, perform, write
from syncer.engine.reconciler import Mode


def gc(
    *,
    approve: Annotated[
        tuple[str, ...],
        Parameter(negative=(), help="Release the held set of this hash, exactly as it was listed."),
    ] = (),
    prune: Annotated[bool, switch("Also delete what the configuration no longer asks for.")] = False,
    common: Common = Common(),
    output: Output = "plaintext",
) -> int:
    """Show what is no longer wanted; with `approve` or `prune`, delete it."""
    apply = prune or bool(approve)
    mode = Mode(apply=apply, approved=frozenset(approve), prune=prune, deletions_only=True)
    report = collected(perform(begin(common), mode))
    if not apply:
        write(shaped(output, lambda: gc_data(report), lambda: gc_text(report)))
        return plan_code(report)
    write(shaped(output, lambda: gc_data(report), lambda: once_text(report, verbose=common.verbose)))
    return once_code(report)
