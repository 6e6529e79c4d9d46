"""Legal names of namespaces, Secrets and data keys, and addresses `namespace/name`. Pure."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Final

from backends.errors import NameRefused
from backends.naming import DATA_KEYS, Alphabet, first_legal

MAX_NAMESPACE: Final = 63
MAX_NAME: Final = 253
MAX_KEY: Final = DATA_KEYS[0].max_length

PROTECTED_NAMESPACES: Final = frozenset({"kube-system", "kube-public", "kube-node-lease"})
"""Kubernetes' own: written to only where the sink's `namespaces` lists them."""

_LETTERS: Final = "a-z0-9"
_NAMESPACE: Final = Alphabet(allowed="-a-z0-9", edges=_LETTERS, max_length=MAX_NAMESPACE)
# Between dots a name has to begin and end as a whole name does; where it cannot be had so, dots go.
_BROKEN_DOTS: Final = r".*(?:\.\.|-\.|\.-).*"
_NAMES: Final = (
    Alphabet(allowed="-.a-z0-9", edges=_LETTERS, max_length=MAX_NAME, reserved=_BROKEN_DOTS),
    Alphabet(allowed="-a-z0-9", edges=_LETTERS, max_length=MAX_NAME),
)


class KubernetesNaming:
    """How this sink names things; `namespaces` are those of its options."""

    global_namespace: str | None = None

    def __init__(self, namespaces: Collection[str] | None) -> None:
        self._namespaces = None if namespaces is None else frozenset(namespaces)

    def address(self, parts: tuple[str, ...]) -> str:
        """`namespace/name`; the namespace as it is or not at all. Raises `NameRefused`."""
        namespace, name = parts
        self._check(namespace)
        return f"{namespace}/{first_legal(name, _NAMES)}"

    def key(self, name: str) -> str:
        """The data key for an output. Raises `NameRefused`."""
        return first_legal(name, DATA_KEYS)

    def same(self, address: str) -> str:
        return address

    def _check(self, namespace: str) -> None:
        if not legal_namespace(namespace):
            raise NameRefused(f"{namespace!r} is not a legal Kubernetes namespace: map it under namespaces")
        if self._namespaces is not None and namespace not in self._namespaces:
            raise NameRefused(f"namespace {namespace!r} is not among the sink's namespaces")
        if self._namespaces is None and namespace in PROTECTED_NAMESPACES:
            raise NameRefused(
                f"namespace {namespace!r} is Kubernetes' own; the sink's namespaces do not list it"
            )


@lru_cache(maxsize=4096)
def legal_namespace(name: str) -> bool:
    """NB: thousands of Secrets share a few namespaces."""
    return _NAMESPACE.fits(name)


def split_address(address: str) -> tuple[str, str]:
    """Namespace and name of an address. Raises `NameRefused` for what no Secret can have."""
    namespace, _, name = address.partition("/")
    if not (legal_namespace(namespace) and _NAMES[0].fits(name)):
        raise NameRefused(f"{address!r} is not the namespace/name of a Secret")
    return namespace, name
