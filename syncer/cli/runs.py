"""`syncer installations runs list`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from syncer.app import open_source
from syncer.cli.listing import of_porter, runs_text
from syncer.cli.options import Common, Namespace, Output, PorterSemantics
from syncer.cli.session import begin, wait_for, write
from syncer.config.model import Config
from syncer.core.model import InstallationKey
from syncer.core.rows import RunRow
from syncer.sources.porter.compat import runs_json
from syncer.sources.porter.listing import list_runs


def runs_list(
    name: Annotated[str, Parameter(name="NAME", help="The installation.")],
    /,
    *,
    namespace: Namespace = "",
    porter_semantics: PorterSemantics = False,  # noqa: ARG001  # the same list either way
    common: Common = Common(),
    output: Output = "plaintext",
) -> None:
    """List an installation's runs, last started first."""
    rows = wait_for(_rows(begin(common), InstallationKey(namespace, name)))
    now = time.time() if sys.stdout.isatty() else None
    write(of_porter(output, runs_json(rows), lambda: runs_text(rows, now)))


async def _rows(config: Config, key: InstallationKey) -> Sequence[RunRow]:
    async with open_source(config) as source:
        return await list_runs(source.store, key)
