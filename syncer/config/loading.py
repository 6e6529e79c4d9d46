"""Loads a configuration file. The only module that reads the process's environment.

All mistakes of a file are found in one go: the schema, the kinds of sinks and the checks each
look at the whole document before anything is raised.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from backends.clients.surroundings import Surroundings
from backends.loading import find_kind
from syncer.config.building import build_config
from syncer.config.checks import check_addresses, check_rule_names
from syncer.config.custom_resources import check_custom_resources
from syncer.config.document import MAX_BYTES, parse_document
from syncer.config.errors import ConfigError, Problem
from syncer.config.kinds import FindKind, anchored, check_sinks, check_targets
from syncer.config.model import Config
from syncer.config.schema import ConfigFile
from syncer.config.validation import validate


def config_path_from_environment() -> Path:
    """The configuration file that is meant where none is named."""
    return Path(os.environ.get("SYNCER_CONFIG") or "syncer.yaml")  # noqa: TID251  # the one place that reads it


def load_config_from_environment(path: Path) -> Config:
    """`load_config` with the environment of this process."""
    return load_config(path, os.environ)  # noqa: TID251  # the one place that reads it


def load_config(path: Path, environ: Mapping[str, str], kinds: FindKind = find_kind) -> Config:
    """Read, check and resolve a configuration file. Raises `ConfigError`."""
    surroundings = Surroundings(folder=path.absolute().parent, environ=environ)
    document = parse_document(_read(path), str(path), surroundings)
    file = validate(ConfigFile, document.data, (), document)
    if file is not None:
        file = anchored(file, (), document)
    sinks = check_sinks(document, kinds)
    targets = check_targets(document, sinks)
    resources = check_custom_resources(document, sinks, kinds)
    check_rule_names(document)
    check_addresses(document, targets)
    document.raise_problems()
    assert file is not None
    return build_config(path.absolute(), file, sinks, targets, surroundings, resources=resources)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        problem = Problem(
            file=str(path), line=None, field="", message=f"cannot be read: {error.strerror or 'bad name'}"
        )
        raise ConfigError([problem]) from None
