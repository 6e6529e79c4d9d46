"""Porter's `host` plugin, its default: it keeps no secrets, so nothing can be resolved."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Final, Self

from backends.contract import Finding, FindingLevel
from backends.secret_value import SecretValue

_REASON: Final = "not in the store: Porter's host plugin keeps no secrets"


class NoSecretStore:
    """`core.ports.ValueResolver` that resolves nothing."""

    async def check(self) -> tuple[Finding, ...]:
        detail = "none configured: sensitive outputs cannot be resolved"
        return (Finding(level=FindingLevel.WARNING, subject="Porter secrets", detail=detail),)

    async def resolve(self, keys: Collection[str]) -> Mapping[str, SecretValue | str]:
        return dict.fromkeys(keys, _REASON)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
