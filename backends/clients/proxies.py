"""The proxy that the environment names for a server, as other tools take it from there."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


def environment_proxy(url: str) -> str | None:
    """What HTTPS_PROXY (or HTTP_PROXY) and NO_PROXY come to for this server; None: no proxy."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
