"""TLS of the API's server, with real handshakes: who is let in, and certificates exchanged under way.

Authorities and certificates are made for each test. Long times (a handshake that is never finished, a
connection of half an hour) are left out.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import grpc
import pytest
import structlog
import trustme
from api_world import OK, RawPeer, World, ask, serving
from cryptography import x509

from syncer.api.access import CertificateAccessOptions, CertificateGrant
from syncer.api.certificates import CertificateAccess
from syncer.api.options import TlsFiles
from syncer.api.server import CannotServe
from syncer.api.tls import TlsUnusable, _Reloader, load


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(tmp_path, authority) -> TlsFiles:
    written = TlsFiles(certificate=tmp_path / "tls.crt", key=tmp_path / "tls.key")
    write(written, authority)
    return written


@pytest.fixture
def client_authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def mutual(files, tmp_path, client_authority) -> TlsFiles:
    client_authority.cert_pem.write_to_path(tmp_path / "clients.crt")
    return TlsFiles(certificate=files.certificate, key=files.key, client_ca=tmp_path / "clients.crt")


def write(files: TlsFiles, authority: trustme.CA) -> trustme.LeafCert:
    leaf = authority.issue_cert("127.0.0.1")
    files.key.write_bytes(leaf.private_key_pem.bytes())
    files.certificate.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
    return leaf


def login(authority: trustme.CA, name: str, organization: str = "team") -> dict[str, bytes]:
    leaf = authority.issue_cert("x@example.org", common_name=name, organization_name=organization)
    return {"private_key": leaf.private_key_pem.bytes(), "certificate_chain": leaf.cert_chain_pems[0].bytes()}


async def said(world: World, authority: trustme.CA, **client: bytes) -> bool:
    """Whether a new connection of a client that trusts this authority is answered."""
    async with world.channel(authority, **client) as channel:
        return (await ask(channel, "Say", within=5.0))[0] is OK


async def test_a_client_that_trusts_the_authority_is_answered_and_no_other(files, authority):
    async with serving(tls=files) as world:
        assert await said(world, authority)
        assert not await said(world, trustme.CA())
        assert (await world.ask("Say", within=5.0))[0] is grpc.StatusCode.UNAVAILABLE
        assert await said(world, authority)


async def test_it_listens_off_loopback_with_a_certificate(files, authority):
    async with serving(tls=files, listen="0.0.0.0:0") as world:
        assert await said(world, authority)


def speaking(version: ssl.TLSVersion) -> ssl.SSLContext:
    """A client of just this version that would take any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols(["h2"])
    context.minimum_version = context.maximum_version = version
    return context


async def test_nothing_below_tls_1_2_is_spoken(files):
    async with serving(tls=files) as world:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", world.port, ssl=speaking(ssl.TLSVersion.TLSv1_2)
        )
        writer.transport.abort()
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old = speaking(ssl.TLSVersion.TLSv1_1)
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await asyncio.open_connection("127.0.0.1", world.port, ssl=old)


async def test_a_new_certificate_is_taken_over_and_open_connections_stay(files, authority):
    renewed = trustme.CA()
    with structlog.testing.capture_logs() as lines:
        async with serving(tls=files) as world, world.channel(authority) as early:
            assert (await ask(early, "Say"))[0] is OK
            write(files, renewed)
            assert await said(world, renewed)
            assert not await said(world, authority)
            assert (await ask(early, "Say"))[0] is OK
    assert [line["event"] for line in lines] == ["TLS files taken over"]


async def test_a_new_certificate_is_taken_over_by_the_first_connection_of_all(files, authority):
    renewed = trustme.CA()
    async with serving(tls=files) as world:
        write(files, renewed)
        assert await said(world, renewed)


async def test_a_mounted_secret_is_taken_over_when_its_link_turns(tmp_path, authority):
    renewed = trustme.CA()
    for name, issuer in {"old": authority, "new": renewed}.items():
        (tmp_path / name).mkdir()
        write(TlsFiles(certificate=tmp_path / name / "tls.crt", key=tmp_path / name / "tls.key"), issuer)
    data, turned = tmp_path / "..data", tmp_path / "..tmp"
    data.symlink_to("old")
    files = TlsFiles(certificate=data / "tls.crt", key=data / "tls.key")
    async with serving(tls=files) as world:
        assert await said(world, authority)
        turned.symlink_to("new")
        turned.rename(data)
        assert await said(world, renewed)


def _garbage(files: TlsFiles) -> None:
    files.certificate.write_text("no PEM")


def _half_written(files: TlsFiles) -> None:
    files.certificate.write_bytes(files.certificate.read_bytes()[:-100])


def _another_key(files: TlsFiles) -> None:
    files.key.write_bytes(trustme.CA().issue_cert("127.0.0.1").private_key_pem.bytes())


