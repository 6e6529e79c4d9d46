"""Porter's `hashicorp.vault` plugin: every value is a field of one KV v2 secret, one field a version.

The plugin writes the whole secret with the one field it stores, so the newest version holds only what
was stored last. The others are in earlier versions, as long as the engine keeps them (10 by default):
this resolver looks back through them, and finds what Porter itself no longer does. That it is the
right value is told by the digest, as for every other store.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping
from typing import Final

from backends.clients.concurrency import IN_FLIGHT, for_each
from backends.clients.vault import VaultClient
from backends.clients.vault_errors import Answer
from backends.clients.vault_options import VaultOptions
from backends.errors import SinkError
from backends.secret_value import SecretValue
from syncer.core.errors import SourceUnavailable
from syncer.sources.porter.secrets.server import NOBODYS_KEY, ServerStore

MOST_VERSIONS: Final = 256
"""How far back is looked for a value, at most."""

_ABSENT: Final = "not in the store, nor in the versions it keeps"


class VaultSecrets(ServerStore):
    """`core.ports.ValueResolver` over the plugin's secret.

    `path_prefix` is the plugin's: the mount, `/`, and a path in it.
    """

    def __init__(self, options: VaultOptions, *, path_prefix: str) -> None:
        self._client = VaultClient(options)
        self._mount, _, self._path = path_prefix.strip("/").partition("/")
        super().__init__(self._client, f"secret {self._path!r} of the KV engine at {self._mount!r}")

    async def _problem(self) -> str | None:
        await self.resolve((NOBODYS_KEY,))
        return None

    async def resolve(self, keys: Collection[str]) -> Mapping[str, SecretValue | str]:
        answers: dict[str, SecretValue | str] = dict.fromkeys(keys, _ABSENT)
        fields: dict[str, dict[str, str]] = {}
        for key in answers:
            folder, name = posixpath.split(key)
            fields.setdefault(f"{self._path}/{folder}", {})[name] = key
        for place, names in fields.items():
            # Vault refuses such paths, so nothing can be stored there. NB: before they are normalised
            if ".." not in place and place.isprintable():
                path = posixpath.normpath(place)
                answers |= {names[name]: value for name, value in (await self._search(path, names)).items()}
        return answers

    async def _search(self, path: str, names: Collection[str]) -> dict[str, SecretValue | str]:
        """The newest value of each field that any version has, newest versions first."""
        newest = await self._read(path)
        found = _values(newest, names)
        number = _number(newest)
        oldest = max(1, number - MOST_VERSIONS)
        while number > oldest and len(found) < len(names):
            numbers = range(number - 1, max(oldest, number - IN_FLIGHT) - 1, -1)
            older = await self._read_all(path, numbers)
            for one in numbers:
                found = _values(older[one], names) | found
            if all(_number(older[one]) == 0 for one in numbers):
                break  # no longer kept, so neither is anything before
            number = numbers[-1]
        return found

    async def _read_all(self, path: str, numbers: Collection[int]) -> dict[int, Answer]:
        found: dict[int, Answer] = {}

        async def read(number: int) -> None:
            found[number] = await self._read(path, number)

        await for_each(numbers, read)
        return found

    async def _read(self, path: str, number: int | None = None) -> Answer:
        query = {} if number is None else {"version": str(number)}
        try:
            return await self._client.read(f"{self._mount}/data/{path}", **query)
        except SinkError as error:
            raise SourceUnavailable(error.reason) from None


def _number(answer: Answer) -> int:
    """Of the version, also of one that is deleted or destroyed; 0 where there is none."""
    metadata = answer.data.get("metadata")
    number = metadata.get("version") if isinstance(metadata, Mapping) else None
    return number if isinstance(number, int) else 0


def _values(answer: Answer, names: Collection[str]) -> dict[str, SecretValue | str]:
    fields = answer.data.get("data")
    if not isinstance(fields, Mapping):
        return {}
    return {name: _value(fields[name]) for name in names if name in fields}


def _value(found: object) -> SecretValue | str:
    if not isinstance(found, str):
        return "its field in the store is no text"
    return SecretValue(found.encode("utf-8", "surrogatepass"))
