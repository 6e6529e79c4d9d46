"""What a configuration file is read in: its folder, and the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Given to everything that resolves a path or a reference; also pydantic's context."""

    folder: Path
    """Where the file is; relative paths start here."""
    environ: Mapping[str, str] = field(repr=False)
    located: set[Path] = field(default_factory=set, compare=False)
    """Every path that was asked for."""

    def locate(self, path: Path) -> Path:
        """The absolute path a setting means, `~` expanded. Raises `ValueError`."""
        found = self._absolute(path)
        self.located.add(found)
        return found

    def _absolute(self, path: Path) -> Path:
        first, *rest = path.parts or (".",)
        if first != "~":
            return self.folder / path
        if not self.environ.get("HOME"):
            raise ValueError("~ cannot be expanded: the environment variable HOME is not set")
        return Path(self.environ["HOME"], *rest)
