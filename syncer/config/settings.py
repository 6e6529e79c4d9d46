"""What all models of the configuration file are made of: their base, and names that many settings are."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr
from pydantic.alias_generators import to_camel

_NAME_PATTERN: Final = r"^[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$"
_DNS_LABEL_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"


def glob(pattern: str) -> str:
    """The same. Raises `ValueError` for one with a bracket that is not closed."""
    start = pattern.find("[")
    while start >= 0:
        # As fnmatch reads it: a "]" right after the "[" or "[!" is one of the characters.
        first = start + (2 if pattern.startswith("[!", start) else 1)
        end = pattern.find("]", first + 1 if pattern.startswith("]", first) else first)
        if end < 0:
            raise ValueError("has a '[' that is not closed (a literal one is '[[]')")
        start = pattern.find("[", end)
    return pattern


Name = Annotated[StrictStr, Field(pattern=_NAME_PATTERN)]
DnsLabel = Annotated[StrictStr, Field(pattern=_DNS_LABEL_PATTERN)]
Text = Annotated[StrictStr, Field(min_length=1)]
Glob = Annotated[Text, AfterValidator(glob)]
GlobOrEmpty = Annotated[StrictStr, AfterValidator(glob)]


class Settings(BaseModel):
    """Base of everything that can be written in the file."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        use_attribute_docstrings=True,
        arbitrary_types_allowed=True,
    )


class MatchSettings(Settings):
    """Which installations a rule is for; all that is given has to agree."""

    namespaces: Annotated[tuple[GlobOrEmpty, ...], Field(min_length=1)] = ("*",)
    """Globs of Porter namespaces; "" is the global one. Default: all."""
    installations: Annotated[tuple[Glob, ...], Field(min_length=1)] = ("*",)
    """Globs of installation names. Default: all."""
    labels: dict[StrictStr, StrictStr] = Field(default_factory=dict)
    """Labels that the installation must have in Porter, with exactly these values. Default: any."""
