"""What the configuration may say about a key vault and its targets."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from backends.azure_keyvault import KIND
from backends.azure_keyvault.options import AzureKeyVaultOptions, AzureKeyVaultTarget
from backends.clients.surroundings import Surroundings

URL = "https://example.vault.azure.net"
WORKLOAD = {"method": "workload-identity"}


def options(**settings: object) -> AzureKeyVaultOptions:
    surroundings = Surroundings(folder=Path("/etc"), environ={"SECRET": "canary", "EMPTY": ""})
    return AzureKeyVaultOptions.model_validate(
        {"vaultUrl": URL, "auth": WORKLOAD} | settings, context=surroundings
    )


def refusal(make, **settings: object) -> str:
    with pytest.raises(ValidationError) as caught:
        make(**settings)
    return str(caught.value.errors(include_input=False, include_url=False))


def target(**settings: object) -> AzureKeyVaultTarget:
    return AzureKeyVaultTarget.model_validate(settings)


def test_an_address_and_a_login_are_enough():
    made = options()
    assert (made.vault_url, made.purge, made.verify_challenge_resource) == (URL, False, True)
    assert (made.authority_url, made.request_timeout) == (None, 30.0)


@pytest.mark.parametrize(
    "url", [URL, f"{URL}/", "https://EXAMPLE.vault.azure.net", f"{URL}:443", "https://[::1]:8443"]
)
def test_an_address_is_https_and_a_host(url):
    assert options(vaultUrl=url).vault_url == url.rstrip("/").lower()


@pytest.mark.parametrize(
    "url",
    [
        "http://example.vault.azure.net",
        "example.vault.azure.net",
        "example",
        "",
        "https://",
        f"{URL}/secrets",
        f"{URL}?api-version=1",
        f"{URL}#x",
        "https://user:canary@example.vault.azure.net",
        f"{URL}\n",
        f" {URL}",
        "https://example.vault.azure.net:port",
        "ftp://example",
    ],
)
def test_a_vault_url_that_is_no_https_address_is_refused(url):
    message = refusal(options, vaultUrl=url)
    assert "should be an https address, host only, such as https://example.vault.azure.net" in message
    assert "canary" not in message


def test_an_authority_is_a_cloud_or_an_https_address():
    assert options(authority="AzureChina").authority_url == "https://login.chinacloudapi.cn"
    assert options(authority="https://login.example/").authority_url == "https://login.example"
    for wrong in ("AzureMoon", "http://login.example", "https://login.example/tenant"):
        assert "AzurePublic, AzureGovernment, AzureChina" in refusal(options, authority=wrong)


SECRET = {
    "method": "client-secret",
    "tenantId": "tenant",
    "clientId": "client",
    "clientSecret": {"env": "SECRET"},
}


@pytest.mark.parametrize(
    "auth",
    [
        WORKLOAD,
        WORKLOAD | {"tenantId": "example.com", "clientId": "client", "tokenFile": "token"},
        {"method": "managed-identity"},
        {"method": "managed-identity", "clientId": "client"},
        {"method": "managed-identity", "resourceId": "/subscriptions/s"},
        SECRET,
        {"method": "client-certificate", "tenantId": "t", "clientId": "c", "certificate": "client.pem"},
        {"method": "azure-cli"},
    ],
    ids=" ".join,
)
def test_a_login_is_told_by_its_method(auth):
    made = options(auth=auth)
    assert made.auth.method == auth["method"]
    assert "canary" not in repr(made)


@pytest.mark.bad_input(41)
def test_a_literal_secret_is_refused_and_not_shown():
    for auth in (
        SECRET | {"clientSecret": "canary-secret"},
        {
            "method": "client-certificate",
            "tenantId": "t",
            "clientId": "c",
            "certificate": "a",
            "password": "canary",
        },
    ):
        message = refusal(options, auth=auth)
        assert "secrets are never literals in the file: use {env: NAME} or {file: PATH}" in message
        assert "canary" not in message


@pytest.mark.parametrize(
    "auth",
    [
        {},
        {"method": "password"},
        {"method": "client-secret"},
        SECRET | {"clientSecret": {"env": "EMPTY"}},
        SECRET | {"clientSecret": {"env": "MISSING"}},
        SECRET | {"tenantId": "a/b"},
        SECRET | {"clientId": ""},
        WORKLOAD | {"clientSecret": {"env": "SECRET"}},
        {"method": "managed-identity", "clientId": "a", "resourceId": "b"},
        {"method": "client-certificate", "tenantId": "t", "clientId": "c"},
    ],
)
def test_a_login_that_is_none_is_refused(auth):
    assert refusal(options, auth=auth)


def test_unknown_settings_are_refused():
    assert "extra_forbidden" in refusal(options, vault="x")
    assert "extra_forbidden" in refusal(target, path="x")


# --- targets


def test_a_target_is_a_secret_for_each_output():
    shape = target().shape()
    assert shape.parts == ("{namespace}-{installation}-{output}",)
    assert shape.layout in KIND.capabilities.layouts
    assert shape.attributes == {}


def test_what_a_target_asks_for_becomes_attributes():
    made = target(
        contentType="text/x-dsn",
        expires="2027-01-01T01:00:00.5+01:00",
        notBefore=datetime(2026, 1, 1, tzinfo=UTC),
        tags={"team": "orders"},
    )
    assert made.shape().attributes == {
        "content-type": "text/x-dsn",
        "expires": "2027-01-01T00:00:00Z",
        "not-before": "2026-01-01T00:00:00Z",
        "tag:team": "orders",
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"expires": "tomorrow"}, "should be a time such as"),
        ({"expires": "9999-12-31T23:59:59-01:00"}, "that the calendar still has in UTC"),
        ({"expires": "2027-01-01T00:00:00"}, "with its zone"),
        ({"notBefore": datetime(2027, 1, 1)}, "with its zone"),  # noqa: DTZ001  # that is what is refused
        ({"notBefore": date(2027, 1, 1)}, "string_type"),
        ({"contentType": "x" * 256}, "1 to 255 characters"),
        ({"contentType": ""}, "1 to 255 characters"),
        ({"tags": {str(number): "x" for number in range(8)}}, "at most 7 tags"),
        ({"tags": {"outputs.porter.sh/instance": "x"}}, "is reserved"),
        ({"tags": {"Outputs.Porter.SH/x": "x"}}, "is reserved"),
        ({"tags": {"file-encoding": "x"}}, "is reserved"),
        ({"tags": {"x" * 257: "x"}}, "1 to 256 characters"),
        ({"tags": {"x": "x" * 257}}, "1 to 256 characters"),
        ({"tags": {"x": ""}}, "1 to 256 characters"),
        ({"tags": {"": "x"}}, "1 to 256 characters"),
    ],
)
def test_what_a_key_vault_would_not_take_is_refused(settings, message):
    assert message in refusal(target, **settings)


def test_the_capabilities_are_as_documented():
    table = KIND.capabilities
    assert (table.compare_and_set, table.atomic_mark, table.lists_values, table.restarts) == (
        False,
        True,
        False,
        False,
    )
    assert (table.max_secret_bytes, table.max_value_bytes) == (None, 25600)
    assert (table.max_address_length, table.max_key_length) == (127, None)
