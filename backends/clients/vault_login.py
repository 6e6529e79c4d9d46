"""The one token of a client of Vault: got, renewed, replaced when it is refused.

One login at a time, whoever asks; a refused one is not repeated for a while, so that a revoked role
brings no storm of logins. What a login sends is `vault_transport`'s business.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, assert_never

from backends.clients.vault_errors import Answer, Call, Json, refusal, refused_login
from backends.clients.vault_options import (
    AnyAuth,
    AppRoleAuth,
    AwsAuth,
    AzureAuth,
    CertAuth,
    GcpAuth,
    JwtAuth,
    KubernetesAuth,
    LdapAuth,
    TokenAuth,
    UserpassAuth,
)
from backends.errors import AuthenticationFailed, Forbidden, SinkError, SinkUnavailable
from backends.secret_value import SecretValue

REFUSED_PAUSE: Final = 30.0
"""Seconds until a login that was refused is tried again."""

_RENEW_AFTER: Final = 2 / 3
"""Part of a token's life after which it is renewed."""
_WORTH_KEEPING: Final = 1 / 3
"""A renewed token of a smaller part of the life it had is near its end: better a new one."""
_KNOWN_GOOD: Final = 5.0
"""Seconds a token that was looked up, or has replaced another, counts as valid."""
_UNREACHABLE_PAUSE: Final = 5.0
_LONGEST_LIFE: Final = 10**9
_CLOSING_PATIENCE: Final = 5.0

_LOOK_UP: Final = Call("GET", "auth/token/lookup-self")
_RENEW: Final = Call("POST", "auth/token/renew-self")
_REVOKE: Final = Call("POST", "auth/token/revoke-self")
_NOTHING: Final = SecretValue(b"")
_TOKEN: Final = re.compile(rb"[!-~]+")


