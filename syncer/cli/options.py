"""Options that several commands share, as cyclopts reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

OutputFormat = Literal["plaintext", "json", "yaml"]
Level = Literal["debug", "info", "warning", "error"]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What every command takes."""

    config: Annotated[Path | None, Parameter(name=("--config", "-c"), negative=())] = None
    """Configuration file [default: $SYNCER_CONFIG, else ./syncer.yaml]"""
    log_level: Annotated[Level | None, Parameter(name="--log-level")] = None
    """Log from this level on, to standard error [default: warning; of `run`: info]"""
    verbose: Annotated[bool, Parameter(name=("--verbose", "-v"), negative=())] = False
    """Also list what is in sync."""


def switch(text: str) -> Parameter:
    """An option without a value, and without a `--no-` twin; `text` is its help."""
    return Parameter(negative=(), help=text)


Output = Annotated[OutputFormat, Parameter(name=("--output", "-o"), help="How to print the result.")]
Namespace = Annotated[
    str, Parameter(name=("--namespace", "-n"), help='Porter\'s namespace; "" is the global one.')
]
InstallationOption = Annotated[str | None, Parameter(name=("--installation", "-i"), help="The installation.")]
RunOption = Annotated[str | None, Parameter(name=("--run", "-r"), help="A run's id, or `latest`.")]
PorterSemantics = Annotated[bool, switch("Print exactly what Porter would.")]
