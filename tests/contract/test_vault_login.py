"""Logging in to a real OpenBao, each way it has; tokens that expire, are renewed, revoked and refused.

How often somebody logs in is read in the server's audit log. LDAP and the clouds' ways are left out, as
nothing here can answer them. Rules of renewal by a clock: tests/unit/backends_vault/test_vault_login_rules.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

from backends.clients.surroundings import Surroundings
from backends.contract import Absent
from backends.errors import AuthenticationFailed, SinkError, SinkUnavailable
from backends.vault.options import VaultSinkOptions
from backends.vault.sink import VaultSink
from tests.contract.vault_rows import OWNER, Place, desired, look, refused
from tests.contract.vault_world import shipped_policy
from tests.servers.http_proxy import HttpProxy, before, on
from tests.servers.openbao import BaoServer, Limits

WRONG = "wrong-canary-5f1e"
AN_HOUR = Limits()


@dataclass
class Way:
    """One way to log in: its settings, where the server counts logins, and how it is spoilt."""

    auth: dict[str, object]
    logins: str = ""
    environ: dict[str, str] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)
    file: Path | None = None


def options(place: Place, way: Way, **changes: object) -> VaultSinkOptions:
    settings = {
        "address": place.bao.url,
        "caFile": str(place.bao.ca_file),
        "mount": place.mount,
        "paths": [place.path],
        "auth": way.auth,
        **way.settings,
        **changes,
    }
    return VaultSinkOptions.model_validate(
        settings, context=Surroundings(folder=Path("/"), environ=way.environ)
    )


@pytest.fixture(scope="module")
def mount(bao_server) -> str:
    return bao_server.mount(2)


@pytest.fixture
def place(bao_server, mount) -> Place:
    return Place(bao_server, mount)


@pytest.fixture
def policy(place) -> str:
    return shipped_policy(place.mount, place.path)


def by_token(bao: BaoServer, policy: str, tmp_path: Path, request: pytest.FixtureRequest) -> Way:
    return Way({"method": "token", "token": {"env": "SECRET"}}, environ={"SECRET": bao.token(policy)})


def by_token_file(bao: BaoServer, policy: str, tmp_path: Path, request: pytest.FixtureRequest) -> Way:
    path = tmp_path / "token"
    path.write_text(bao.token(policy) + "\n")
    return Way({"method": "token", "tokenFile": str(path)}, file=path)


def by_kubernetes(bao: BaoServer, policy: str, tmp_path: Path, request: pytest.FixtureRequest) -> Way:
    login = bao.auth.kubernetes(request.getfixturevalue("kube_cluster"), policy)
    path = tmp_path / "jwt"
    path.write_text(login.mint())
    auth = {"method": "kubernetes", "role": login.role, "mount": login.mount, "tokenFile": str(path)}
    return Way(auth, f"auth/{login.mount}/login", file=path)


def by_approle(
    bao: BaoServer,
    policy: str,
    tmp_path: Path,
    request: pytest.FixtureRequest | None,
    limits: Limits = AN_HOUR,
) -> Way:
    login = bao.auth.approle(policy, limits)
    auth = {"method": "approle", "roleId": login.role_id, "secretId": {"env": "SECRET"}, "mount": login.mount}
    return Way(auth, f"auth/{login.mount}/login", environ={"SECRET": login.secret_id})


def by_jwt(bao: BaoServer, policy: str, tmp_path: Path, request: pytest.FixtureRequest) -> Way:
    login = bao.auth.jwt(policy)
    path = tmp_path / "jwt"
    path.write_text(login.mint())
    auth = {"method": "jwt", "role": login.role, "mount": login.mount, "tokenFile": str(path)}
    return Way(auth, f"auth/{login.mount}/login", file=path)


def by_userpass(bao: BaoServer, policy: str, tmp_path: Path, request: pytest.FixtureRequest) -> Way:
    login = bao.auth.userpass(policy)
    auth = {
        "method": "userpass",
        "username": login.username,
        "password": {"env": "SECRET"},
        "mount": login.mount,
    }
    return Way(auth, f"auth/{login.mount}/login", environ={"SECRET": login.password})


def by_cert(bao: BaoServer, policy: str, tmp_path: Path, request: pytest.FixtureRequest) -> Way:
    login = bao.auth.cert(policy)
    auth = {"method": "cert", "role": login.role, "mount": login.mount}
    certificate = {"clientCertificate": str(login.certificate_only), "clientKey": str(login.key_only)}
    return Way(auth, f"auth/{login.mount}/login", settings=certificate)


WAYS = [by_token, by_token_file, by_kubernetes, by_approle, by_jwt, by_userpass, by_cert]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def way(request, bao_server, policy, tmp_path) -> Way:
    return request.param(bao_server, policy, tmp_path, request)


def logins(place: Place, way: Way, since: int) -> int:
    return len(place.bao.audit.requests(since=since, prefix=way.logins))


def lease_of(sink: VaultSink) -> str:
    lease = sink._client._login._lease
    assert lease is not None
    return lease.token.reveal().decode()


def is_good(place: Place, token: str) -> bool:
    return place.bao.client(token).send("GET", "auth/token/lookup-self").status == 200


async def until(place: Place, sink: VaultSink, holds: Callable[[], bool]) -> None:
    """Works until then, and every single request succeeds."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        await sink.observe(OWNER, [place.address()])


