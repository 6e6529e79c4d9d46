"""What a client shows of itself: a bearer token in the metadata, a certificate of its TLS connection.

Reads and bounds; believes nothing. That a certificate was signed by the client authority is proven by
TLS before anything gets here; whether a token is good is an `Access`'s to find out.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from backends.secret_value import SecretValue

MAX_TOKEN: Final = 16 * 1024
"""Bytes. A longer one is no token, and nobody is asked about it."""

_AUTHORIZATION: Final = "authorization"
_SCHEME: Final = "bearer"
_TOKEN_LETTERS: Final = frozenset(string.ascii_letters + string.digits + "-._~+/=")
"""RFC 6750, section 2.1."""
_KNOWN_CERTIFICATES: Final = 256


class Malformed(Exception):
    """What was shown is nothing that could be looked at; the message never says what it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """What a certificate says of its owner."""

    common_name: str
    organizations: tuple[str, ...]
    valid_until: float
    """Seconds since 1970. A connection can outlive the certificate it was opened with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Everything one request shows; either may be missing."""

    token: SecretValue | None = None
    certificate: ClientCertificate | None = None


def read_credentials(
    metadata: Iterable[tuple[str, str | bytes]], tls: Mapping[str, Iterable[bytes]]
) -> Credentials:
    """From the metadata of a request and gRPC's `auth_context`. Raises `Malformed`."""
    pem = tuple(tls.get("x509_pem_cert", ()))
    return Credentials(
        token=_bearer([value for key, value in metadata if key.lower() == _AUTHORIZATION]),
        certificate=read_certificate(pem[0]) if pem else None,
    )


def _bearer(headers: list[str | bytes]) -> SecretValue | None:
    """None where there is no header. NB: of two, another party may have looked at the other one."""
    if not headers:
        return None
    text = headers[0]
    if len(headers) > 1 or not isinstance(text, str) or len(text) > len(_SCHEME) + 1 + MAX_TOKEN:
        raise Malformed
    scheme, _, token = text.partition(" ")
    if scheme.lower() != _SCHEME or not token or not _TOKEN_LETTERS.issuperset(token):
        raise Malformed
    return SecretValue(token.encode("ascii"))


@lru_cache(maxsize=_KNOWN_CERTIFICATES)
def read_certificate(pem: bytes) -> ClientCertificate:
    """Raises `Malformed`, also where it has no common name, or more than one."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = _texts(certificate.subject, NameOID.COMMON_NAME)
        organizations = _texts(certificate.subject, NameOID.ORGANIZATION_NAME)
    except ValueError:
        raise Malformed from None
    if len(names) != 1 or not names[0]:
        raise Malformed
    return ClientCertificate(
        common_name=names[0],
        organizations=organizations,
        valid_until=certificate.not_valid_after_utc.timestamp(),
    )


def _texts(subject: x509.Name, kind: x509.ObjectIdentifier) -> tuple[str, ...]:
    values = (attribute.value for attribute in subject.get_attributes_for_oid(kind))
    return tuple(value for value in values if isinstance(value, str))
