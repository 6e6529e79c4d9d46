"""`syncer installations outputs list` and `show`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from syncer.cli.errors import FAILED, OK, CommandFailed, UsageError
from syncer.cli.fetching import Wanted, fetch_as_porter, fetch_one, fetch_selected
from syncer.cli.formats import shaped
from syncer.cli.listing import ShownOutput, masked, of_porter, outputs_data, outputs_text
from syncer.cli.options import (
    Common,
    InstallationOption,
    Namespace,
    Output,
    PorterSemantics,
    RunOption,
    switch,
)
from syncer.cli.session import begin, wait_for, write
from syncer.config.model import Config
from syncer.sources.porter.compat import outputs_json


def outputs_list(
    name: Annotated[str | None, Parameter(name="NAME", help="The installation.")] = None,
    /,
    *,
    installation: InstallationOption = None,
    run: RunOption = None,
    namespace: Namespace = "",
    show_sensitive: Annotated[bool, switch("Print sensitive values, too.")] = False,
    porter_semantics: PorterSemantics = False,
    common: Common = Common(),
    output: Output = "plaintext",
) -> int:
    """List the latest successful outputs of an installation, or those of one run."""
    if name and installation:
        raise UsageError("give the installation once: NAME or --installation")
    wanted = _wanted(name or installation, run, namespace)
    config = begin(common)
    if porter_semantics:
        _print_as_porter(config, wanted, output, show_sensitive=show_sensitive)
        return OK
    rows = wait_for(fetch_selected(config, wanted, show_sensitive=show_sensitive))
    write(shaped(output, lambda: outputs_data(rows), lambda: outputs_text(rows)))
    return FAILED if any(row.reason for row in rows) else OK


def outputs_show(
    output: Annotated[str, Parameter(name="OUTPUT", help="The output.")],
    /,
    *,
    installation: InstallationOption = None,
    run: RunOption = None,
    namespace: Namespace = "",
    porter_semantics: PorterSemantics = False,
    common: Common = Common(),
) -> None:
    """Print one output's value as it is, sensitive or not, without a newline at its end."""
    wanted = _wanted(installation, run, namespace)
    config = begin(common)
    if porter_semantics:
        rows = wait_for(fetch_as_porter(config, wanted))
        values = {row.name: row.value for row in rows if row.value is not None}
        if output not in values:
            raise CommandFailed(f"{wanted}: there is no output {output!r}")
        write(values[output].reveal())
        return
    write(wait_for(fetch_one(config, wanted, output)).reveal())


def _wanted(name: str | None, run: str | None, namespace: str) -> Wanted:
    run = None if run == "latest" else run
    if name is None and run is None:
        raise UsageError("give an installation (-i NAME) or a run (-r ID)")
    return Wanted(namespace=namespace, name=name, run_id=run)


def _print_as_porter(config: Config, wanted: Wanted, output: Output, *, show_sensitive: bool) -> None:
    rows = wait_for(fetch_as_porter(config, wanted))
    shown = rows if show_sensitive else [masked(row) for row in rows]
    visible = [
        ShownOutput(name=row.name, type=row.type, sensitive=row.sensitive, value=row.value) for row in shown
    ]
    write(of_porter(output, outputs_json(shown), lambda: outputs_text(visible)))
