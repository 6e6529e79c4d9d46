"""`syncer adopt`: take over secrets that somebody else wrote."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Annotated

from cyclopts import Parameter

from syncer.cli.errors import FAILED, UsageError
from syncer.cli.formats import shaped
from syncer.cli.options import Common, Output
from syncer.cli.rendering import once_code, once_text, plan_data
from syncer.cli.session import begin, perform, write
from syncer.config.model import Config
from syncer.engine.reconciler import Mode


def adopt(
    addresses: Annotated[
        tuple[str, ...], Parameter(name="ADDRESS", help="SINK:ADDRESS, as `syncer plan` prints it.")
    ],
    /,
    *,
    common: Common = Common(),
    output: Output = "plaintext",
) -> int:
    """Take over secrets at these addresses (`SINK:ADDRESS`)."""
    config = begin(common)
    wanted = _checked(config, addresses)
    found = perform(config, Mode(apply=False, only=wanted))
    if found.failed:
        return FAILED
    for entry in found.entries:
        if entry.action == "conflict":
            sys.stderr.write(f"taking over {entry.subject.address}: {entry.reason}\n")
    missing = wanted - {entry.subject.address for entry in found.entries}
    if missing:
        raise UsageError("\n".join(f"{address}: no rule wants a secret there" for address in sorted(missing)))
    report = perform(config, Mode(apply=True, only=wanted, adopt=True))
    write(shaped(output, lambda: plan_data(report), lambda: once_text(report, verbose=common.verbose)))
    return once_code(report)


def _checked(config: Config, addresses: Collection[str]) -> frozenset[str]:
    sinks = {sink.name for sink in config.sinks}
    for address in addresses:
        sink, colon, path = address.partition(":")
        if not colon or not path:
            raise UsageError(f"{address}: an address is SINK:ADDRESS, as `syncer plan` prints it")
        if sink not in sinks:
            raise UsageError(f"{address}: there is no sink {sink!r} (there are: {', '.join(sorted(sinks))})")
    return frozenset(addresses)
