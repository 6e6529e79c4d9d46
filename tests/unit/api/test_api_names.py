"""Access without Kubernetes: clients that the configuration names, and whoever is on this machine.

Decided without a server around it; certificates are real, and read from their PEM.
"""

from __future__ import annotations

import pytest
import trustme

from backends.secret_value import SecretValue
from syncer.api.access import CertificateAccessOptions, CertificateGrant, LoopbackAccessOptions
from syncer.api.callers import Caller, Permission, Resource, Verb
from syncer.api.certificates import CertificateAccess
from syncer.api.credentials import (
    ClientCertificate,
    Credentials,
    Malformed,
    read_certificate,
    read_credentials,
)
from syncer.api.loopback import LOOPBACK, LoopbackAccess

NOW = 1000.0


def owner(name: str, *organizations: str, until: float = 5000.0) -> Credentials:
    return Credentials(
        certificate=ClientCertificate(common_name=name, organizations=organizations, valid_until=until)
    )


def reading(namespace: str | None, resource: Resource = Resource.OUTPUTS) -> Permission:
    return Permission(Verb.GET, resource, namespace)


# --- clients known by name


CLIENTS = {
    "plain": CertificateGrant(namespaces=("dev-*", "shop")),
    "global": CertificateGrant(namespaces=("",), sensitive=True),
    "all": CertificateGrant(namespaces=("*",), sensitive=True),
}


@pytest.mark.parametrize(
    ("name", "namespace", "resource", "allowed"),
    [
        ("plain", "shop", Resource.OUTPUTS, True),
        ("plain", "dev-1", Resource.INSTALLATIONS, True),
        ("plain", "shop", Resource.SENSITIVE_OUTPUTS, False),
        ("plain", "shop2", Resource.OUTPUTS, False),
        ("plain", "SHOP", Resource.OUTPUTS, False),
        ("plain", "", Resource.OUTPUTS, False),
        ("plain", None, Resource.INSTALLATIONS, False),
        ("global", "", Resource.SENSITIVE_OUTPUTS, True),
        ("global", "shop", Resource.OUTPUTS, False),
        ("global", None, Resource.INSTALLATIONS, False),
        ("all", None, Resource.SENSITIVE_OUTPUTS, True),
        ("all", "", Resource.OUTPUTS, True),
        ("nobody", "shop", Resource.OUTPUTS, False),
    ],
)
async def test_a_named_client_may_what_the_configuration_says(name, namespace, resource, allowed):
    access = CertificateAccess(CertificateAccessOptions(clients=CLIENTS))
    assert await access.allows(Caller(name), reading(namespace, resource)) is allowed


async def test_only_named_clients_get_in_and_only_by_a_certificate_that_still_holds():
    access = CertificateAccess(CertificateAccessOptions(clients=CLIENTS), now=lambda: NOW)
    assert await access.caller(owner("plain", "team")) == Caller("plain", ("team",))
    for credentials in (
        owner("nobody"),
        owner("plain", until=NOW),
        Credentials(token=SecretValue(b"plain")),
        Credentials(),
    ):
        assert await access.caller(credentials) is None


# --- loopback


@pytest.mark.parametrize("sensitive", [False, True])
async def test_on_loopback_everything_is_read_and_sensitive_values_only_where_that_is_switched_on(sensitive):
    access = LoopbackAccess(LoopbackAccessOptions(sensitive=sensitive))
    assert await access.caller(Credentials()) == LOOPBACK
    for namespace in (None, "", "shop"):
        assert await access.allows(LOOPBACK, reading(namespace))
        assert await access.allows(LOOPBACK, reading(namespace, Resource.SENSITIVE_OUTPUTS)) is sensitive
    assert not await access.allows(Caller("alice"), reading("shop"))


def test_loopback_reads_no_sensitive_values_by_default():
    assert LoopbackAccessOptions() == LoopbackAccessOptions(sensitive=False)


# --- what is shown


def issued(**names: str) -> bytes:
    return trustme.CA().issue_cert("x@example.org", **names).cert_chain_pems[0].bytes()


def test_a_certificate_is_read_by_its_common_name_and_organizations():
    pem = issued(common_name="app", organization_name="team")
    certificate = read_credentials([], {"x509_pem_cert": [pem]}).certificate
    assert (certificate.common_name, certificate.organizations) == ("app", ("team",))
    assert certificate.valid_until > 1e9


@pytest.mark.parametrize(
    "pem", [b"", b"no PEM", b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_certificate_is_malformed(pem):
    with pytest.raises(Malformed):
        read_certificate(pem)


def test_a_certificate_without_a_common_name_is_nobodys():
    with pytest.raises(Malformed):
        read_certificate(issued(organization_name="team"))