class Sender(Protocol):
    """What is needed of the transport."""

    async def send(
        self, call: Call, body: Json | None, token: SecretValue, *, patience: float | None = None
    ) -> Answer: ...

    async def login(self, auth: AnyAuth, credential: SecretValue) -> Answer: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A token, and how long it is good for; times are those of the clock, infinite for ever."""

    token: SecretValue
    seconds: float
    """How long it was good for when it was got."""
    renew_at: float
    expires_at: float
    renewable: bool


class Login:
    """Raises `SinkError`s only. `clock` gives monotonic seconds."""

    def __init__(self, auth: AnyAuth, sender: Sender, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._auth = auth
        self._sender = sender
        self._clock = clock
        self._turn = asyncio.Lock()
        self._lease: Lease | None = None
        self._refusal = ""
        self._next_login = -math.inf
        self._good_until = -math.inf

    async def token(self) -> SecretValue:
        """A token that should be good now."""
        if not self._is_fresh(self._lease):
            async with self._turn:
                if not self._is_fresh(self._lease):
                    self._lease = await self._refreshed(self._lease)
        assert self._lease is not None
        return self._lease.token

    async def replaced(self, refused: SecretValue) -> bool:
        """Whether there is another token by now than the one a request was refused with.

        False where that token is good, so that it is the right which is missing. Raises where it
        is not, and no other can be had.
        """
        async with self._turn:
            if self._lease is not None and self._lease.token != refused:
                return True
            if await self._is_good(refused):
                return False
            self._lease = None
            self._lease = await self._logged_in()
            # NB: else a token that may not look itself up would be replaced with every request
            self._good_until = self._clock() + _KNOWN_GOOD
            return True

    async def close(self) -> None:
        """Gives a token back that was got by a login; one that was given stays."""
        if self._lease is None or isinstance(self._auth, TokenAuth):
            return
        token, self._lease = self._lease.token, None
        try:
            await self._sender.send(_REVOKE, {}, token, patience=_CLOSING_PATIENCE)
        except SinkError:
            return  # it ends by itself

    def _is_fresh(self, lease: Lease | None) -> bool:
        return lease is not None and self._clock() < lease.renew_at

    async def _is_good(self, token: SecretValue) -> bool:
        if self._clock() >= self._good_until:
            answer = await self._sender.send(_LOOK_UP, None, token)
            if not answer.succeeded:
                failure = refusal(_LOOK_UP, answer)
                if isinstance(failure, Forbidden):
                    return False
                raise failure
            self._good_until = self._clock() + _KNOWN_GOOD
        return True

    async def _refreshed(self, lease: Lease | None) -> Lease:
        if lease is not None and self._clock() < lease.expires_at:
            try:
                return await self._renewed(lease) or await self._logged_in()
            except (SinkUnavailable, AuthenticationFailed):
                # NB: the token is good still; whoever needs it finds out what is wrong
                return self._postponed(lease)
        return await self._logged_in()

    async def _renewed(self, lease: Lease) -> Lease | None:
        """None where it cannot be, or only for a while too short."""
        if not lease.renewable:
            return None
        answer = await self._sender.send(_RENEW, {}, lease.token)
        auth = answer.body.get("auth")
        if not answer.succeeded or not isinstance(auth, dict):
            return None
        renewed = self._lease_of(lease.token, auth.get("lease_duration"), auth.get("renewable"))
        if math.isinf(renewed.seconds) and not math.isinf(lease.seconds):
            return None  # 0 seconds: its end is here
        if renewed.seconds < lease.seconds * _WORTH_KEEPING and not isinstance(self._auth, TokenAuth):
            return None
        return renewed

    def _postponed(self, lease: Lease) -> Lease:
        return Lease(
            token=lease.token,
            seconds=lease.seconds,
            renew_at=min(lease.expires_at, self._clock() + _UNREACHABLE_PAUSE),
            expires_at=lease.expires_at,
            renewable=lease.renewable,
        )

    async def _logged_in(self) -> Lease:
        if self._clock() < self._next_login:
            raise AuthenticationFailed(self._refusal)
        try:
            lease = await self._log_in()
        except AuthenticationFailed as error:
            self._refusal, self._next_login = error.reason, self._clock() + REFUSED_PAUSE
            raise
        self._good_until = -math.inf
        return lease

    async def _log_in(self) -> Lease:
        credential = _credential(self._auth)
        if isinstance(self._auth, TokenAuth):
            return await self._looked_up(credential)
        answer = await self._sender.login(self._auth, credential)
        auth = answer.body.get("auth")
        token = auth.get("client_token") if isinstance(auth, dict) else None
        if not answer.succeeded or not isinstance(auth, dict) or not isinstance(token, str):
            raise refused_login(self._auth.method, answer)
        return self._lease_of(SecretValue(token.encode()), auth.get("lease_duration"), auth.get("renewable"))

    async def _looked_up(self, token: SecretValue) -> Lease:
        answer = await self._sender.send(_LOOK_UP, None, token)
        if not answer.succeeded:
            raise refused_login(self._auth.method, answer)
        return self._lease_of(token, answer.data.get("ttl"), answer.data.get("renewable"))

    def _lease_of(self, token: SecretValue, seconds: object, renewable: object) -> Lease:
        """Of 0 seconds is a token that does not expire."""
        life = float(min(seconds, _LONGEST_LIFE)) if isinstance(seconds, int) and seconds > 0 else math.inf
        now = self._clock()
        return Lease(
            token=token,
            seconds=life,
            renew_at=now + life * _RENEW_AFTER,
            expires_at=now + life,
            renewable=renewable is True,
        )


def _credential(auth: AnyAuth) -> SecretValue:
    """What the login proves itself by, read anew where it is in a file. Raises `AuthenticationFailed`."""
    match auth:
        case TokenAuth(token=token, token_file=path):
            return _from_file(path) if path is not None else _plausible(token or _NOTHING, "the token")
        case KubernetesAuth(token_file=path) | JwtAuth(token_file=path):
            return _from_file(path)
        case AzureAuth(token_file=path) | GcpAuth(token_file=path):
            return _from_file(path)
        case AppRoleAuth(secret_id=secret_id):
            return secret_id or _NOTHING
        case UserpassAuth(password=password) | LdapAuth(password=password):
            return password
        case CertAuth() | AwsAuth():
            return _NOTHING
        case _:
            assert_never(auth)


def _from_file(path: Path) -> SecretValue:
    try:
        content = path.read_bytes().strip()
    except OSError as error:
        raise AuthenticationFailed(f"the token file {path} cannot be read ({error.strerror})") from None
    return _plausible(SecretValue(content), f"the token file {path}")


def _plausible(token: SecretValue, what: str) -> SecretValue:
    """One line of visible ASCII: anything else no header can carry."""
    if not _TOKEN.fullmatch(token.reveal()):
        raise AuthenticationFailed(f"{what} holds no token")
    return token
