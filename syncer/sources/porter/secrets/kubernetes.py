"""Porter's `kubernetes.secrets` plugin: one Secret for each value, named by the sanitised key.

Sanitising is Porter's and loses information: two keys may mean one Secret. Where two keys
that are asked for do, neither is resolved; where the other one is not asked for, the digest
tells whose bytes they are.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

from backends.clients.kubernetes import KubernetesClient, resource_path
from backends.clients.kubernetes_options import KubernetesOptions
from backends.contract import Finding, FindingLevel
from backends.errors import SinkError
from backends.secret_value import SecretValue
from syncer.core.errors import SourceError, SourceUnavailable

_ABSENT: Final = "not in the store"
_DATA_KEY: Final = "value"
_IN_FLIGHT: Final = 16
_LEGAL: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SUBJECT: Final = "Porter secrets"


def secret_name(key: str) -> str:
    """The name Porter's plugin gives the Secret of a key; not always a legal one."""
    name = key.lower()
    if name and not _alphanumeric(name[0]):
        name = f"000{name[1:]}"
    if name and not _alphanumeric(name[-1]):
        name = f"{name[:-1]}000"
    return re.sub("[^a-z0-9.-]+", "-", name)


class KubernetesSecrets:
    """`core.ports.ValueResolver` over the Secrets of the plugin's namespace.

    An async context manager: entering it logs in, and raises `SourceUnavailable`.
    """

    def __init__(self, options: KubernetesOptions, *, namespace: str) -> None:
        self._client = KubernetesClient(options)
        self._namespace = namespace
        self._exits = AsyncExitStack()

    async def check(self) -> tuple[Finding, ...]:
        where = f"Secrets in namespace {self._namespace!r}"
        try:
            allowed = await self._client.review_access(
                verb="get", resource="secrets", namespace=self._namespace
            )
        except SinkError as error:
            return (Finding(level=FindingLevel.ERROR, subject=_SUBJECT, detail=f"{where}: {error.reason}"),)
        if not allowed:
            return (Finding(level=FindingLevel.ERROR, subject=_SUBJECT, detail=f"{where}: may not be read"),)
        return (Finding(level=FindingLevel.OK, subject=_SUBJECT, detail=where),)

    async def resolve(self, keys: Collection[str]) -> Mapping[str, SecretValue | str]:
        names = {key: secret_name(key) for key in dict.fromkeys(keys)}
        uses = Counter(names.values())
        answers: dict[str, SecretValue | str] = {}
        slots = asyncio.Semaphore(_IN_FLIGHT)

        async def resolve_one(key: str, name: str) -> None:
            async with slots:
                answers[key] = await self._read(name)

        try:
            async with asyncio.TaskGroup() as tasks:
                for key, name in names.items():
                    if uses[name] > 1:
                        answers[key] = f"its Secret {name!r} is that of another key too"
                    elif _LEGAL.fullmatch(name) is None:
                        answers[key] = _ABSENT
                    else:
                        tasks.create_task(resolve_one(key, name))
        except* SourceError as group:
            raise _first(group) from None
        return answers

    async def __aenter__(self) -> Self:
        try:
            await self._exits.enter_async_context(self._client)
        except SinkError as error:
            raise SourceUnavailable(f"Porter's secrets: {error.reason}") from None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._exits.aclose()

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


def _first(group: BaseExceptionGroup[SourceError]) -> SourceError:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an exception group is never empty")


def _alphanumeric(character: str) -> bool:
    return re.fullmatch("[a-z0-9]", character) is not None
