"""The one login to Vault or OpenBao: requests by path, with a token that is kept good.

Knows no secrets engine, and retries nothing but a request whose token was no longer good, since
whoever calls knows better what may be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from backends.clients.vault_errors import Answer, Call, Json, refusal
from backends.clients.vault_login import Login
from backends.clients.vault_options import VaultOptions
from backends.clients.vault_transport import THREADS, Transport
from backends.errors import Forbidden, SinkError


class VaultClient:
    """An async context manager; entering it logs in, and may be tried again. Methods raise `SinkError`s only.

    Answers are of success, of absence (`Answer.absent`) or of a failed check-and-set
    (`Answer.cas_failed`); any other is raised. Paths are below `/v1/`, and quoted here.
    """

    def __init__(self, options: VaultOptions, *, threads: int = THREADS) -> None:
        self._options, self._threads = options, threads
        self._transport: Transport
        self._login: Login

    async def __aenter__(self) -> Self:
        self._transport = Transport(self._options, threads=self._threads)
        self._login = Login(self._options.auth, self._transport)
        try:
            await self._login.token()
        except BaseException:
            self._transport.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._login.close()
        finally:
            self._transport.close()

    async def read(self, path: str, **query: str) -> Answer:
        return await self._send(Call("GET", path, query))

    async def list(self, path: str, **query: str) -> Answer:
        return await self._send(Call("LIST", path, query))

    async def write(self, path: str, body: Json) -> Answer:
        return await self._send(Call("POST", path), body)

    async def patch(self, path: str, body: Json) -> Answer:
        """A JSON merge patch: what `body` does not name stays, what it gives as null goes."""
        return await self._send(Call("PATCH", path), body)

    async def delete(self, path: str) -> Answer:
        return await self._send(Call("DELETE", path))

    async def capabilities(self, paths: Sequence[str]) -> dict[str, frozenset[str]]:
        """What the token may do at each path, as policies call it (`read`, `list`, `sudo`, ...)."""
        answer = await self.write("sys/capabilities-self", {"paths": [*paths]})
        return {path: frozenset(map(str, answer.data.get(path) or ())) for path in paths}

    async def _send(self, call: Call, body: Json | None = None) -> Answer:
        token = await self._login.token()
        answer = await self._transport.send(call, body, token)
        failure = _failure(call, answer)
        if isinstance(failure, Forbidden) and await self._login.replaced(token):
            answer = await self._transport.send(call, body, await self._login.token())
            failure = _failure(call, answer)
        if failure is not None:
            raise failure
        return answer


def _failure(call: Call, answer: Answer) -> SinkError | None:
    if answer.succeeded or answer.absent or answer.cas_failed:
        return None
    return refusal(call, answer)
