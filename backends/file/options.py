"""What the configuration may say about this sink and its targets, and what the sink can do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, StrictStr

from backends.contract import Capabilities, Layout, TargetOptions, TargetShape
from backends.file.names import MAX_ADDRESS, MAX_NAME

CAPABILITIES: Final = Capabilities(
    compare_and_set=True,
    atomic_mark=True,
    lists_values=True,
    layouts=frozenset({Layout.BUNDLE}),
    max_secret_bytes=None,
    max_value_bytes=None,
    max_address_length=MAX_ADDRESS,
    max_key_length=MAX_NAME,
)


def _relative(template: str) -> str:
    for part in template.split("/"):
        if part in ("", ".", ".."):
            raise ValueError(f"{template!r} is not a path below the sink's folder: it has a part {part!r}")
    return template


class FileOptions(BaseModel):
    """A folder, and everything below it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    """The base folder. Made with mode 0700 by the first write; the folder it is in must exist,
    so that a disk that is not mounted is an error and never an empty sink."""


class FileTarget(TargetOptions):
    """One folder for each installation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[StrictStr, AfterValidator(_relative)] = "{namespace}/{installation}"
    """Template of the folder, below the sink's `path`."""

    def shape(self) -> TargetShape:
        return TargetShape(parts=tuple(self.path.split("/")), layout=Layout.BUNDLE)
