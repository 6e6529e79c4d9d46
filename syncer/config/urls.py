"""What a database URL may say, and which URLs hold a secret that stands in the file. Pure.

Whether the URL is one MongoDB's driver understands is found out by the source.
"""

from __future__ import annotations

import re
from typing import Final

from backends.clients.references import NOT_LITERAL

_SCHEME: Final = re.compile(r"mongodb(?:\+srv)?://", re.IGNORECASE)
_SECRET_OPTION: Final = re.compile(r"password|token|secret", re.IGNORECASE)
_UNVERIFIED: Final = frozenset({"tlsinsecure", "tlsallowinvalidcertificates", "tlsallowinvalidhostnames"})


def check_mongodb_url(url: str, literal: bool) -> None:  # noqa: FBT001  # the signature of SecretSetting.check
    """Raise `ValueError`, without the URL, for one that must not be used.

    A literal one must hold no secret; none may read from secondaries, which lag behind, or
    leave out the checks of TLS.
    """
    scheme = _SCHEME.match(url)
    if scheme is None:
        raise ValueError("should begin with mongodb:// or mongodb+srv://")
    # A password with a "/" in it that was not escaped is a password all the same.
    location, _, query = url[scheme.end() :].partition("?")
    options = _options(query)
    if literal and (
        _has_password(location) or any(_SECRET_OPTION.search("=".join(pair)) for pair in options)
    ):
        raise ValueError(NOT_LITERAL)
    for name, value in options:
        if name.lower() == "readpreference" and value.lower() != "primary":
            raise ValueError("readPreference must be primary: what a secondary lacks would count as deleted")
        if name.lower() in _UNVERIFIED and value.lower() != "false":
            raise ValueError(
                "certificates are always checked: take tlsInsecure and the like out, and give caFile"
            )


def check_literal_text(text: str) -> None:
    """Raise `ValueError` for a text with a URL in it that holds a password."""
    for match in re.finditer(r"://([^\s/?#]*)", text):
        if _has_password(match[1]):
            raise ValueError(NOT_LITERAL)


def _has_password(location: str) -> bool:
    user, at, _ = location.rpartition("@")
    return bool(at and user.partition(":")[2])


def _options(query: str) -> list[tuple[str, str]]:
    pairs = (pair.partition("=") for pair in re.split("[&;]", query))
    return [(name, value) for name, _, value in pairs]
