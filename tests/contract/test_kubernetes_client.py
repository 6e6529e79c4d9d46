"""The one login to Kubernetes: tokens that expire, servers that do not answer, answers that are cut.

Against a real kube-apiserver, paused and stopped; and against a stranger, a TCP server that speaks
no Kubernetes, for what only a proxy in between would answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from kubernetes.aio.config import incluster_config

from backends.clients.kubernetes import KubernetesClient, resource_path
from backends.clients.kubernetes_options import KubernetesOptions
from backends.errors import (
    AuthenticationFailed,
    OutcomeUnknown,
    PreconditionFailed,
    SinkError,
    SinkUnavailable,
    Throttled,
)

CANARY = "canary-7f3a9c51e2"
SECRETS = resource_path("secrets", namespace="default")
BODY = {"metadata": {"name": "a"}, "stringData": {"password": CANARY}}


def kubeconfig(path: Path, server: str, user: object, ca_file: Path | None = None) -> KubernetesOptions:
    cluster = {"server": server} | ({"certificate-authority": str(ca_file)} if ca_file else {})
    config = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(config))
    return KubernetesOptions(kubeconfig=path)


@pytest.fixture
def admin(kube_cluster) -> KubernetesOptions:
    return KubernetesOptions(kubeconfig=kube_cluster.kubeconfig())


@pytest.fixture
def impatient(kube_cluster) -> KubernetesOptions:
    return KubernetesOptions(kubeconfig=kube_cluster.kubeconfig(), request_timeout=1.0)


# --- logging in


@pytest.fixture(params=["token file", "program"])
def rotated(request, tmp_path, kube_cluster) -> tuple[KubernetesOptions, Path, Path]:
    """A login by a token that can be exchanged: options, where the token is, what its program notes."""
    token, runs = tmp_path / "token", tmp_path / "runs"
    code = (
        "import json, pathlib; "
        f"pathlib.Path({str(runs)!r}).open('a').write('x'); "
        f"status = {{'token': pathlib.Path({str(token)!r}).read_text()}}; "
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential', 'status': status}))"
    )
    program = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", code],
    }
    user = {"tokenFile": str(token)} if request.param == "token file" else {"exec": program}
    return kubeconfig(tmp_path / "config", kube_cluster.url, user, kube_cluster.ca_file), token, runs


@pytest.mark.fault(40)
async def test_an_expired_token_is_renewed_within_the_request(rotated, kube_cluster):
    options, token, _ = rotated
    token.write_text("expired")
    async with KubernetesClient(options) as client:
        token.write_text(kube_cluster.tokens["admin"])
        calls = [client.get(resource_path("namespaces", name="default")) for _ in range(5)]
        assert all(await asyncio.gather(*calls))


@pytest.mark.fault(41)
async def test_a_refused_token_causes_one_login_and_no_storm(rotated):
    options, token, runs = rotated
    token.write_text("revoked")
    async with KubernetesClient(options) as client:
        calls = [client.get(f"{SECRETS}/a") for _ in range(5)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {AuthenticationFailed}
    assert len(runs.read_text() if runs.exists() else "xx") == 2


async def test_in_a_pod_the_service_account_logs_in(tmp_path, kube_cluster, monkeypatch):
    token = tmp_path / "token"
    token.write_text("expired")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(kube_cluster.ca_file))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(kube_cluster.port))
    async with KubernetesClient(KubernetesOptions()) as client:
        token.write_text(kube_cluster.tokens["admin"])
        assert await client.get("/version")
        token.unlink()
        client._configuration.api_key["BearerToken"] = "bearer expired"
        client._configuration.refresh_api_key_hook = None
        with pytest.raises(AuthenticationFailed):
            await client.get("/version")


async def test_a_proxy_of_the_environment_is_used_but_for_the_hosts_it_is_not_for(
    tmp_path, kube_cluster, monkeypatch
):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    options = KubernetesOptions(kubeconfig=kube_cluster.kubeconfig())
    async with KubernetesClient(options) as client:
        with pytest.raises(SinkUnavailable, match="cannot be reached"):
            await client.get("/version")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with KubernetesClient(options) as client:
        assert await client.get("/version")


async def test_a_login_program_that_fails_is_told_and_not_quoted(tmp_path, kube_cluster, caplog):
    caplog.set_level(logging.DEBUG)
    code = f"import sys; sys.exit({CANARY!r})"
    program = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", code],
    }
    options = kubeconfig(tmp_path / "config", kube_cluster.url, {"exec": program}, kube_cluster.ca_file)
    with pytest.raises(AuthenticationFailed, match="has no token and no certificate"):
        await KubernetesClient(options).__aenter__()
    assert CANARY not in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        "",
        f"users: [{CANARY}",
        f"{CANARY}",
        json.dumps({"users": [{"user": {"token": CANARY}}]}),
        json.dumps(
            {"contexts": [{"name": "x", "context": {}}], "clusters": [], "users": [], "current-context": "x"}
        ),
        json.dumps({"contexts": CANARY, "clusters": [], "users": [], "current-context": "x"}),
    ],
)
async def test_a_malformed_kubeconfig_is_named_and_not_quoted(tmp_path, content, caplog):
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(AuthenticationFailed, match=f"no login from kubeconfig {path} ") as caught:
        await KubernetesClient(KubernetesOptions(kubeconfig=path)).__aenter__()
    assert CANARY not in str(caught.value) + caplog.text


async def test_a_missing_kubeconfig_or_context_is_told(tmp_path, kube_cluster):
    for options in (
        KubernetesOptions(kubeconfig=tmp_path / "none"),
        KubernetesOptions(kubeconfig=kube_cluster.kubeconfig(), context="none"),
    ):
        with pytest.raises(AuthenticationFailed, match="no login from kubeconfig"):
            await KubernetesClient(options).__aenter__()


async def test_certificates_that_cannot_be_read_are_told(tmp_path, kube_cluster):
    garbage = tmp_path / "ca.crt"
    garbage.write_text("no PEM")
    options = kubeconfig(tmp_path / "config", kube_cluster.url, {"token": "x"}, garbage)
    with pytest.raises(AuthenticationFailed, match="certificates"):
        await KubernetesClient(options).__aenter__()


async def test_a_server_with_another_certificate_gets_nothing(tmp_path, kube_cluster):
    options = kubeconfig(tmp_path / "config", kube_cluster.url, {"token": kube_cluster.tokens["admin"]})
    async with KubernetesClient(options) as client:
        with pytest.raises(SinkUnavailable, match="certificate is not trusted"):
            await client.post(SECRETS, BODY)


# --- servers that do not answer


@pytest.mark.fault(25)
async def test_a_stopped_server_is_unavailable_and_nothing_was_written(kube_cluster, admin):
    async with KubernetesClient(admin) as client:
        kube_cluster.stop_apiserver()
        try:
            for call in (client.get(f"{SECRETS}/a"), client.post(SECRETS, BODY)):
                with pytest.raises(SinkError) as caught:
                    await call
                assert (type(caught.value), "cannot be reached" in caught.value.reason) == (
                    SinkUnavailable,
                    True,
                )
        finally:
            kube_cluster.start_apiserver()
        assert await client.get(f"{SECRETS}/a") is None


@pytest.mark.fault(30)
async def test_a_write_without_an_answer_in_time_has_an_unknown_outcome(kube_cluster, impatient):
    async with KubernetesClient(impatient) as client:
        assert await client.get(f"{SECRETS}/a") is None
        with kube_cluster.paused():
            for kind, call in {
                SinkUnavailable: client.get(f"{SECRETS}/a"),
                OutcomeUnknown: client.post(SECRETS, BODY),
            }.items():
                with pytest.raises(kind, match="there was no answer in time") as caught:
                    await call
                assert type(caught.value) is kind
        # The connections that were given up end now, and not in the next test.
        assert await client.get("/version")


# --- lists


async def test_a_list_comes_page_by_page_to_its_end(kube_cluster, kube_namespace, admin):
    path = resource_path("secrets", namespace=kube_namespace)
    for number in range(5):
        kube_cluster.admin.request("POST", path, BODY | {"metadata": {"name": f"a{number}"}})
    async with KubernetesClient(admin) as client:
        pages = [page async for page in client.list_pages(path, {"limit": "2"})]
        assert [[item["metadata"]["name"] for item in page] for page in pages] == [
            ["a0", "a1"],
            ["a2", "a3"],
            ["a4"],
        ]
        assert all("data" in item for page in pages for item in page)
        pages = [page async for page in client.list_pages(path, {"limit": "4"}, metadata_only=True)]
        assert [len(page) for page in pages] == [4, 1]
        assert not any("data" in item for page in pages for item in page)


@pytest.mark.fault(29)
async def test_a_list_that_expires_on_the_way_is_cut_and_says_so(kube_cluster, kube_namespace, admin):
    path = resource_path("secrets", namespace=kube_namespace)
    for number in range(3):
        kube_cluster.admin.request("POST", path, BODY | {"metadata": {"name": f"a{number}"}})
    async with KubernetesClient(admin) as client:
        pages = client.list_pages(path, {"limit": "1"})
        assert len(await anext(pages)) == 1
        kube_cluster.admin.request("DELETE", f"{path}/a2")
        forget_history(kube_cluster.etcd_url)
        kube_cluster.restart_apiserver()
        with pytest.raises(SinkUnavailable, match="the list expired before its end was read"):
            await anext(pages)


def forget_history(etcd_url: str) -> None:
    def post(path: str, body: object) -> dict:
        request = urllib.request.Request(f"{etcd_url}/v3/{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    revision = post("maintenance/status", {})["header"]["revision"]
    post("kv/compaction", {"revision": revision, "physical": True})


# --- objects


async def test_an_object_is_created_replaced_and_deleted_under_preconditions(kube_namespace, admin):
    path = resource_path("secrets", namespace=kube_namespace)
    async with KubernetesClient(admin) as client:
        first = await client.post(path, BODY)
        with pytest.raises(PreconditionFailed):
            await client.post(path, BODY)
        second = await client.put(f"{path}/a", first | {"data": {}})
        with pytest.raises(PreconditionFailed):
            await client.put(f"{path}/a", first | {"data": {"b": ""}})
        uid = first["metadata"]["uid"]
        for stale in ({"uid": uid, "resource_version": "1"}, {"uid": "x", "resource_version": "1"}):
            with pytest.raises(PreconditionFailed):
                await client.delete(f"{path}/a", **stale)
        current = second["metadata"]["resourceVersion"]
        await client.delete(f"{path}/a", uid=uid, resource_version=current)
        await client.delete(f"{path}/a", uid=uid, resource_version=current)
        assert await client.get(f"{path}/a") is None


async def test_what_is_allowed_can_be_asked(kube_cluster, kube_namespace):
    async with KubernetesClient(KubernetesOptions(kubeconfig=kube_cluster.kubeconfig("nobody"))) as client:
        assert not await client.review_access(verb="list", resource="secrets", namespace=kube_namespace)
    async with KubernetesClient(KubernetesOptions(kubeconfig=kube_cluster.kubeconfig())) as client:
        assert await client.review_access(verb="list", resource="secrets")
        assert await client.review_access(verb="get", resource="leases", group="coordination.k8s.io")


async def test_a_body_of_the_largest_size_raises_no_warning(kube_namespace, admin):
    body = {"metadata": {"name": "a"}, "stringData": {"a": "x" * 1024 * 1024}}
    async with KubernetesClient(admin) as client:
        stored = await client.post(resource_path("secrets", namespace=kube_namespace), body)
    assert stored["metadata"]["name"] == "a"


async def test_nothing_is_logged_of_what_is_sent_and_received(kube_namespace, admin, caplog):
    caplog.set_level(logging.DEBUG)
    path = resource_path("secrets", namespace=kube_namespace)
    async with KubernetesClient(admin) as client:
        await client.post(path, BODY)
        assert await client.get(f"{path}/a") is not None
        with pytest.raises(PreconditionFailed):
            await client.post(path, BODY)
    assert CANARY not in caplog.text
    assert "password" not in caplog.text


# --- strangers


@asynccontextmanager
async def answering(tmp_path: Path, *answers: bytes) -> AsyncIterator[KubernetesClient]:
    """A client of something that is no API server; it answers in turn, and hangs up after each answer."""
    left = list(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(left.pop(0))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, KubernetesClient(kubeconfig(tmp_path / "c", f"http://127.0.0.1:{port}", {})) as client:
        yield client


def http(status: str, body: str, *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode()


@pytest.mark.parametrize(
    "answer",
    [
        http("404 Not Found", "<html>not here</html>"),
        http("404 Not Found", '{"kind": "Status", "reason": "NotFound"}'),
        http("200 OK", "<html>log in first</html>"),
        http("200 OK", "[]"),
        http("302 Found", "", "Location: http://127.0.0.1:1/login"),
        http("502 Bad Gateway", CANARY),
        http("200 OK", '{"kind": "Secret"}')[:-5],
        b"",
    ],
)
async def test_a_strangers_answer_is_neither_absence_nor_success(tmp_path, answer):
    async with answering(tmp_path, answer, answer, answer) as client:
        for kind, call in {
            SinkUnavailable: client.get(f"{SECRETS}/a"),
            OutcomeUnknown: client.post(SECRETS, BODY),
        }.items():
            with pytest.raises(kind) as caught:
                await call
            assert type(caught.value) is kind
            assert CANARY not in caught.value.reason


@pytest.mark.parametrize("body", ["{}", '{"items": null}', '{"items": {}}'])
async def test_what_has_no_items_is_no_empty_list(tmp_path, body):
    async with answering(tmp_path, http("200 OK", body)) as client:
        with pytest.raises(SinkUnavailable, match="not a list"):
            await anext(client.list_pages(SECRETS, {}))


@pytest.mark.fault(26)
async def test_throttling_passes_on_how_long_to_wait(tmp_path):
    async with answering(tmp_path, http("429 Too Many Requests", "", "Retry-After: 7")) as client:
        with pytest.raises(Throttled) as caught:
            await client.post(SECRETS, BODY)
    assert caught.value.retry_after == 7.0
