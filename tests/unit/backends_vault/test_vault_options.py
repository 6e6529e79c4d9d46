"""What a configuration may say about this sink: every refusal in its own words. No server.

A value that was refused stands in no message of ours; what pydantic adds of it is cut by the loader.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from backends.clients.surroundings import Surroundings
from backends.clients.vault_options import SERVICE_ACCOUNT_TOKEN, KubernetesAuth
from backends.contract import FindingLevel, Layout, TargetShape
from backends.secret_value import SecretValue
from backends.vault import KIND
from backends.vault.options import KV1_CAPABILITIES, VaultSinkOptions, VaultTarget
from backends.vault.rights import findings, needed

CANARY = "hvs.canary-5f1e"
TOKEN = {"method": "token", "token": {"env": "TOKEN"}}
SETTINGS = {"address": "https://vault.example:8200", "auth": TOKEN}


def options(environ=None, **changes) -> VaultSinkOptions:
    surroundings = Surroundings(
        folder=Path("/config"), environ={"TOKEN": CANARY} if environ is None else environ
    )
    settings = {name: value for name, value in (SETTINGS | changes).items() if value is not None}
    return VaultSinkOptions.model_validate(settings, context=surroundings)


def refusal(**changes) -> str:
    with pytest.raises(ValidationError) as caught:
        options(**changes)
    found = [".".join(map(str, error["loc"])) + ": " + error["msg"] for error in caught.value.errors()]
    assert CANARY not in " ".join(found)
    return " | ".join(found)


def test_the_defaults():
    found = options()
    assert (found.mount, found.paths, found.namespace, found.insecure) == ("secret", ("porter",), None, False)
    assert found.request_timeout == 30.0
    assert found.auth.method == "token"
    assert found.auth.token == SecretValue(CANARY.encode())


def test_no_repr_shows_a_token():
    assert CANARY not in repr(options()) + str(options())


def test_settings_are_written_in_camel_case():
    found = options(
        namespace="team/shop/",
        caFile="ca.pem",
        serverName="vault.internal",
        clientCertificate="c.pem",
        clientKey="k.pem",
        requestTimeout="500ms",
        mount="/kv/shop/",
        paths=["porter", "teams/shop"],
        auth={"method": "kubernetes", "role": "syncer"},
    )
    assert (found.namespace, found.mount, found.paths) == ("team/shop", "kv/shop", ("porter", "teams/shop"))
    assert (found.ca_file, found.client_key, found.request_timeout) == (Path("ca.pem"), Path("k.pem"), 0.5)
    assert isinstance(found.auth, KubernetesAuth)
    assert found.auth.token_file == SERVICE_ACCOUNT_TOKEN


@pytest.mark.bad_input(41)
@pytest.mark.parametrize(
    ("auth", "message"),
    [
        ({"method": "token"}, "auth.token: Value error, needs token or tokenFile, and not both"),
        (TOKEN | {"tokenFile": "t"}, "auth.token: Value error, needs token or tokenFile, and not both"),
        ({"method": "token", "token": CANARY}, "secrets are never literals in the file: use {env: NAME} or {file: PATH}"),
        ({"method": "token", "token": {"env": "GONE"}}, "the environment variable GONE is not set"),
        ({"method": "token", "token": {"env": "EMPTY"}}, "the environment variable EMPTY is empty"),
        ({"method": "token", "token": {"file": "gone"}}, "/config/gone cannot be read: No such file or directory"),
        ({"method": "token", "token": {"env": "TOKEN", "file": "x"}}, "should be text without a secret in it"),
        ({"method": "token", "token": 1}, "should be text without a secret in it"),
        ({"method": "userpass", "username": "u", "password": CANARY}, "secrets are never literals in the file"),
        ({"method": "approle", "roleId": "r", "secretId": CANARY}, "secrets are never literals in the file"),
    ],
)  # fmt: skip
def test_a_credential_is_a_reference_that_can_be_resolved(auth, message):
    assert message in refusal(auth=auth, environ={"TOKEN": CANARY, "EMPTY": ""})


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        ({"method": "oidc"}, "Input tag 'oidc' found using 'method' does not match any of the expected tags: 'token'"),
        ({"token": {"env": "TOKEN"}}, "auth: Unable to extract tag using discriminator 'method'"),
        (None, "auth: Field required"),
        ({"method": "kubernetes"}, "auth.kubernetes.role: Field required"),
        ({"method": "kubernetes", "role": ""}, "auth.kubernetes.role: String should have at least 1 character"),
        ({"method": "kubernetes", "role": "r", "mount": "../sys"}, "auth.kubernetes.mount: Value error, should be a path"),
        ({"method": "jwt", "role": "r"}, "auth.jwt.tokenFile: Field required"),
        ({"method": "approle"}, "auth.approle.roleId: Field required"),
        ({"method": "userpass", "username": "u"}, "auth.userpass.password: Field required"),
        ({"method": "ldap", "password": {"env": "TOKEN"}}, "auth.ldap.username: Field required"),
        ({"method": "aws", "role": "r"}, "auth.aws.accessKey: Field required"),
        (TOKEN | {"role": "r"}, "auth.token.role: Extra inputs are not permitted"),
        ({"method": "cert"}, "auth with method cert needs clientCertificate"),
    ],
)  # fmt: skip
def test_a_login_that_cannot_be_is_refused(auth, message):
    assert message in refusal(auth=auth)


@pytest.mark.bad_input(44)
@pytest.mark.parametrize("address", ["http://vault:8200", "HTTP://vault:8200", "hTTp://127.0.0.1:8200"])
def test_clear_text_has_to_be_asked_for(address):
    assert "the address should be https://; http:// needs insecure: true" in refusal(address=address)
    assert options(address=address, insecure=True).insecure


@pytest.mark.parametrize("value", ["true", 1, "yes"])
def test_insecure_is_nothing_but_true_or_false(value):
    assert "insecure: Input should be a valid boolean" in refusal(insecure=value)


@pytest.mark.bad_input(44)
@pytest.mark.parametrize(
    ("address", "message"),
    [
        (None, "Field required"),
        ("", "such as https://vault.example:8200"),
        ("vault:8200", "such as https://vault.example:8200"),
        ("ftp://vault", "such as https://vault.example:8200"),
        ("https://", "such as https://vault.example:8200"),
        ("https://:8200", "such as https://vault.example:8200"),
        ("https://vault/v1", "scheme, host and port only"),
        ("https://vault?a=b", "scheme, host and port only"),
        ("https://vault#a", "scheme, host and port only"),
        (f"https://user:{CANARY}@vault", "scheme, host and port only"),
        ("https://vault:0", "scheme, host and port only"),
        ("https://vault:99999", "Port out of range 0-65535"),
        ("https://[::1", "Invalid IPv6 URL"),
        (1, "Input should be a valid string"),
    ],
)
def test_an_address_is_scheme_host_and_port(address, message):
    assert message in refusal(address=address)


def test_a_slash_at_the_end_of_an_address_is_dropped():
    assert options(address="https://vault:8200/").address == "https://vault:8200"
    assert options(address="https://[::1]:8200").address == "https://[::1]:8200"


@pytest.mark.bad_input(42)
@pytest.mark.parametrize(
    "place", ["", "/", "..", "a/../b", "a/./b", "a..b", "a//b", "a b", "a?b", "a#b", "a%2fb", "é", "a\n"]
)
@pytest.mark.parametrize("setting", ["mount", "namespace", "paths"])
def test_what_reaches_outside_is_no_path(setting, place):
    value = [place] if setting == "paths" else place
    assert f"{setting}" in refusal(**{setting: value})
    assert "should be a path of letters, digits, '-', '_' and '.', without empty parts or '..'" in refusal(
        **{setting: value}
    )


@pytest.mark.bad_input(43)
@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "should list at least one path, or be left out"),
        (["porter", "porter"], "porter is already below, or the same as, porter"),
        (["porter", "porter/shop"], "porter/shop is already below, or the same as, porter"),
        (["a/b/c", "x", "a/b"], "a/b/c is already below, or the same as, a/b"),
        (["porter", "/porter/"], "porter is already below, or the same as, porter"),
        ([".syncer"], ".syncer: names that begin with a dot are the sink's own"),
        (["porter/.hidden"], "names that begin with a dot are the sink's own"),
    ],
)
def test_paths_do_not_overlap_and_are_not_the_sinks_own(paths, message):
    assert message in refusal(paths=paths)


def test_paths_that_only_begin_alike_are_two():
    assert options(paths=["porter", "porters", "a/b", "a/bc"]).paths == ("porter", "porters", "a/b", "a/bc")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clientKey": "k.pem"}, "clientKey needs clientCertificate"),
        ({"serverName": ""}, "serverName: String should have at least 1 character"),
        ({"requestTimeout": 0}, "requestTimeout: Input should be greater than 0"),
        ({"requestTimeout": "11m"}, "requestTimeout: Input should be less than or equal to 600"),
        ({"requestTimeout": "soon"}, "should be a duration such as 30s, 500ms or 1m"),
        ({"token": CANARY}, "token: Extra inputs are not permitted"),
        ({"tlsSkipVerify": True}, "tlsSkipVerify: Extra inputs are not permitted"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    assert message in refusal(**changes)


def test_a_target_comes_down_to_the_parts_of_a_path():
    assert VaultTarget().shape() == TargetShape(
        parts=("porter", "{namespace}", "{installation}"), layout=Layout.BUNDLE
    )
    assert VaultTarget(layout=Layout.PER_OUTPUT).shape().parts == (
        "porter",
        "{namespace}",
        "{installation}",
        "{output}",
    )
    own = VaultTarget.model_validate({"path": "porter/{installation}", "layout": "perOutput"})
    assert own.shape() == TargetShape(parts=("porter", "{installation}"), layout=Layout.PER_OUTPUT)


@pytest.mark.bad_input(42)
@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "..", "porter/../a", "./a"])
def test_a_template_that_reaches_outside_is_refused(path):
    with pytest.raises(ValidationError, match="is not a path below the mount: it has a part"):
        VaultTarget.model_validate({"path": path})


def test_the_kind_names_its_own_parts():
    assert (KIND.kind, KIND.options, KIND.target) == ("vault", VaultSinkOptions, VaultTarget)
    assert KIND.naming(options(paths=["a", "b"])).address(("b", "c")) == "b/c"
    assert (KIND.capabilities.compare_and_set, KV1_CAPABILITIES.compare_and_set) == (True, False)
    assert (KIND.capabilities.lists_values, KV1_CAPABILITIES.lists_values) == (False, True)


async def test_the_sink_is_made_without_a_server():
    assert KIND.create(options()).capabilities == KIND.capabilities


def test_importing_the_kind_loads_no_client_library():
    code = "import sys, backends.vault; print({'hvac', 'requests'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


# --- what a token needs to be allowed


@pytest.mark.parametrize("version", [1, 2])
def test_a_token_that_may_do_what_is_needed_is_fine(version):
    wanted = needed("secret", ["porter"], version)
    (found,) = findings(wanted, wanted, "secret", version)
    assert (found.level, found.subject) == (FindingLevel.OK, f"KV v{version} at secret")


@pytest.mark.parametrize("version", [1, 2])
def test_each_right_that_is_missing_is_named_with_its_path(version):
    wanted = needed("secret", ["porter", "other"], version)
    for path, rights in wanted.items():
        for right in rights:
            allowed = {**wanted, path: rights - {right}}
            (found,) = findings(wanted, allowed, "secret", version)
            assert (found.level, found.subject) == (FindingLevel.ERROR, path)
            assert found.detail == f"the right to {right} is missing"


def test_a_path_nothing_was_said_of_lacks_everything():
    found = findings(needed("secret", ["porter"], 2), {}, "secret", 2)
    assert {one.level for one in found} == {FindingLevel.ERROR}
    assert len(found) == 4


@pytest.mark.parametrize("excess", ["root", "sudo"])
def test_a_token_that_may_do_far_too_much_is_warned_of(excess):
    wanted = needed("secret", ["porter"], 1)
    found = findings(wanted, {path: frozenset({excess}) for path in wanted}, "secret", 1)
    assert [one.level for one in found] == [FindingLevel.OK, *[FindingLevel.WARNING] * 3]
    assert f"the token has {excess}" in found[1].detail
