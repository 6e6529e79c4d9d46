"""Porter's `kubernetes.secrets` plugin: one Secret for each value, named by the sanitised key.

Sanitising is Porter's and loses information: two keys may mean one Secret. Where two keys
that are asked for do, neither is resolved; where the other one is not asked for, the digest
tells whose bytes they are.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final

from backends.clients.concurrency import for_each
from backends.clients.kubernetes import KubernetesClient, resource_path
from backends.clients.kubernetes_options import KubernetesOptions
from backends.errors import SinkError
from backends.secret_value import SecretValue
from syncer.core.errors import SourceUnavailable
from syncer.sources.porter.secrets.server import ServerStore

_ABSENT: Final = "not in the store"
_DATA_KEY: Final = "value"
_LEGAL: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def secret_name(key: str) -> str:
    """The name Porter's plugin gives the Secret of a key; not always a legal one."""
    name = key.lower()
    if name and not _alphanumeric(name[0]):
        name = f"000{name[1:]}"
    if name and not _alphanumeric(name[-1]):
        name = f"{name[:-1]}000"
    return re.sub("[^a-z0-9.-]+", "-", name)


class KubernetesSecrets(ServerStore):
    """`core.ports.ValueResolver` over the Secrets of the plugin's namespace."""

    def __init__(self, options: KubernetesOptions, *, namespace: str) -> None:
        self._client = KubernetesClient(options)
        self._namespace = namespace
        super().__init__(self._client, f"Secrets in namespace {namespace!r}")

    async def _problem(self) -> str | None:
        try:
            allowed = await self._client.review_access(
                verb="get", resource="secrets", namespace=self._namespace
            )
        except SinkError as error:
            return error.reason
        return None if allowed else "may not be read"

    async def resolve(self, keys: Collection[str]) -> Mapping[str, SecretValue | str]:
        names = {key: secret_name(key) for key in dict.fromkeys(keys)}
        uses = Counter(names.values())
        answers: dict[str, SecretValue | str] = {}

        async def resolve_one(key: str) -> None:
            name = names[key]
            if uses[name] > 1:
                answers[key] = f"its Secret {name!r} is that of another key too"
            elif _LEGAL.fullmatch(name) is None:
                answers[key] = _ABSENT
            else:
                answers[key] = await self._read(name)

        await for_each(names, resolve_one)
        return answers

    async def _read(self, name: str) -> SecretValue | str:
        path = resource_path("secrets", namespace=self._namespace, name=name)
        try:
            secret = await self._client.get(path)
        except SinkError as error:
            raise SourceUnavailable(error.reason) from None
        return _ABSENT if secret is None else _value(secret)


def _value(secret: Mapping[str, object]) -> SecretValue | str:
    data = secret.get("data")
    encoded = data.get(_DATA_KEY) if isinstance(data, Mapping) else None
    if not isinstance(encoded, str):
        return f"its Secret has no {_DATA_KEY!r}"
    try:
        return SecretValue(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError):
        return "its Secret cannot be read"


def _alphanumeric(character: str) -> bool:
    return re.fullmatch("[a-z0-9]", character) is not None