# --- each way


async def test_each_way_gives_a_token_that_works_and_is_given_back(place, way):
    position = place.bao.audit.position()
    async with VaultSink(options(place, way)) as sink:
        await sink.put(desired(place), Absent())
        assert (await look(sink, place)).intact
        token = lease_of(sink)
    assert is_good(place, token) is not bool(way.logins)
    if way.logins:
        assert logins(place, way, position) == 1


async def test_a_certificate_and_its_key_may_be_in_one_file(place, policy):
    login = place.bao.auth.cert(policy)
    way = Way(
        {"method": "cert", "mount": login.mount}, settings={"clientCertificate": str(login.certificate)}
    )
    async with VaultSink(options(place, way)) as sink:
        await sink.put(desired(place), Absent())


@pytest.mark.fault(41)
async def test_wrong_credentials_are_refused_and_not_shown(place, way, tmp_path):
    spoil(place, way, tmp_path)
    position = place.bao.audit.position()
    with refused(AuthenticationFailed) as caught:
        await VaultSink(options(place, way)).__aenter__()
    assert WRONG not in repr(caught.value)
    assert "was refused (status" in caught.value.reason
    if way.logins:
        assert logins(place, way, position) == 1


def spoil(place: Place, way: Way, tmp_path: Path) -> None:
    if way.file is not None:
        way.file.write_text(WRONG)
    elif way.environ:
        way.environ["SECRET"] = WRONG
    else:
        other = tmp_path / "other.pem"
        trustme.CA().issue_cert("x", common_name="syncer").private_key_and_cert_chain_pem.write_to_path(other)
        way.settings = {"clientCertificate": str(other)}


@pytest.mark.parametrize("change", [{"role": "nobody"}, {"mount": "nowhere"}])
async def test_a_role_or_a_mount_that_is_not_there_is_a_refused_login(place, policy, tmp_path, change):
    way = by_jwt(place.bao, policy, tmp_path, None)
    way.auth |= change
    with refused(AuthenticationFailed):
        await VaultSink(options(place, way)).__aenter__()


async def test_an_expired_jwt_is_refused_and_a_fresh_one_in_the_file_is_not(place, policy, tmp_path):
    login = place.bao.auth.jwt(policy)
    path = tmp_path / "jwt"
    way = Way({"method": "jwt", "role": login.role, "mount": login.mount, "tokenFile": str(path)})
    path.write_text(login.mint(seconds=-600))
    with refused(AuthenticationFailed):
        await VaultSink(options(place, way)).__aenter__()
    path.write_text(login.mint())
    async with VaultSink(options(place, way)) as sink:
        place.bao.revoke(lease_of(sink))
        path.write_text(login.mint())
        await sink.put(desired(place), Absent())


# --- tokens that end


@pytest.mark.fault(40)
async def test_a_token_is_renewed_before_it_expires(place, policy, tmp_path):
    way = by_approle(place.bao, policy, tmp_path, None, Limits(ttl="2s"))
    position = place.bao.audit.position()
    async with VaultSink(options(place, way)) as sink:
        token = lease_of(sink)

        def renewed_twice() -> bool:
            return len(place.bao.audit.requests(since=position, prefix="auth/token/renew-self")) >= 2

        await until(place, sink, renewed_twice)
        assert lease_of(sink) == token
    assert logins(place, way, position) == 1


@pytest.mark.fault(40)
@pytest.mark.parametrize("limits", [Limits(ttl="2s", max_ttl="3s"), Limits(ttl="1s", type="batch")])
async def test_a_token_that_cannot_be_renewed_any_more_is_replaced(place, policy, tmp_path, limits):
    way = by_approle(place.bao, policy, tmp_path, None, limits)
    position = place.bao.audit.position()
    async with VaultSink(options(place, way)) as sink:
        await until(place, sink, lambda: logins(place, way, position) >= 3)


@pytest.mark.fault(40)
async def test_a_static_token_that_expires_is_told(place, policy):
    token = place.bao.token(policy, ttl="2s", renewable=False)
    way = Way({"method": "token", "token": {"env": "SECRET"}}, environ={"SECRET": token})
    async with VaultSink(options(place, way)) as sink:
        with refused(AuthenticationFailed):
            await until(place, sink, lambda: False)


@pytest.mark.fault(40)
async def test_a_token_file_that_somebody_keeps_fresh_is_followed(place, policy, tmp_path):
    way = by_token_file(place.bao, policy, tmp_path, None)
    assert way.file is not None
    async with VaultSink(options(place, way)) as sink:
        await sink.put(desired(place), Absent())
        fresh = place.bao.token(policy)
        place.bao.revoke(lease_of(sink))
        way.file.write_text(fresh)
        assert (await look(sink, place)).intact
        assert lease_of(sink) == fresh
    assert is_good(place, fresh)


# --- revoked


