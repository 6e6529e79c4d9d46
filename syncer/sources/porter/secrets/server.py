"""What the stores behind a server have in common: a client that logs in, and what `doctor` says of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Final, Self

from backends.contract import Finding, FindingLevel
from backends.errors import SinkError
from syncer.core.errors import SourceError, SourceUnavailable

NOBODYS_KEY: Final = "no-such-run-no-such-output"
"""A key that names nothing: whoever may read is told so."""

_SUBJECT: Final = "Porter secrets"


class ServerStore(ABC):
    """Base of a `core.ports.ValueResolver`; `where` says for people which store it is.

    An async context manager: entering it logs in, and raises `SourceUnavailable`.
    """

    def __init__(self, client: AbstractAsyncContextManager[object], where: str) -> None:
        self._login = client
        self._where = where
        self._exits = AsyncExitStack()

    async def check(self) -> tuple[Finding, ...]:
        try:
            problem = await self._problem()
        except SourceError as error:
            problem = error.reason
        if problem is None:
            return (Finding(level=FindingLevel.OK, subject=_SUBJECT, detail=self._where),)
        detail = f"{self._where}: {problem}"
        return (Finding(level=FindingLevel.ERROR, subject=_SUBJECT, detail=detail),)

    @abstractmethod
    async def _problem(self) -> str | None:
        """Why values cannot be read, found out by reading. May raise `SourceError`, too."""

    async def __aenter__(self) -> Self:
        try:
            await self._exits.enter_async_context(self._login)
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
