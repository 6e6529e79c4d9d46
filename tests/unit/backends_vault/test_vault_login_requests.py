"""What each way to log in sends, and that nothing of it is shown. A stranger takes it; nothing is verified.

The ways that OpenBao has are tried on it in tests/contract/test_vault_login.py; these are the ones of the
clouds and of LDAP, too, which hvac makes.
"""

from __future__ import annotations

import json
import traceback

import pytest

from backends.clients.vault_options import VaultOptions
from backends.clients.vault_transport import Transport
from backends.errors import AuthenticationFailed, SinkUnavailable
from backends.secret_value import SecretValue
from tests.unit.backends_vault.strangers import http, resets, stranger, surroundings

CANARY = "canary-7f3a9c51e2"
SECRET = {"env": "SECRET"}
WAYS: list[tuple[dict[str, object], str, dict[str, object]]] = [
    ({"method": "kubernetes", "role": "r", "mount": "k8s/eu"}, "k8s/eu/login", {"role": "r", "jwt": CANARY}),
    ({"method": "jwt", "role": "r", "tokenFile": "t"}, "jwt/login", {"role": "r", "jwt": CANARY}),
    ({"method": "gcp", "role": "r", "tokenFile": "t"}, "gcp/login", {"role": "r", "jwt": CANARY}),
    ({"method": "approle", "roleId": "i", "secretId": SECRET}, "approle/login", {"role_id": "i", "secret_id": CANARY}),
    ({"method": "userpass", "username": "u", "password": SECRET}, "userpass/login/u", {"password": CANARY}),
    ({"method": "ldap", "username": "a b", "password": SECRET}, "ldap/login/a%20b", {"password": CANARY}),
    ({"method": "azure", "role": "r", "tokenFile": "t", "vmName": "vm"}, "azure/login", {"role": "r", "jwt": CANARY, "vm_name": "vm"}),
    ({"method": "aws", "role": "r", "accessKey": SECRET, "secretKey": SECRET}, "aws/login", {"role": "r"}),
    ({"method": "cert", "role": "r"}, "cert/login", {"name": "r"}),
]  # fmt: skip
each_way = pytest.mark.parametrize(
    ("auth", "path", "sent"), WAYS, ids=[str(way[0]["method"]) for way in WAYS]
)


def transport(port: int, auth: dict[str, object]) -> tuple[Transport, VaultOptions]:
    settings = {
        "address": f"http://127.0.0.1:{port}",
        "insecure": True,
        "auth": auth,
        "clientCertificate": __file__,  # plain HTTP has no use for it
    }
    options = VaultOptions.model_validate(settings, context=surroundings(SECRET=CANARY))
    return Transport(options, threads=1), options


@each_way
async def test_each_way_sends_its_credential_to_its_mount_and_no_token(auth, path, sent):
    seen: list[bytes] = []

    def act(connection, asked: bytes) -> None:
        head, _, body = asked.partition(b"\r\n\r\n")
        if not head:
            return
        length = int(
            next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")).split()[
                1
            ]
        )
        while len(body) < length:
            body += connection.recv(65536)
        seen.append(head + b"\r\n\r\n" + body)
        connection.sendall(http("200 OK", '{"auth": {"client_token": "t", "lease_duration": 60}}'))

    with stranger(act) as port:
        sending, options = transport(port, auth)
        answer = await sending.login(options.auth, SecretValue(CANARY.encode()))
        sending.close()
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert head.split(b" ")[:2] == [b"POST", f"/v1/auth/{path}".encode()]
    assert b"x-vault-token" not in head.lower()
    assert sent.items() <= json.loads(body).items()
    assert answer.body["auth"]["client_token"] == "t"
    assert "client_token" not in repr(answer)


@each_way
async def test_a_login_without_an_answer_shows_nothing_and_may_be_repeated(auth, path, sent):
    with stranger(resets) as port:
        sending, options = transport(port, auth)
        with pytest.raises(SinkUnavailable) as caught:
            await sending.login(options.auth, SecretValue(CANARY.encode()))
        sending.close()
    assert caught.value.reason == f"the login by {auth['method']}: the connection broke (ConnectionError)"
    assert CANARY not in "".join(traceback.format_exception(caught.value)) + repr(options)


async def test_a_certificate_that_is_missing_is_told():
    auth = {"method": "cert"}
    settings = {"address": "https://127.0.0.1:1", "auth": auth, "clientCertificate": "/nowhere/c.pem"}
    options = VaultOptions.model_validate(settings, context=surroundings())
    sending = Transport(options, threads=1)
    with pytest.raises(AuthenticationFailed, match="the certificates or the key of the login cannot be used"):
        await sending.login(options.auth, SecretValue(b""))
    sending.close()