@pytest.fixture(scope="module")
def proxy(bao_server):
    started = HttpProxy.start(bao_server.url, bao_server.ca_file)
    yield started
    started.stop()


@pytest.mark.fault(40)
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_token_that_is_revoked_before_any_request_of_a_write_loses_nothing(
    place, policy, tmp_path, proxy, number
):
    way = by_approle(place.bao, policy, tmp_path, None)
    position = place.bao.audit.position()
    async with VaultSink(options(place, way, address=proxy.url, caFile=str(proxy.ca_file))) as sink:
        await sink.put(desired(place, "first"), Absent())
        methods = {1: ("POST", "/metadata/"), 2: ("POST", "/data/"), 3: ("PATCH", "/metadata/")}
        method, path = methods[number]
        revoke = before(lambda _: place.bao.revoke(lease_of(sink)))
        with proxy.rules.applied(on(method, path=path), revoke, times=1) as rule:
            await sink.put(desired(place), Absent())
        assert rule.taken == 1
        assert (await look(sink, place)).intact
    assert logins(place, way, position) == 2


@pytest.mark.fault(40, 41)
async def test_a_hundred_writes_over_a_revoked_token_take_one_login(place, policy, tmp_path):
    way = by_approle(place.bao, policy, tmp_path, None)
    position = place.bao.audit.position()
    async with VaultSink(options(place, way)) as sink:
        place.bao.revoke(lease_of(sink))
        await asyncio.gather(
            *(sink.put(desired(place, f"orders-{number}"), Absent()) for number in range(100))
        )
    assert logins(place, way, position) == 2
    assert len(place.bao.list(f"{place.mount}/metadata/{place.path}")) == 100
    assert place.unmarked() == []


@pytest.mark.fault(41)
async def test_a_hundred_requests_without_any_login_left_cause_no_storm(place, policy, tmp_path):
    way = by_approle(place.bao, policy, tmp_path, None)
    async with VaultSink(options(place, way)) as sink:
        await sink.put(desired(place), Absent())
        token, before_it = lease_of(sink), place.snapshot()
        place.bao.auth.disable(str(way.auth["mount"]))
        position = place.bao.audit.position()
        outcomes = await _all(sink.observe(OWNER, [place.address()]) for _ in range(100))
        outcomes += await _all(
            sink.put(desired(place, f"orders-{number}"), Absent()) for number in range(100)
        )
    assert {type(outcome) for outcome in outcomes} == {AuthenticationFailed}
    assert token not in repr(outcomes)
    assert logins(place, way, position) <= 1
    assert place.snapshot() == before_it


async def _all(calls) -> list[object]:
    return list(await asyncio.gather(*calls, return_exceptions=True))


async def test_where_only_a_right_is_missing_nobody_logs_in_again(place, tmp_path):
    elsewhere = shipped_policy(place.mount, "porter/elsewhere")
    way = by_approle(place.bao, elsewhere, tmp_path, None)
    position = place.bao.audit.position()
    async with VaultSink(options(place, way)) as sink:
        outcomes = await _all(sink.observe(OWNER, [place.address()]) for _ in range(100))
    assert {type(outcome).__name__ for outcome in outcomes} == {"Forbidden"}
    assert logins(place, way, position) == 1
    assert len(place.bao.audit.requests(since=position, prefix="auth/token/lookup-self")) <= 2


# --- TLS


async def opening(place: Place, way: Way, **changes: object) -> SinkError:
    with refused(SinkUnavailable, AuthenticationFailed) as caught:
        await VaultSink(options(place, way, **changes)).__aenter__()
    return caught.value


async def test_a_server_of_another_authority_gets_no_token(place, policy, tmp_path):
    way, other = by_token(place.bao, policy, tmp_path, None), tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    position = place.bao.audit.position()
    assert "certificate is not trusted" in (await opening(place, way, caFile=str(other))).reason
    assert "certificate is not trusted" in (await opening(place, way, caFile=None)).reason
    assert place.bao.audit.requests(since=position) == ()


async def test_the_name_in_the_certificate_is_the_one_that_is_expected(place, policy, tmp_path):
    way = by_token(place.bao, policy, tmp_path, None)
    async with VaultSink(options(place, way, serverName="localhost")) as sink:
        await sink.put(desired(place), Absent())
    error = await opening(place, way, serverName="vault.example")
    assert "certificate is not trusted" in error.reason


async def test_clear_text_to_a_server_with_tls_is_no_login(place, policy, tmp_path):
    way = by_token(place.bao, policy, tmp_path, None)
    address = place.bao.url.replace("https://", "http://")
    error = await opening(place, way, address=address, insecure=True)
    assert way.environ["SECRET"] not in repr(error)


@pytest.mark.fault(39)
async def test_a_server_that_seals_during_a_login_is_unavailable_and_no_refusal(place, way):
    made = options(place, way)
    with place.bao.sealed(), refused(SinkUnavailable):
        await VaultSink(made).__aenter__()
    await _works(made, place)


async def _works(made: VaultSinkOptions, place: Place) -> Awaitable[None] | None:
    async with VaultSink(made) as sink:
        await sink.put(desired(place), Absent())
    return None
