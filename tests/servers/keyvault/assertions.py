"""Whether a client assertion was signed by a registered certificate.

entra/identity-platform/certificate-credentials: a JWT with PS256 (or RS256, still accepted), naming the
certificate by its thumbprint (x5t#S256 or x5t), with the token endpoint as audience, the client's id as issuer
and subject, and an end. The end is checked by the machine's clock, which is the one that clients write it by.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey


@dataclass(frozen=True, slots=True)
class Certificate:
    """What of a client's certificate is registered: its public key and thumbprints."""

    key: RSAPublicKey
    thumbprints: frozenset[str]

    @classmethod
    def load(cls, pem: Path) -> Self:
        """From a PEM file, which may hold the private key and a chain as well: the first certificate counts."""
        certificate = x509.load_pem_x509_certificates(pem.read_bytes())[0]
        key = certificate.public_key()
        if not isinstance(key, RSAPublicKey):
            raise TypeError("a client's certificate has to have an RSA key")
        prints = (certificate.fingerprint(each) for each in (hashes.SHA1(), hashes.SHA256()))
        return cls(key, frozenset(base64.urlsafe_b64encode(each).decode().rstrip("=") for each in prints))


def is_signed_by(certificate: Certificate, assertion: str, client_id: str, audience: str) -> bool:
    """Whether this certificate's owner signed it, for this client and token endpoint."""
    try:
        header = jwt.get_unverified_header(assertion)
        named = {str(header.get(name, "")).rstrip("=") for name in ("x5t#S256", "x5t")}
        claims = jwt.decode(
            assertion,
            certificate.key,
            algorithms=["PS256", "RS256"],
            audience=audience,
            issuer=client_id,
            options={"require": ["exp", "aud", "iss", "sub"]},
        )
    except jwt.PyJWTError:
        return False
    return bool(named & certificate.thumbprints) and claims["sub"] == client_id
