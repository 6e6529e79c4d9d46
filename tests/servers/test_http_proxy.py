"""The proxy before a real server, and alone where it never asks one."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import requests

from tests.servers.http_proxy import (
    Asked,
    BlackHole,
    HttpProxy,
    Reply,
    after,
    answer,
    before,
    delay,
    drop,
    drop_reply,
    everything,
    on,
    rewrite_reply,
    rewrite_request,
)
from tests.servers.kube_client import KubeClient, KubeError
from tests.servers.kubernetes import KubeCluster
from tests.servers.lacking import provided
from tests.servers.openbao import BaoServer
from tests.servers.openbao_client import BaoClient, session_with
from tests.servers.processes import free_port


@pytest.fixture(scope="module")
def bao() -> Iterator[BaoServer]:
    server = provided(BaoServer.start)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def shared_proxy(bao: BaoServer) -> Iterator[HttpProxy]:
    proxy = HttpProxy.start(bao.url, bao.ca_file)
    yield proxy
    proxy.stop()


@pytest.fixture
def proxy(shared_proxy: HttpProxy) -> Iterator[HttpProxy]:
    yield shared_proxy
    shared_proxy.rules.clear()


@pytest.fixture
def client(proxy: HttpProxy, bao: BaoServer) -> Iterator[BaoClient]:
    with session_with(proxy.ca_file) as session:
        yield BaoClient(proxy.url, bao.root_token, session)


@pytest.fixture(scope="module")
def mount(bao: BaoServer) -> str:
    return bao.mount(2)


def test_what_goes_through_is_what_the_server_has(client: BaoClient, bao: BaoServer, mount: str) -> None:
    client.write(f"{mount}/data/through/a", {"data": {"k": "ü"}})
    assert bao.read(f"{mount}/data/through/a") == client.read(f"{mount}/data/through/a")
    client.patch(f"{mount}/metadata/through/a", {"custom_metadata": {"owner": "us"}})
    found = client.read(f"{mount}/metadata/through/a")
    assert found is not None
    assert found["custom_metadata"] == {"owner": "us"}
    client.delete(f"{mount}/metadata/through/a")
    assert client.read(f"{mount}/metadata/through/a") is None


def test_a_method_that_only_vault_knows_passes_with_its_query(
    client: BaoClient, proxy: HttpProxy, mount: str
) -> None:
    for name in "abc":
        client.write(f"{mount}/data/listed/{name}", {"data": {}})
    begin = proxy.position()
    assert client.send("LIST", f"{mount}/metadata/listed", limit="1", after="a").data["keys"] == ["b"]
    (seen,) = proxy.since(begin)
    assert (seen.method, seen.path, seen.status) == ("LIST", f"/v1/{mount}/metadata/listed", 200)
    assert seen.query == "limit=1&after=a"


def test_odd_paths_arrive_as_they_were_sent(client: BaoClient, bao: BaoServer, mount: str) -> None:
    path = f"{mount}/data/odd/a b%+ü?#"
    client.write(path, {"data": {"k": "v"}})
    assert bao.list(f"{mount}/metadata/odd") == ["a b%+ü?#"]
    assert client.read(path) == bao.read(path)


def test_a_namespace_and_a_bearer_token_are_passed_on(client: BaoClient, bao: BaoServer) -> None:
    namespace = bao.namespace()
    path = client.inside(namespace).mount(1)
    assert f"{path}/" in (bao.admin.inside(namespace).read("sys/mounts") or {})
    headers = {"Authorization": f"Bearer {bao.root_token}"}
    found = client.session.get(f"{client.url}/v1/auth/token/lookup-self", headers=headers)
    assert found.json()["data"]["display_name"] == "root"


def test_a_large_body_passes(client: BaoClient, mount: str) -> None:
    client.write(f"{mount}/data/large", {"data": {"k": "x" * 3_000_000}})
    found = client.read(f"{mount}/data/large")
    assert found is not None
    assert len(found["data"]["k"]) == 3_000_000


def test_a_body_in_chunks_is_put_together(client: BaoClient, mount: str) -> None:
    whole = json.dumps({"data": {"k": "v"}}).encode()
    found = client.session.post(
        f"{client.url}/v1/{mount}/data/chunked",
        data=(whole[i : i + 5] for i in range(0, len(whole), 5)),
        headers={"X-Vault-Token": client.token_value},
    )
    assert found.status_code == 200
    assert client.read(f"{mount}/data/chunked") is not None


def test_many_requests_are_in_flight_at_once(client: BaoClient, proxy: HttpProxy, mount: str) -> None:
    hole = BlackHole()
    rule = proxy.rules.add(on("POST"), hole)
    with ThreadPoolExecutor(20) as threads:
        written = [threads.submit(client.write, f"{mount}/data/many/{n}", {"data": {}}) for n in range(20)]
        rule.wait(times=20)
        assert client.list(f"{mount}/metadata/many") == []
        hole.release()
        assert {each.result()["version"] for each in written} == {1}
    assert len(client.list(f"{mount}/metadata/many")) == 20


def test_a_rule_answers_in_the_servers_place_so_often(
    client: BaoClient, proxy: HttpProxy, bao: BaoServer, mount: str
) -> None:
    rule = proxy.rules.add(
        on("POST", path="/instead"), answer(429, {"errors": ["slow"]}, {"Retry-After": "1"}), times=2
    )
    before_all = bao.audit.position()
    found = [client.send("POST", f"{mount}/data/instead", {"data": {}}) for _ in range(3)]
    assert [each.status for each in found] == [429, 429, 200]
    assert (found[0].errors, found[0].headers["Retry-After"]) == (("slow",), "1")
    assert rule.taken == 2
    assert len(bao.audit.writes(since=before_all, prefix=f"{mount}/data/instead")) == 1


def test_a_dropped_request_never_arrives(
    client: BaoClient, proxy: HttpProxy, bao: BaoServer, mount: str
) -> None:
    proxy.rules.add(on("POST"), drop(), times=1)
    begin = proxy.position()
    with pytest.raises(requests.ConnectionError):
        client.write(f"{mount}/data/dropped", {"data": {}})
    assert bao.read(f"{mount}/metadata/dropped") is None
    assert [seen.status for seen in proxy.since(begin)] == [None]


def test_a_lost_answer_belongs_to_a_request_that_was_applied(
    client: BaoClient, proxy: HttpProxy, bao: BaoServer, mount: str
) -> None:
    proxy.rules.add(on("POST"), drop_reply(), times=1)
    with pytest.raises(requests.ConnectionError):
        client.write(f"{mount}/data/lost", {"data": {}})
    assert bao.read(f"{mount}/data/lost") is not None


def test_a_callback_comes_between_the_deed_and_the_answer(
    client: BaoClient, proxy: HttpProxy, bao: BaoServer, mount: str
) -> None:
    found: list[object] = []
    path = f"{mount}/data/called"

    def look(asked: Asked, reply: Reply) -> None:
        found.extend((asked.json(), reply.status, bao.read(path)))

    proxy.rules.add(on("POST"), before(lambda _: found.append(bao.read(path))))
    proxy.rules.add(on("POST"), after(look))
    client.write(path, {"data": {"k": "v"}})
    assert found[:3] == [None, {"data": {"k": "v"}}, 200]
    assert found[3] is not None


def test_a_client_can_be_killed_before_it_has_its_answer(
    client: BaoClient, proxy: HttpProxy, bao: BaoServer, mount: str
) -> None:
    program = f"""
