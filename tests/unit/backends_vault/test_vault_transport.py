"""What becomes of requests that get no readable answer: which may have been done, and that nothing is shown.

Against strangers: servers of one thread that speak no Vault, hang up, are slow, or are none at all; with TLS
where it matters. Left out: proxies of the environment.
"""

from __future__ import annotations

import json
import logging
import socket
import ssl
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import trustme

from backends.clients.vault_errors import Answer, Call
from backends.clients.vault_options import VaultOptions
from backends.clients.vault_transport import Transport
from backends.errors import AuthenticationFailed, OutcomeUnknown, SinkError, SinkUnavailable
from backends.secret_value import SecretValue
from tests.unit.backends_vault.strangers import Act, http, resets, sends, stranger, surroundings

CANARY = "canary-7f3a9c51e2"
TOKEN = SecretValue(b"hvs.canary-token")
READ, WRITE = Call("GET", "secret/data/a"), Call("POST", "secret/data/a")
BODY = {"data": {"password": CANARY}}


def hangs(connection: socket.socket, _: bytes) -> None:
    with suppress(OSError):
        while connection.recv(65536):
            pass


def trickles(connection: socket.socket, _: bytes) -> None:
    """For longer than anybody should wait, with a byte whenever patience would begin to run out."""
    until = time.monotonic() + 2.5
    connection.sendall(http("200 OK", length=1000))
    connection.settimeout(0.1)
    with suppress(ConnectionError):
        while time.monotonic() < until:
            with suppress(TimeoutError):
                connection.recv(65536)
            connection.sendall(b" ")


def options(address: str, **changes: object) -> VaultOptions:
    settings = {
        "address": address,
        "insecure": True,
        "auth": {"method": "token", "token": {"env": "T"}},
        **changes,
    }
    return VaultOptions.model_validate(settings, context=surroundings(T="x"))


@contextmanager
def transport(port: int, scheme: str = "http", **changes: object) -> Iterator[Transport]:
    opened = Transport(options(f"{scheme}://127.0.0.1:{port}", **changes), threads=2)
    try:
        yield opened
    finally:
        opened.close()
        opened._threads.shutdown(wait=True)


async def failure(sending: Transport, call: Call) -> SinkError:
    with pytest.raises(SinkError) as caught:
        await sending.send(call, BODY if call.writes else None, TOKEN)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert CANARY not in shown
    assert "canary-token" not in shown
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return caught.value


BROKEN: list[tuple[str, Act]] = [
    ("the connection broke", resets),
    ("the connection broke", lambda *_: None),
    ("the connection broke", sends(b"")),
    ("the connection broke", sends(http("200 OK", '{"data": {}}', length=500))),
    ("the connection broke", sends(b"SSH-2.0-OpenSSH_9.6\r\n")),
    ("the connection broke", sends(http("200 OK", CANARY, "Content-Encoding: gzip"))),
    ("the answer is not Vault's", sends(http("200 OK", f"<html>{CANARY}</html>"))),
    ("the answer is not Vault's", sends(http("200 OK", f'["{CANARY}"]'))),
    ("the answer is not Vault's", sends(http("200 OK", ""))),
    ("the answer is not Vault's", sends(http("404 Not Found", f"<html>{CANARY}</html>"))),
    ("there was no answer in time", hangs),
    ("there was no answer in time", trickles),
]


@pytest.mark.parametrize(("why", "act"), BROKEN, ids=[f"{n}-{why}" for n, (why, _) in enumerate(BROKEN)])
async def test_a_read_without_an_answer_is_unavailable_and_a_write_unknown(why, act):
    with stranger(act) as port, transport(port, requestTimeout=0.3) as sending:
        for call, kind in ((READ, SinkUnavailable), (WRITE, OutcomeUnknown)):
            error = await failure(sending, call)
            assert type(error) is kind
            assert why in error.reason


@pytest.mark.fault(56)
async def test_an_answer_that_never_ends_is_waited_for_no_longer_than_is_said():
    with stranger(trickles) as port, transport(port, requestTimeout=0.2) as sending:
        before = time.monotonic()
        await failure(sending, WRITE)
        assert time.monotonic() - before < 2.2


async def test_a_server_that_cannot_be_reached_was_sent_nothing():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with transport(closed.getsockname()[1]) as sending:
            for call in (READ, WRITE):
                error = await failure(sending, call)
                assert type(error) is SinkUnavailable
                assert "the server cannot be reached" in error.reason


async def test_a_name_that_does_not_exist_was_sent_nothing():
    sending = Transport(options("https://vault.invalid:8200"), threads=1)
    error = await failure(sending, WRITE)
    sending.close()
    assert (type(error), "cannot be reached" in error.reason) == (SinkUnavailable, True)


# --- TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def listening(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(tls)
    return tls


@pytest.mark.parametrize(("names", "trusted"), [(["127.0.0.1"], False), (["other.example"], True)])
async def test_a_server_that_is_not_trusted_was_sent_nothing(authority, ca_file, names, trusted):
    seen: list[bytes] = []
    changes = {"caFile": ca_file} if trusted else {}
    with (
        stranger(lambda _, asked: seen.append(asked), listening(authority, *names)) as port,
        transport(port, "https", **changes) as sending,
    ):
        error = await failure(sending, WRITE)
    assert (type(error), "certificate is not trusted" in error.reason) == (SinkUnavailable, True)
    assert not any(seen)


