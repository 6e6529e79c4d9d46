"""`syncer installations list`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from syncer.app import open_source
from syncer.cli.errors import UsageError
from syncer.cli.listing import installations_text, of_porter
from syncer.cli.options import Common, Namespace, Output, PorterSemantics, switch
from syncer.cli.session import begin, wait_for, write
from syncer.config.model import Config
from syncer.core.rows import InstallationFilter, InstallationRow
from syncer.sources.porter.compat import installations_json
from syncer.sources.porter.listing import list_installations


def installations_list(
    *,
    namespace: Namespace = "",
    all_namespaces: Annotated[bool, switch("Of every namespace.")] = False,
    label: Annotated[
        tuple[str, ...],
        Parameter(
            name=("--label", "-l"), negative=(), help="Only those with the label KEY=VALUE; may be repeated."
        ),
    ] = (),
    name: Annotated[str | None, Parameter(help="Only those whose name contains this.")] = None,
    skip: Annotated[int, Parameter(help="Leave out the first so many.")] = 0,
    limit: Annotated[int, Parameter(help="Print at most so many; 0 is all.")] = 0,
    porter_semantics: PorterSemantics = False,  # noqa: ARG001  # the same list either way
    common: Common = Common(),
    output: Output = "plaintext",
) -> None:
    """List installations, newest change first."""
    if skip < 0 or limit < 0:
        raise UsageError("--skip and --limit are counted from 0")
    wanted = InstallationFilter(
        namespace=None if all_namespaces else namespace, name=name, labels=dict(map(_label, label))
    )
    rows = wait_for(_rows(begin(common), wanted))
    rows = rows[skip : skip + limit if limit else None]
    now = time.time() if sys.stdout.isatty() else None
    write(of_porter(output, installations_json(rows), lambda: installations_text(rows, now)))


async def _rows(config: Config, wanted: InstallationFilter) -> Sequence[InstallationRow]:
    async with open_source(config) as source:
        return await list_installations(source.store, wanted)


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError("--label is KEY=VALUE")
    return name, value
