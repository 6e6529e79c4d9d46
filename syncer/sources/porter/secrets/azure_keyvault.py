"""Porter's `azure.keyvault` plugin: one secret for each value, named by the cleaned key.

Cleaning is Porter's and loses information: two keys may mean one secret. Where two keys that are
asked for do, neither is resolved; where the other one is not asked for, the digest tells whose bytes
they are. Porter first takes a key with a `/` for the address of any secret; here it never is.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final

from backends.clients.azure import KeyVaultClient
from backends.clients.azure_errors import SecretDisabled
from backends.clients.azure_options import AzureOptions
from backends.clients.concurrency import for_each
from backends.errors import SinkError
from backends.secret_value import SecretValue
from syncer.core.errors import SourceUnavailable
from syncer.sources.porter.secrets.server import NOBODYS_KEY, ServerStore

_ABSENT: Final = "not in the store"
_LONGEST: Final = 127
_KEPT: Final = 94
"""Characters of a longer key that stay in front of its digest."""


def secret_name(key: str) -> str:
    """The name Porter's plugin gives the secret of a key."""
    name = re.sub("[^0-9a-zA-Z-]", "-", key)
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.md5(key.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
    return f"{name[:_KEPT]}-{digest.upper()}"


class AzureKeyVaultSecrets(ServerStore):
    """`core.ports.ValueResolver` over the secrets of the plugin's vault."""

    def __init__(self, options: AzureOptions) -> None:
        self._client = KeyVaultClient(options)
        super().__init__(self._client, f"key vault {options.vault_url}")

    async def _problem(self) -> str | None:
        await self.resolve((NOBODYS_KEY,))
        return None

    async def resolve(self, keys: Collection[str]) -> Mapping[str, SecretValue | str]:
        names = {key: secret_name(key) for key in dict.fromkeys(keys)}
        uses = Counter(name.lower() for name in names.values())
        answers: dict[str, SecretValue | str] = {}

        async def resolve_one(key: str) -> None:
            name = names[key]
            if uses[name.lower()] > 1:
                answers[key] = f"its secret {name!r} is that of another key too"
            else:
                answers[key] = await self._read(name) if name else _ABSENT

        await for_each(names, resolve_one)
        return answers

    async def _read(self, name: str) -> SecretValue | str:
        try:
            secret = await self._client.get(name)
        except SecretDisabled:
            return "its secret is disabled"
        except SinkError as error:
            raise SourceUnavailable(error.reason) from None
        return _ABSENT if secret is None or secret.value is None else secret.value
