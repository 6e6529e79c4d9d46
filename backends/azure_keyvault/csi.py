"""What a SecretProviderClass of the Secrets Store CSI driver (Azure provider) says to mount secrets. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from backends.azure_keyvault.names import require_legal
from backends.naming import DATA_KEYS, first_legal

# What YAML takes for text without quotes; the words it takes for something else begin no name like these.
_PLAIN: Final = re.compile(r"[A-Za-z][-A-Za-z0-9]*-[-A-Za-z0-9]*[A-Za-z0-9]", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class MountedSecret:
    """One secret as a file in a pod."""

    address: str
    file_name: str | None = None
    """Made legal as the file sink does it. Default: the secret's name."""
    is_base64: bool = False
    """It holds bytes that are no text: the driver is to decode them."""


def provider_objects(secrets: Iterable[MountedSecret]) -> str:
    """The text of `parameters.objects` in the SecretProviderClass, a YAML document in itself.

    Raises `NameRefused` for what no secret or file can be called.
    """
    return "array:\n" + "".join(_item(secret) for secret in secrets)


def _item(secret: MountedSecret) -> str:
    require_legal(secret.address)
    fields = {"objectName": _scalar(secret.address), "objectType": "secret"}
    if secret.file_name is not None:
        fields["objectAlias"] = _scalar(first_legal(secret.file_name, DATA_KEYS))
    if secret.is_base64:
        fields["objectEncoding"] = "base64"
    return "  - |\n" + "".join(f"    {name}: {text}\n" for name, text in fields.items())


def _scalar(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
