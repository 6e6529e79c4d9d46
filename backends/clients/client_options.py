"""What the options of every client have in common."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

_DURATION: Final = re.compile(r"(?P<count>[0-9]+(?:\.[0-9]+)?)(?P<unit>ms|s|m)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}


def _seconds(text: object) -> object:
    if not isinstance(text, str):
        return text
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("should be a duration such as 30s, 500ms or 1m")
    return float(match["count"]) * _SECONDS[match["unit"]]


Timeout = Annotated[float, BeforeValidator(_seconds), Field(gt=0, le=600)]


class ClientOptions(BaseModel):
    """Settings in camelCase; unknown ones are refused."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        arbitrary_types_allowed=True,
        use_attribute_docstrings=True,
    )


class ServerOptions(ClientOptions):
    """Settings of whatever sends requests."""

    request_timeout: Timeout = 30.0
    """Seconds one request may take, answer included; written as `30s`. Then it has failed."""
