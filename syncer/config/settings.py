"""What all models of the configuration file are made of: their base, and names that many settings are."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StrictStr
from pydantic.alias_generators import to_camel

_NAME_PATTERN: Final = r"^[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$"
_DNS_LABEL_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"

Name = Annotated[StrictStr, Field(pattern=_NAME_PATTERN)]
DnsLabel = Annotated[StrictStr, Field(pattern=_DNS_LABEL_PATTERN)]
Text = Annotated[StrictStr, Field(min_length=1)]


class Settings(BaseModel):
    """Base of everything that can be written in the file."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        use_attribute_docstrings=True,
        arbitrary_types_allowed=True,
    )