async def test_a_certificate_of_the_name_that_is_expected_is_trusted(authority, ca_file):
    answering = sends(http("200 OK", '{"data": {"a": 1}}'))
    with stranger(answering, listening(authority, "vault.internal")) as port:
        with transport(port, "https", caFile=ca_file, serverName="vault.internal") as sending:
            assert (await sending.send(READ, None, TOKEN)).data == {"a": 1}
        with transport(port, "https", caFile=ca_file, serverName="other.internal") as sending:
            assert "certificate is not trusted" in (await failure(sending, WRITE)).reason


async def test_a_tls_connection_that_breaks_after_the_request_leaves_the_outcome_unknown(authority, ca_file):
    def breaks(connection: socket.socket, _: bytes) -> None:
        with socket.socket(fileno=connection.detach()) as bare:
            bare.sendall(b"this is no TLS" * 10)
            with suppress(OSError):  # to close with something unread would reset what was sent
                while bare.recv(4096):
                    pass

    with (
        stranger(breaks, listening(authority, "127.0.0.1")) as port,
        transport(port, "https", caFile=ca_file) as sending,
    ):
        for call, kind in ((WRITE, OutcomeUnknown), (READ, SinkUnavailable)):
            error = await failure(sending, call)
            assert (type(error), "TLS failed" in error.reason) == (kind, True)


@pytest.mark.parametrize("setting", ["caFile", "clientCertificate"])
@pytest.mark.parametrize("exists", [True, False])
async def test_certificates_that_cannot_be_read_are_told(authority, ca_file, tmp_path, setting, exists):
    path = tmp_path / "broken.pem"
    if exists:
        path.write_text("no PEM")
    changes = {"caFile": ca_file, setting: str(path)}
    with (
        stranger(sends(http("200 OK", "{}")), listening(authority, "127.0.0.1")) as port,
        transport(port, "https", **changes) as sending,
    ):
        error = await failure(sending, READ)
    assert type(error) in (AuthenticationFailed, SinkUnavailable)
    assert "cert" in error.reason or "TLS" in error.reason


# --- what is sent, and answers


async def sent(call: Call, *, namespace: str | None = None) -> bytes:
    seen: list[bytes] = []

    def act(connection: socket.socket, asked: bytes) -> None:
        seen.append(asked)
        connection.sendall(http("200 OK", "{}"))

    changes = {} if namespace is None else {"namespace": namespace}
    with stranger(act) as port, transport(port, **changes) as sending:
        await sending.send(call, BODY if call.writes else None, TOKEN)
    return seen[0]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("secret/data/a?version=2", b"/v1/secret/data/a%3Fversion%3D2"),
        ("secret/data/a#b", b"/v1/secret/data/a%23b"),
        ("secret/data/a%41", b"/v1/secret/data/a%2541"),
        ("secret/data/a b+c&d", b"/v1/secret/data/a%20b%2Bc%26d"),
        ("secret/data/\u00fc\r\nX: y", b"/v1/secret/data/%C3%BC%0D%0AX%3A%20y"),
    ],
)
async def test_a_path_is_quoted_whatever_is_in_it(path, target):
    assert (await sent(Call("GET", path))).split(b" ")[:2] == [b"GET", target]


async def test_a_query_is_quoted_apart_from_the_path():
    asked = await sent(Call("LIST", "secret/metadata/a", {"after": "b&limit=1 #", "limit": "2"}))
    assert asked.startswith(b"LIST /v1/secret/metadata/a?after=b%26limit%3D1+%23&limit=2 HTTP/1.1\r\n")


async def test_a_patch_is_a_merge_patch_and_the_namespace_a_header():
    asked = (await sent(Call("PATCH", "secret/metadata/a"), namespace="team")).lower()
    assert b"content-type: application/merge-patch+json\r\n" in asked
    assert b"x-vault-namespace: team\r\n" in asked
    assert b"x-vault-token: hvs.canary-token\r\n" in asked


async def test_a_redirect_is_not_followed():
    with (
        stranger(sends(http("307 Temporary Redirect", "", "Location: http://127.0.0.1:1/"))) as port,
        transport(port) as to,
    ):
        assert (await to.send(WRITE, BODY, TOKEN)).status == 307


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("9" * 400, 600.0), ("-1", None), ("Wed, 21 Oct 2026", None), ("", None), ("٧", None)],
)
async def test_how_long_to_wait_is_read_where_it_is_a_number(header, seconds):
    with (
        stranger(sends(http("429 Too Many", "{}", f"Retry-After: {header}"))) as port,
        transport(port) as sending,
    ):
        assert await sending.send(READ, None, TOKEN) == Answer(status=429, body={}, retry_after=seconds)


async def test_an_empty_404_is_passed_on_since_a_patch_answers_so():
    with stranger(sends(http("404 Not Found"))) as port, transport(port) as sending:
        assert await sending.send(WRITE, BODY, TOKEN) == Answer(status=404, body={})


async def test_an_answer_of_lists_in_lists_holds_nothing():
    with stranger(sends(http("200 OK", "[" * 5000 + "]" * 5000))) as port, transport(port) as sending:
        assert await sending.send(READ, None, TOKEN) == Answer(status=200, body={})


async def test_nothing_is_logged(caplog):
    caplog.set_level(logging.DEBUG)
    with stranger(sends(http("200 OK", json.dumps(BODY)))) as port, transport(port) as sending:
        await sending.send(WRITE, BODY, TOKEN)
    assert "canary" not in caplog.text
    assert "secret/data" not in caplog.text


def test_certificates_that_the_environment_names_for_other_tools_are_not_presented(monkeypatch):
    monkeypatch.setattr("hvac.v1.VAULT_CLIENT_CERT", "other.pem")
    monkeypatch.setattr("hvac.v1.VAULT_CLIENT_KEY", "other.key")
    with transport(1) as opened:
        assert not opened._new_client().adapter._kwargs["cert"]
