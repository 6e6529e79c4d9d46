"""The server's side of TLS: certificates that are exchanged under a running server.

The files are looked at again with each connection. TLS 1.2 is the least that gRPC takes. There is no list
of revoked certificates: who shall not come in any more is taken out of the configuration, or of RBAC.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import grpc
import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from syncer.api.options import TlsFiles

_Stamp = tuple[tuple[int, int, int], ...]
_SPKI: Final = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class TlsUnusable(Exception):
    """The message says which file is wrong and how, in one line, and quotes nothing of it."""


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Credentials that follow the files. Raises `TlsUnusable` where they cannot be used to begin with.

    Later, files that cannot be used change nothing: the last good ones stay.
    """
    reloader = _Reloader(files)
    credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
        reloader.first, reloader.changed, require_client_authentication=files.client_ca is not None
    )
    return credentials


class _Reloader:
    """Asked by gRPC's threads, for each connection."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("syncer.api")
        self._stamp = _stamp(files)
        self.first = load(files)

    def changed(self) -> Any:
        """What holds from now on, None where nothing changed. Never raises: gRPC could not bear it."""
        try:
            # Before reading, so that what changes meanwhile is seen the next time.
            stamp = _stamp(self._files)
            if stamp == self._stamp:
                return None
            self._stamp = stamp
            configuration = load(self._files)
        except TlsUnusable as error:
            self._log.warning("TLS files not taken over", reason=str(error))
            return None
        except Exception as error:  # noqa: BLE001
            self._log.warning("TLS files not taken over", reason=type(error).__name__)
            return None
        self._log.info("TLS files taken over")
        return configuration


def load(files: TlsFiles) -> Any:
    """What gRPC needs, checked: certificate and key belong together. Raises `TlsUnusable`."""
    chain, key = _read(files.certificate), _read(files.key)
    if _public_key(files.certificate, chain) != _public_half(files.key, key):
        raise TlsUnusable(f"{files.key} is not the key of {files.certificate}")
    authorities = None
    if files.client_ca is not None:
        authorities = _read(files.client_ca)
        _public_key(files.client_ca, authorities)
    return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=authorities)


def _stamp(files: TlsFiles) -> _Stamp:
    paths = [path for path in (files.certificate, files.key, files.client_ca) if path is not None]
    return tuple(_stamp_of(path) for path in paths)


def _stamp_of(path: Path) -> tuple[int, int, int]:
    """Also another one where a mounted Secret is exchanged, which is a link to another file then."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsUnusable(f"{path} cannot be read: {error.strerror or type(error).__name__}") from None


def _public_key(path: Path, pem: bytes) -> bytes:
    """Of the first certificate; all have to be readable."""
    try:
        return x509.load_pem_x509_certificates(pem)[0].public_key().public_bytes(*_SPKI)
    except (ValueError, UnsupportedAlgorithm):
        raise TlsUnusable(f"{path} has no certificate that can be read") from None


def _public_half(path: Path, pem: bytes) -> bytes:
    try:
        return load_pem_private_key(pem, password=None).public_key().public_bytes(*_SPKI)
    except (ValueError, TypeError, UnsupportedAlgorithm, AttributeError):
        raise TlsUnusable(f"{path} has no private key that can be read without a password") from None
