"""Secrets in the configuration: never literals, but the name of a variable or of a file.

Resolved while the file is validated, so that a missing variable is reported with its line,
together with everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    GetCoreSchemaHandler,
    StrictStr,
    Tag,
    ValidationInfo,
)
from pydantic_core import CoreSchema, core_schema

from backends.clients.surroundings import Surroundings
from backends.secret_value import SecretValue

MAX_BYTES: Final = 64 * 1024


class _Reference(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class EnvReference(_Reference):
    """A value in an environment variable."""

    env: StrictStr
    """Name of the environment variable. It has to be set, and not empty."""


class FileReference(_Reference):
    """A value in a file."""

    file: Path
    """Path of the file, relative to the configuration file's folder. A newline at its end is dropped."""


def _form(given: object) -> str | None:
    if isinstance(given, str):
        return "a-literal"
    if isinstance(given, dict) and len(given.keys() & {"env", "file"}) == 1:
        return "an-env-reference" if "env" in given else "a-file-reference"
    return None


_Text = Annotated[
    Annotated[StrictStr, Tag("a-literal")]
    | Annotated[EnvReference, Tag("an-env-reference")]
    | Annotated[FileReference, Tag("a-file-reference")],
    Discriminator(
        _form,
        custom_error_type="reference",
        custom_error_message="should be text without a secret in it, {env: NAME} or {file: PATH}",
    ),
]


@dataclass(frozen=True, slots=True)
class SecretSetting:
    """Annotation of a `SecretValue` field that is given as text, `{env: NAME}` or `{file: PATH}`."""

    check: Callable[[str, bool], None]
    """Gets the text, and whether it stands literally in the file; raises `ValueError`."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_after_validator_function(self._resolve, handler.generate_schema(_Text))

    def _resolve(self, given: str | EnvReference | FileReference, info: ValidationInfo) -> SecretValue:
        surroundings = info.context
        assert isinstance(surroundings, Surroundings)
        match given:
            case EnvReference():
                text = _from_environment(given.env, surroundings)
            case FileReference():
                text = _from_file(surroundings.locate(given.file))
            case _:
                text = given
        self.check(text, isinstance(given, str))
        return SecretValue(text.encode())


def _from_environment(name: str, surroundings: Surroundings) -> str:
    text = surroundings.environ.get(name, "")
    if not text:
        raise ValueError(
            f"the environment variable {name} is {'empty' if name in surroundings.environ else 'not set'}"
        )
    return text


def _from_file(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ValueError(f"{path} is empty")
    return text


NOT_LITERAL: Final = "secrets are never literals in the file: use {env: NAME} or {file: PATH}"


def _not_literal(_: str, literal: bool) -> None:  # noqa: FBT001  # the signature of SecretSetting.check
    if literal:
        raise ValueError(NOT_LITERAL)


Credential = Annotated[SecretValue, SecretSetting(_not_literal)]
"""A secret of ours: `{env: NAME}` or `{file: PATH}`, never text in the file."""
