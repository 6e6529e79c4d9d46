"""The one token: when it is got, renewed and replaced. No server and no waiting: the clock is set by hand.

Imitated: a server that knows which tokens are good, and can refuse, fail or be slow. What real auth
methods answer is in tests/contract/test_vault_login.py.
"""

from __future__ import annotations

import asyncio
import math
import traceback

import pytest

from backends.clients.vault_errors import Answer
from backends.clients.vault_login import REFUSED_PAUSE, Login
from backends.clients.vault_options import (
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
from backends.errors import AuthenticationFailed, OutcomeUnknown, SinkUnavailable, Throttled
from backends.secret_value import SecretValue

CANARY = b"canary-7f3a9c51e2"
APPROLE = AppRoleAuth.model_construct(
    method="approle", role_id="r", secret_id=SecretValue(CANARY), mount="approle"
)
STATIC = TokenAuth.model_construct(method="token", token=SecretValue(b"given"), token_file=None)


class Server:
    """Knows its tokens, counts what it is asked."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.good: set[bytes] = {b"given"}
        self.asked: list[str] = []
        self.credentials: list[SecretValue] = []
        self.ttl = 900
        self.renews_to = 900
        self.renewable = True
        self.failure: Exception | None = None
        self.status = 0
        self.refuses_logins = False
        self.is_blind = False
        self.logins = 0

    def clock(self) -> float:
        return self.now

    async def send(self, call, body, token, *, patience=None):
        self.asked.append(call.path.rpartition("/")[2])
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        if self.status:
            return Answer(status=self.status, body={"errors": []})
        if token.reveal() not in self.good or (self.is_blind and call.path.endswith("lookup-self")):
            return Answer(status=403, body={"errors": ["permission denied"]})
        return Answer(status=200, body=self._answered(call.path, token))

    def _answered(self, path, token):
        if path.endswith("lookup-self"):
            return {"data": {"ttl": self.ttl, "renewable": self.renewable}}
        if path.endswith("revoke-self"):
            self.good.discard(token.reveal())
        return {"auth": {"lease_duration": self.renews_to, "renewable": True}}

    async def login(self, auth, credential):
        self.asked.append("login")
        self.credentials.append(credential)
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        if self.status or self.refuses_logins:
            return Answer(status=self.status or 400, body={"errors": [CANARY.decode()]})
        self.logins += 1
        token = f"token-{self.logins}"
        self.good.add(token.encode())
        lease = {"client_token": token, "lease_duration": self.ttl, "renewable": self.renewable}
        return Answer(status=200, body={"auth": lease})


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def login(server) -> Login:
    return Login(APPROLE, server, clock=server.clock)


async def bearer(login: Login) -> str:
    return (await login.token()).reveal().decode()


# --- getting one


async def test_a_hundred_callers_share_one_login(server, login):
    tokens = await asyncio.gather(*(bearer(login) for _ in range(100)))
    assert set(tokens) == {"token-1"}
    assert server.asked == ["login"]
    assert server.credentials == [SecretValue(CANARY)]


async def test_a_token_is_used_until_two_thirds_of_its_life_and_then_renewed_once(server, login):
    await bearer(login)
    server.now += 599
    await bearer(login)
    assert server.asked == ["login"]
    server.now += 2
    assert set(await asyncio.gather(*(bearer(login) for _ in range(100)))) == {"token-1"}
    assert server.asked == ["login", "renew-self"]
    server.now += 599
    await bearer(login)
    assert server.asked == ["login", "renew-self"]


async def test_a_renewal_near_the_longest_life_brings_a_new_login(server, login):
    await bearer(login)
    server.now, server.renews_to = server.now + 601, 299
    assert await bearer(login) == "token-2"
    assert server.asked == ["login", "renew-self", "login"]


async def test_a_renewal_for_no_time_at_all_is_the_end_and_not_for_ever(server, login):
    await bearer(login)
    server.now, server.renews_to = server.now + 601, 0
    assert await bearer(login) == "token-2"
    assert server.asked == ["login", "renew-self", "login"]


async def test_a_renewal_for_a_third_of_the_life_is_taken(server, login):
    await bearer(login)
    server.now, server.renews_to = server.now + 601, 300
    assert await bearer(login) == "token-1"


async def test_a_token_that_cannot_be_renewed_is_replaced_in_time(server, login):
    server.renewable = False
    await bearer(login)
    server.now += 601
    assert await bearer(login) == "token-2"
    assert server.asked == ["login", "login"]


async def test_an_expired_token_is_not_renewed(server, login):
    await bearer(login)
    server.now += 900
    assert await bearer(login) == "token-2"
    assert server.asked == ["login", "login"]


async def test_a_token_without_an_end_is_never_renewed(server, login):
    server.ttl = 0
    await bearer(login)
    server.now += 10**9
    assert await bearer(login) == "token-1"
    assert server.asked == ["login"]


@pytest.mark.parametrize("auth", [None, [], {}, {"client_token": None}, {"client_token": 7}])
async def test_an_answer_without_a_token_is_not_vaults(server, login, auth, monkeypatch):
    async def empty(*_):
        return Answer(status=200, body={"auth": auth})

    monkeypatch.setattr(server, "login", empty)
    with pytest.raises(SinkUnavailable, match="the answer is not Vault's"):
        await bearer(login)


# --- refused, unreachable


@pytest.mark.fault(41)
async def test_a_refused_login_is_not_repeated_for_a_while(server, login):
    server.refuses_logins = True
    outcomes = await asyncio.gather(*(bearer(login) for _ in range(100)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {AuthenticationFailed}
    assert CANARY.decode() not in repr(outcomes)
    server.now += REFUSED_PAUSE - 0.1
    with pytest.raises(AuthenticationFailed, match=r"the login by approle was refused \(status 400\)"):
        await bearer(login)
    assert server.asked == ["login"]
    server.now += 0.2
    server.refuses_logins = False
    assert await bearer(login) == "token-1"


@pytest.mark.parametrize(
    ("status", "kind"), [(503, SinkUnavailable), (500, SinkUnavailable), (429, Throttled)]
)
async def test_an_unavailable_server_is_asked_again_at_once(server, login, status, kind):
    server.status = status
    with pytest.raises(kind) as caught:
        await bearer(login)
    assert caught.type is kind
    server.status = 0
    assert await bearer(login) == "token-1"


@pytest.mark.fault(39)
@pytest.mark.parametrize(
    "failure", [SinkUnavailable("down"), Throttled("slow"), AuthenticationFailed("file gone")]
)
async def test_while_a_renewal_fails_a_good_token_is_kept(server, login, failure):
    await bearer(login)
    server.now, server.failure = server.now + 601, failure
    assert await bearer(login) == "token-1"
    asked = len(server.asked)
    assert await bearer(login) == "token-1"
    assert len(server.asked) == asked
    server.now, server.failure = server.now + 5.1, None
    assert await bearer(login) == "token-1"
    assert server.asked[asked:] == ["renew-self"]


@pytest.mark.fault(39)
async def test_a_token_is_kept_no_longer_than_it_is_good(server, login):
    await bearer(login)
    server.now, server.failure = server.now + 601, SinkUnavailable("down")
    await bearer(login)
    server.now += 299
    with pytest.raises(SinkUnavailable, match="down"):
        await bearer(login)


@pytest.mark.fault(41)
async def test_a_role_that_is_gone_does_not_end_a_good_token_early(server, login):
    server.renewable = False
    await bearer(login)
    server.now, server.refuses_logins = server.now + 601, True
    for _ in range(10):
        assert await bearer(login) == "token-1"
    assert server.asked == ["login", "login"]
    server.now += 300
    with pytest.raises(AuthenticationFailed):
        await bearer(login)


# --- replaced


@pytest.mark.fault(40)
async def test_a_revoked_token_is_replaced_by_one_login(server, login):
    token = await login.token()
    server.good.clear()
    assert all(await asyncio.gather(*(login.replaced(token) for _ in range(100))))
    assert await bearer(login) == "token-2"
    assert server.asked == ["login", "lookup-self", "login"]


async def test_where_a_right_is_missing_there_is_no_login(server, login):
    token = await login.token()
    assert not any(await asyncio.gather(*(login.replaced(token) for _ in range(100))))
    assert server.asked == ["login", "lookup-self"]
    server.now += 5.1
    assert not await login.replaced(token)
    assert server.asked == ["login", "lookup-self", "lookup-self"]


async def test_a_request_that_was_refused_with_an_older_token_is_sent_again(server, login):
    token = await login.token()
    server.good.clear()
    await login.replaced(token)
    assert await login.replaced(token)
    assert server.logins == 2


async def test_a_token_that_may_not_look_itself_up_causes_no_storm(server, login):
    server.is_blind = True
    for _ in range(100):
        await login.replaced(await login.token())
    assert server.logins == 2
    server.now += 5.1
    for _ in range(100):
        await login.replaced(await login.token())
    assert server.logins == 3


async def test_whether_a_token_is_good_is_not_told_by_a_server_that_is_down(server, login):
    token = await login.token()
    server.status = 503
    with pytest.raises(SinkUnavailable):
        await login.replaced(token)
    server.status = 0
    assert await bearer(login) == "token-1"
    assert server.logins == 1


@pytest.mark.fault(41)
async def test_a_revoked_token_and_a_refused_login_cause_no_storm(server, login):
    token = await login.token()
    server.good.clear()
    server.refuses_logins = True
    outcomes = await asyncio.gather(*(login.replaced(token) for _ in range(100)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {AuthenticationFailed}
    assert server.asked.count("login") == 2


# --- given tokens


async def test_a_given_token_is_looked_up_and_never_revoked(server):
    login = Login(STATIC, server, clock=server.clock)
    assert await bearer(login) == "given"
    await login.close()
    assert server.asked == ["lookup-self"]
    assert server.good == {b"given"}


async def test_a_given_token_is_renewed_also_near_its_end(server):
    login = Login(STATIC, server, clock=server.clock)
    await bearer(login)
    server.now, server.renews_to = server.now + 601, 10
    await bearer(login)
    assert server.asked == ["lookup-self", "renew-self"]


async def test_a_given_token_that_is_revoked_is_the_end(server):
    login = Login(STATIC, server, clock=server.clock)
    token = await login.token()
    server.good.clear()
    for _ in range(3):
        with pytest.raises(AuthenticationFailed, match=r"the login by token was refused \(status 403\)"):
            await login.replaced(token)
    with pytest.raises(AuthenticationFailed):
        await bearer(login)
    assert server.asked.count("lookup-self") == 5


async def test_a_token_file_is_read_again_when_its_token_is_refused_or_has_expired(server, tmp_path):
    path = tmp_path / "token"
    path.write_text("one\n")
    server.good = {b"one", b"two", b"three"}
    server.renewable = False
    login = Login(
        TokenAuth.model_construct(method="token", token=None, token_file=path), server, clock=server.clock
    )
    token = await login.token()
    path.write_text("two")
    assert await bearer(login) == "one"
    server.good.discard(b"one")
    assert await login.replaced(token)
    assert await bearer(login) == "two"
    path.write_text("three")
    server.now += 901
    assert await bearer(login) == "three"


async def test_a_token_that_no_header_can_carry_is_told_and_not_quoted(server):
    for text in ("canary\ncanary", "can\u00e4ry", "canary canary"):
        token = SecretValue(text.encode())
        auth = TokenAuth.model_construct(method="token", token=token, token_file=None)
        with pytest.raises(AuthenticationFailed, match="the token holds no token"):
            await Login(auth, server, clock=server.clock).token()


@pytest.mark.parametrize("content", [None, b"", b" \n", "ключ".encode(), b"\xff"])
async def test_a_token_file_without_a_token_is_told_and_not_quoted(server, tmp_path, content):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    login = Login(
        TokenAuth.model_construct(method="token", token=None, token_file=path), server, clock=server.clock
    )
    with pytest.raises(
        AuthenticationFailed, match=f"the token file {path} (holds no token|cannot be read)"
    ) as caught:
        await bearer(login)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert server.asked == []


# --- the end


async def test_a_token_that_was_got_is_given_back(server, login):
    await bearer(login)
    await login.close()
    await login.close()
    assert server.asked == ["login", "revoke-self"]
    assert b"token-1" not in server.good


async def test_where_there_was_no_login_nothing_is_given_back(server, login):
    await login.close()
    assert server.asked == []


@pytest.mark.parametrize("failure", [SinkUnavailable("down"), OutcomeUnknown("lost")])
async def test_a_server_that_is_down_does_not_keep_anybody_from_closing(server, login, failure):
    await bearer(login)
    server.failure = failure
    await login.close()
    assert server.asked == ["login", "revoke-self"]


@pytest.mark.parametrize(
    ("auth", "credential"),
    [
        (KubernetesAuth, "file"), (JwtAuth, "file"), (AzureAuth, "file"), (GcpAuth, "file"),
        (UserpassAuth, "password"), (LdapAuth, "password"), (CertAuth, ""), (AwsAuth, ""),
        (AppRoleAuth, ""),
    ],
)  # fmt: skip
async def test_each_method_proves_itself_by_its_own_credential(server, tmp_path, auth, credential):
    (tmp_path / "jwt").write_text("file\n")
    fields = {"token_file": tmp_path / "jwt", "password": SecretValue(b"password"), "secret_id": None}
    kept = {name: value for name, value in fields.items() if name in auth.model_fields}
    login = Login(auth.model_construct(method="x", **kept), server, clock=server.clock)
    await bearer(login)
    assert server.credentials == [SecretValue(credential.encode())]


async def test_no_traceback_shows_a_credential(server, login):
    server.refuses_logins = True
    with pytest.raises(AuthenticationFailed) as caught:
        await bearer(login)
    assert CANARY.decode() not in "".join(traceback.format_exception(caught.value)) + repr(login)
    assert math.isfinite(login._next_login)
