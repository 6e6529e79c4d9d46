"""What a resource is to tell of an installation beside the values: the attribute `description`. Pure.

It comes as JSON text that the engine made. Only names are in it, no value. A secret without it, such as
those of the contract suite, is described by its own data.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, StrictBool, StrictStr, ValidationError

from backends.contract import DesiredSecret
from backends.errors import Refused

ATTRIBUTE: Final = "description"


class _Described(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class SecretPlace(_Described):
    """Where the whole value of an output is."""

    address: StrictStr
    """`namespace/name` of a Secret."""
    key: StrictStr


class DescribedOutput(_Described):
    """One output of the installation."""

    name: StrictStr
    type: StrictStr = ""
    sensitive: StrictBool = True
    """NB: what does not say counts as sensitive."""
    secret: SecretPlace | None = None


class Description(_Described):
    """An installation's outputs, and the run they are of."""

    run: StrictStr
    result: StrictStr = ""
    action: StrictStr = ""
    outputs: tuple[DescribedOutput, ...]
    binding: StrictStr | None = None
    """`namespace/name` of the Secret to bind to."""
    sinks: tuple[StrictStr, ...] = ()
    """The sinks that the outputs go to."""


def description_of(desired: DesiredSecret) -> Description:
    """Raises `Refused` where the attribute is no description."""
    text = desired.attributes.get(ATTRIBUTE)
    if text is None:
        plain = (DescribedOutput(name=name, type="string", sensitive=False) for name in sorted(desired.data))
        return Description(run=desired.mark.run_id, result=desired.mark.result_id, outputs=tuple(plain))
    try:
        return Description.model_validate_json(text)
    except ValidationError:
        raise Refused(f"{desired.address}: its description cannot be read") from None