import requests
requests.post({f"{proxy.url}/v1/{mount}/data/killed"!r}, json={{"data": {{}}}}, verify={str(proxy.ca_file)!r},
              headers={{"X-Vault-Token": {client.token_value!r}}})
"""
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        proxy.rules.add(on("POST"), after(lambda *_: process.kill()), times=1)
        assert process.wait(timeout=30) == -9
    assert bao.read(f"{mount}/data/killed") is not None


def test_requests_and_answers_are_rewritten(
    client: BaoClient, proxy: HttpProxy, bao: BaoServer, mount: str
) -> None:
    def other_value(asked: Asked) -> Asked:
        return asked.with_json({"data": {"k": "theirs"}})

    def teapot(reply: Reply) -> Reply:
        return replace(reply, status=418).with_json({"data": {"was": reply.status}})

    proxy.rules.add(on("POST"), rewrite_request(other_value), times=1)
    proxy.rules.add(on("POST"), rewrite_reply(teapot), times=1)
    found = client.send("POST", f"{mount}/data/rewritten", {"data": {"k": "ours"}})
    assert (found.status, found.data) == (418, {"was": 200})
    stored = bao.read(f"{mount}/data/rewritten")
    assert stored is not None
    assert stored["data"] == {"k": "theirs"}


def test_a_query_is_rewritten(client: BaoClient, proxy: HttpProxy, mount: str) -> None:
    client.write(f"{mount}/data/pages/a", {"data": {}})
    client.write(f"{mount}/data/pages/b", {"data": {}})
    proxy.rules.add(on("LIST"), rewrite_request(lambda asked: replace(asked, query="limit=1")))
    assert client.list(f"{mount}/metadata/pages") == ["a"]


def test_the_first_rule_wins_and_the_next_is_kept_for_later(client: BaoClient, proxy: HttpProxy) -> None:
    proxy.rules.add(everything, answer(503), times=1)
    proxy.rules.add(everything, answer(429), times=1)
    assert [client.send("GET", "sys/health").status for _ in range(3)] == [503, 429, 200]


def test_a_rule_can_go_by_the_number_of_a_request(client: BaoClient, proxy: HttpProxy) -> None:
    chosen = proxy.position() + 2
    proxy.rules.add(lambda _method, _path, number: number == chosen, answer(503))
    assert [client.send("GET", "sys/health").status for _ in range(3)] == [200, 503, 200]


def test_a_delay_holds_the_request_back(client: BaoClient, proxy: HttpProxy) -> None:
    begun = time.monotonic()
    with proxy.rules.applied(everything, delay(0.05)) as rule:
        client.read("sys/health")
    assert time.monotonic() - begun >= 0.05
    client.read("sys/health")
    assert rule.taken == 1


def test_a_black_hole_after_the_deed_holds_the_answer(
    client: BaoClient, proxy: HttpProxy, bao: BaoServer, mount: str
) -> None:
    hole = BlackHole(after_applied=True)
    proxy.rules.add(on("POST"), hole)
    with pytest.raises(requests.Timeout):
        client.session.post(
            f"{client.url}/v1/{mount}/data/hole",
            json={"data": {}},
            headers={"X-Vault-Token": client.token_value},
            timeout=0.2,
        )
    assert bao.read(f"{mount}/data/hole") is not None
    hole.release()
    client.write(f"{mount}/data/hole", {"data": {}})


async def test_a_test_with_a_loop_waits_for_a_rule(client: BaoClient, proxy: HttpProxy) -> None:
    hole = BlackHole()
    rule = proxy.rules.add(everything, hole)
    asking = asyncio.create_task(asyncio.to_thread(client.read, "sys/health"))
    await asyncio.to_thread(rule.wait)
    assert not asking.done()
    hole.release()
    assert await asking is not None
    with pytest.raises(TimeoutError, match="applied 1 times"):
        rule.wait(times=2, seconds=0)


def test_connections_are_broken_on_request(client: BaoClient, proxy: HttpProxy) -> None:
    client.read("sys/health")
    rule = proxy.rules.add(everything, BlackHole())
    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(client.read, "sys/health")
        rule.wait()
        proxy.drop_connections()
        with pytest.raises(requests.ConnectionError):
            asking.result()
    proxy.rules.clear()
    assert client.read("sys/health") is not None


def test_a_connection_serves_one_request_after_another(bao: BaoServer) -> None:
    proxy = HttpProxy.start(bao.url, bao.ca_file)
    with session_with(proxy.ca_file) as session:
        for _ in range(3):
            BaoClient(proxy.url, "", session).read("sys/health")
        assert len(proxy._connections) == 1
    proxy.stop()


def test_it_stands_before_kubernetes_too(kube_cluster: KubeCluster, kube_namespace: str) -> None:
    proxy = HttpProxy.start(kube_cluster.url, kube_cluster.ca_file)
    client = KubeClient(proxy.url, proxy.ca_file, kube_cluster.tokens["admin"])
    metadata = {"name": "answer", "namespace": kube_namespace}
    client.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"k": "v"}})
    assert client.secret(kube_namespace, "answer") == kube_cluster.admin.secret(kube_namespace, "answer")
    with proxy.rules.applied(on("GET", path="/secrets/"), answer(500)), pytest.raises(KubeError, match="500"):
        client.secret(kube_namespace, "answer")
    assert client.delete("v1", "Secret", "answer", kube_namespace)
    assert {"PATCH", "GET", "DELETE"} == {seen.method for seen in proxy.log}
    proxy.stop()


def test_an_upstream_that_is_not_there_breaks_the_connection() -> None:
    proxy = HttpProxy.start(f"http://127.0.0.1:{free_port()}")
    with session_with(proxy.ca_file) as session, pytest.raises(requests.ConnectionError):
        BaoClient(proxy.url, "", session).read("sys/health")
    proxy.stop()


def test_it_stops_with_requests_in_flight(bao: BaoServer) -> None:
    proxy = HttpProxy.start(bao.url, bao.ca_file)
    rule = proxy.rules.add(everything, BlackHole())
    with session_with(proxy.ca_file) as session, ThreadPoolExecutor(1) as threads:
        asking = threads.submit(BaoClient(proxy.url, "", session).read, "sys/health")
        rule.wait()
        proxy.stop()
        with pytest.raises(requests.ConnectionError):
            asking.result()


def test_neither_tokens_nor_bodies_show(proxy: HttpProxy, client: BaoClient, mount: str) -> None:
    shown: list[str] = []
    proxy.rules.add(on("POST"), after(lambda asked, reply: shown.append(f"{asked!r} {reply!r}")))
    client.write(f"{mount}/data/shown", {"data": {"k": "hush"}})
    text = f"{shown} {proxy.log} {client!r}"
    assert "POST" in text
    assert "hush" not in text
    assert client.token_value not in text