def _no_key(files: TlsFiles) -> None:
    files.key.unlink()


def _empty(files: TlsFiles) -> None:
    files.key.write_bytes(b"")


BREAKS = {
    "garbage": (_garbage, "tls.crt has no certificate that can be read"),
    "half written": (_half_written, "tls.crt has no certificate that can be read"),
    "another's key": (_another_key, "tls.key is not the key of"),
    "no key": (_no_key, "tls.key cannot be read: No such file or directory"),
    "empty": (_empty, "tls.key has no private key that can be read without a password"),
}


@pytest.mark.parametrize(("broken", "reason"), BREAKS.values(), ids=BREAKS)
async def test_files_that_cannot_be_used_change_nothing_and_are_told_once(
    files, authority, broken: Callable[[TlsFiles], None], reason
):
    with structlog.testing.capture_logs() as lines:
        async with serving(tls=files) as world:
            broken(files)
            for _ in range(3):
                assert await said(world, authority)
            told = [line["reason"] for line in lines if line["event"] == "TLS files not taken over"]
            assert (len(told), reason in told[0]) == (1, True)
            write(files, authority)
            assert await said(world, authority)
    assert lines[-1]["event"] == "TLS files taken over"


@pytest.mark.parametrize(("broken", "reason"), BREAKS.values(), ids=BREAKS)
async def test_it_does_not_start_with_files_that_cannot_be_used(files, broken, reason):
    broken(files)
    with pytest.raises(CannotServe, match=reason):
        async with serving(tls=files):
            pass


def test_what_holds_is_told_once_for_each_change(files, authority):
    reloader = _Reloader(files)
    assert reloader.changed() is None
    write(files, authority)
    assert reloader.changed() is not None
    assert reloader.changed() is None
    files.key.unlink()
    assert [reloader.changed() for _ in range(2)] == [None, None]


def test_nothing_that_goes_wrong_gets_as_far_as_grpc(files, authority, monkeypatch):
    reloader = _Reloader(files)
    write(files, authority)
    monkeypatch.setattr(x509, "load_pem_x509_certificates", lambda pem: 1 / 0)
    with structlog.testing.capture_logs() as lines:
        assert reloader.changed() is None
    assert [line["reason"] for line in lines] == ["ZeroDivisionError"]


def test_no_private_key_is_quoted(files):
    secret = files.key.read_text()
    files.key.write_text(secret.replace("BEGIN", "BEGAN"))
    with pytest.raises(TlsUnusable) as caught:
        load(files)
    assert secret[40:80] not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_client_needs_a_certificate_where_there_is_an_authority_for_them(
    mutual, authority, client_authority
):
    access = CertificateAccess(CertificateAccessOptions(clients={"app": CertificateGrant(namespaces=("*",))}))
    async with serving(access, tls=mutual) as world:
        async with world.channel(authority, **login(client_authority, "app")) as channel:
            assert await ask(channel, "Who", token=None) == (OK, b"app")
        async with world.channel(authority, **login(client_authority, "another")) as channel:
            assert (await ask(channel, "Who"))[0] is grpc.StatusCode.UNAUTHENTICATED
        for client in ({}, login(trustme.CA(), "app")):
            async with world.channel(authority, **client) as channel:
                assert (await ask(channel, "Who", within=5.0))[0] is grpc.StatusCode.UNAVAILABLE


async def test_clients_known_by_certificates_need_an_authority_for_them(files):
    access = CertificateAccess(CertificateAccessOptions(clients={}))
    for tls in (None, files):
        with pytest.raises(CannotServe, match="needs an authority for those of clients"):
            async with serving(access, tls=tls):
                pass


async def test_an_authority_for_clients_is_exchanged_as_well(mutual, authority, client_authority):
    renewed = trustme.CA()
    async with serving(tls=mutual) as world:
        assert await said(world, authority, **login(client_authority, "app"))
        renewed.cert_pem.write_to_path(mutual.client_ca)
        assert await said(world, authority, **login(renewed, "app"))
        assert not await said(world, authority, **login(client_authority, "app"))


async def test_an_authority_for_clients_that_cannot_be_read_lets_nobody_in_newly(
    mutual, authority, client_authority
):
    mutual.client_ca.write_text("no PEM")
    with pytest.raises(CannotServe, match=r"clients\.crt has no certificate"):
        async with serving(tls=mutual):
            pass


async def test_what_is_no_tls_harms_nobody(files, authority):
    async with serving(tls=files) as world:
        async with RawPeer.connected(world.port) as peer:
            peer.writer.write(bytes(1000))
            await peer.received()
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", world.port)
            writer.transport.abort()
        assert await said(world, authority)
