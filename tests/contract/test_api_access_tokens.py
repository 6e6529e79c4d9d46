"""Who gets in, as a real kube-apiserver decides it: by tokens that it issued itself.

They come from TokenRequest, for our audience and for others; expired ones are signed here with the key
that the API server trusts. There is no token controller, so bound pods and nodes are left out.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time

import grpc
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from kube_access_world import AUDIENCE, OUR_OWN, access, account, bearer, clock, reviews, rules, token_for

from backends.secret_value import SecretValue
from syncer.api.callers import Permission, Resource, Verb
from syncer.api.interceptor import caller_of, deny
from syncer.api.options import ApiOptions
from syncer.api.server import ApiServer, Service

__all__ = ["access", "account", "clock", "reviews"]  # fixtures


def changed(token: str, key_pem: bytes | None, **claims: object) -> str:
    """The token with other claims, signed by this key; with the signature it had where there is none."""
    header, body, signature = token.split(".")
    payload = _encoded(json.dumps(json.loads(_decoded(body)) | claims).encode())
    if key_pem is not None:
        key = load_pem_private_key(key_pem, None)
        signature = _encoded(key.sign(f"{header}.{payload}".encode(), padding.PKCS1v15(), hashes.SHA256()))
    return f"{header}.{payload}.{signature}"


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# --- who a token belongs to


async def test_a_token_for_our_audience_is_its_service_accounts(
    access, kube_cluster, kube_namespace, account
):
    caller = await access.caller(bearer(token_for(kube_cluster, kube_namespace, [AUDIENCE])))
    assert caller is not None
    assert caller.name == f"system:serviceaccount:{kube_namespace}:app"
    assert {"system:serviceaccounts", "system:authenticated"} <= set(caller.groups)
    assert caller.uid


async def test_a_token_for_several_audiences_is_good_where_ours_is_one(
    access, kube_cluster, kube_namespace, account
):
    token = token_for(kube_cluster, kube_namespace, ["vault", AUDIENCE])
    assert await access.caller(bearer(token)) is not None


@pytest.mark.parametrize("audiences", [["vault"], OUR_OWN, [], [AUDIENCE + ".evil"], [AUDIENCE.upper()]])
async def test_a_token_for_another_audience_opens_nothing(
    access, kube_cluster, kube_namespace, account, audiences
):
    assert await access.caller(bearer(token_for(kube_cluster, kube_namespace, audiences))) is None


@pytest.mark.parametrize("user", ["admin", "reader"])
async def test_a_token_without_any_audience_opens_nothing(access, kube_cluster, user):
    assert await access.caller(bearer(kube_cluster.tokens[user])) is None


async def test_our_token_does_not_open_the_api_server(kube_cluster, kube_namespace, account, tmp_path):
    token = token_for(kube_cluster, kube_namespace, [AUDIENCE])
    client = type(kube_cluster.admin)(kube_cluster.url, kube_cluster.ca_file, token)
    with pytest.raises(Exception, match="401"):
        client.request("GET", "/api/v1/namespaces/default")


async def test_an_expired_token_opens_nothing(access, kube_cluster, kube_namespace, account):
    key = (kube_cluster.folder / "certificates" / "apiserver.key").read_bytes()
    token = token_for(kube_cluster, kube_namespace, [AUDIENCE])
    now = int(time.time())
    assert await access.caller(bearer(changed(token, key))) is not None
    assert (
        await access.caller(bearer(changed(token, key, iat=now - 7200, nbf=now - 7200, exp=now - 3600)))
        is None
    )


async def test_a_forged_token_opens_nothing(access, kube_cluster, kube_namespace, account):
    token = token_for(kube_cluster, kube_namespace, [AUDIENCE])
    later = int(time.time()) + 86400
    unsigned = ".".join([_encoded(b'{"alg":"none"}'), token.split(".")[1], ""])
    for forged in (
        changed(token, None, exp=later),
        token[:-6] + "AAAAAA",
        token + "A",
        unsigned,
        "x",
        "a.b.c",
    ):
        assert await access.caller(bearer(forged)) is None


async def test_the_token_of_a_service_account_that_is_gone_opens_nothing(
    access, kube_cluster, kube_namespace, account
):
    # A token that was taken the API server remembers for a while; and it learns of a deletion a moment later.
    seen, *unseen = (token_for(kube_cluster, kube_namespace, [AUDIENCE, f"other-{one}"]) for one in range(50))
    assert await access.caller(bearer(seen)) is not None
    kube_cluster.admin.delete("v1", "ServiceAccount", account, kube_namespace)
    for token in unseen:
        if await access.caller(bearer(token)) is None:
            return
        await asyncio.sleep(0.1)
    pytest.fail("it opens still")


async def test_what_is_no_text_is_no_token(reviews):
    assert await reviews.authenticate(SecretValue(b"\xff\xfe"), AUDIENCE) is None


# --- all of it together


class Silent:
    """An `ApiObserver` of which nothing is wanted."""

    def request(self, method: str, code: str, seconds: float) -> None: ...

    def sensitive_read(self, caller: str, namespace: str, installation: str, names: object) -> None: ...


async def test_a_request_with_a_real_token_is_answered_as_rbac_says(
    access, kube_cluster, kube_namespace, account
):
    async def outputs(request: bytes, context: object) -> bytes:
        permission = Permission(Verb.GET, Resource.OUTPUTS, request.decode())
        if not await access.allows(caller_of(context), permission):
            await deny(context)
        return b"outputs"

    def register(server) -> None:
        handlers = {"Outputs": grpc.unary_unary_rpc_method_handler(outputs)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Outputs", handlers),))

    kube_cluster.grant(
        f"system:serviceaccount:{kube_namespace}:app", rules("installations/outputs"), kube_namespace
    )
    token = token_for(kube_cluster, kube_namespace, [AUDIENCE])
    stolen = token_for(kube_cluster, kube_namespace, OUR_OWN)
    service = Service(name="test.Outputs", register=register)
    async with (
        ApiServer(ApiOptions(listen="127.0.0.1:0"), [service], access=access, observer=Silent()) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        call = channel.unary_unary("/test.Outputs/Outputs")

        async def code(namespace: bytes, token: str) -> grpc.StatusCode:
            try:
                assert await call(namespace, metadata=(("authorization", f"Bearer {token}"),)) == b"outputs"
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        assert await code(b"dev", token) is grpc.StatusCode.OK
        assert await code(b"default", token) is grpc.StatusCode.PERMISSION_DENIED
        assert await code(b"dev", stolen) is grpc.StatusCode.UNAUTHENTICATED
