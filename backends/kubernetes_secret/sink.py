"""The sink: which requests it takes to read, write and remove Secrets, and in which order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from itertools import chain
from types import TracebackType
from typing import Final, Self, assert_never

from backends.clients.concurrency import for_each
from backends.clients.kubernetes import PAGE_SIZE, KubernetesClient, resource_path
from backends.clients.kubernetes_watch import KubernetesWatch, Pace
from backends.contract import (
    Absent,
    Capabilities,
    DesiredSecret,
    Expectation,
    Finding,
    FindingLevel,
    ObservedSecret,
    Owner,
    RestartWish,
    Seen,
    TakeOver,
    Unchanged,
    Version,
)
from backends.errors import ForeignSecret, NameRefused, PreconditionFailed, Refused, TooLarge
from backends.kubernetes_secret.marks import INSTANCE_LABEL, label_value
from backends.kubernetes_secret.names import split_address
from backends.kubernetes_secret.objects import (
    DEFAULT_TYPE,
    Json,
    address_of,
    created,
    observed,
    replaced,
    version_of,
)
from backends.kubernetes_secret.options import CAPABILITIES, KubernetesSinkOptions
from backends.kubernetes_secret.restarts import restarted
from backends.kubernetes_secret.watching import watching
from backends.preconditions import require_writable

_RESOURCE: Final = "secrets"
_VERBS: Final = ("get", "list", "create", "update", "delete")
_WATCH: Final = "watch"
_FEW: Final = 16
"""Up to so many of a namespace are read one by one: a list may be many pages of others' Secrets."""
_MANY_NAMESPACES: Final = 64
"""From so many namespaces on, one list of the whole cluster is cheaper than one for each."""


class KubernetesSecretSink:
    """A cluster's Secrets. Owns its client: open it with `async with`."""

    def __init__(
        self, options: KubernetesSinkOptions, *, page_size: int = PAGE_SIZE, watch_pace: Pace | None = None
    ) -> None:
        self._namespaces = options.namespaces
        self._client = KubernetesClient(options)
        self._page_size = page_size
        self._watch_pace = watch_pace

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def check(self) -> tuple[Finding, ...]:
        """Reachable, and the verbs on secrets where the sink writes; `watch` can be done without."""
        findings = [await self._check(namespace) for namespace in self._namespaces or (None,)]
        return tuple(chain.from_iterable(findings))

    async def _check(self, namespace: str | None) -> tuple[Finding, ...]:
        allowed = {
            verb: await self._client.review_access(verb=verb, resource=_RESOURCE, namespace=namespace)
            for verb in (*_VERBS, _WATCH)
        }
        subject = f"secrets in namespace {namespace}" if namespace else "secrets in all namespaces"
        missing = [verb for verb in _VERBS if not allowed[verb]]
        if missing:
            detail = f"the right to {', '.join(missing)} is missing"
            return (Finding(level=FindingLevel.ERROR, subject=subject, detail=detail),)
        good = Finding(level=FindingLevel.OK, subject=subject, detail=f"may {', '.join(_VERBS)}")
        if allowed[_WATCH]:
            return (good,)
        detail = f"the right to {_WATCH} is missing: changes by others are found by the sweep only"
        return good, Finding(level=FindingLevel.WARNING, subject=subject, detail=detail)

    # --- reading

    async def observe(self, owner: Owner, addresses: Collection[str]) -> Mapping[str, ObservedSecret]:
        found: dict[str, ObservedSecret] = {}
        for namespace, wanted in self._scopes(addresses):
            if len(wanted) <= _FEW:
                await self._read_each(wanted, owner, found)
            else:
                await self._read_many(namespace, wanted, owner, found)
        return found

    def _scopes(self, addresses: Collection[str]) -> list[tuple[str | None, set[str]]]:
        """The addresses by the lists they would be found in: a namespace's, or (None) the cluster's."""
        by_namespace: defaultdict[str | None, set[str]] = defaultdict(set)
        for address in addresses:
            by_namespace[_split(address)[0]].add(address)
        if self._namespaces is None and len(by_namespace) >= _MANY_NAMESPACES:
            return [(None, set(addresses))]
        return list(by_namespace.items())

    async def _read_many(
        self, namespace: str | None, wanted: set[str], owner: Owner, found: dict[str, ObservedSecret]
    ) -> None:
        """Ask for what exists first: most of many are absent, and cost no request of their own.

        Of those that exist, ours come in pages; others' values are not listed, but read one by one.
        """
        ours: set[str] = set()
        others: set[str] = set()
        label = label_value(owner.instance)
        async for secret in self._list(namespace, metadata_only=True):
            address = address_of(secret)
            if address in wanted:
                labels = secret["metadata"].get("labels") or {}
                (ours if labels.get(INSTANCE_LABEL) == label else others).add(address)
        if len(ours) > _FEW:
            async for secret in self._list(namespace, instance=owner.instance):
                if address_of(secret) in wanted:
                    found[address_of(secret)] = observed(secret, owner)
        # One that the second list did not have may have lost its label meanwhile: that is not absent.
        await self._read_each((ours | others) - found.keys(), owner, found)

    async def _read_each(
        self, addresses: Iterable[str], owner: Owner, found: dict[str, ObservedSecret]
    ) -> None:
        async def read(address: str) -> None:
            secret = await self._client.get(_path(address))
            if secret is not None:
                found[address] = observed(secret, owner)

        await for_each(addresses, read)

    async def inventory(self, owner: Owner) -> AsyncIterator[ObservedSecret]:
        for namespace in self._namespaces or (None,):
            async for secret in self._list(namespace, instance=owner.instance):
                seen = observed(secret, owner)
                if seen.ours:
                    yield seen

    def watch(self, owner: Owner) -> AsyncIterator[Seen]:
        params = {"labelSelector": _selector(owner.instance)}
        paths = [resource_path(_RESOURCE, namespace=namespace) for namespace in self._namespaces or (None,)]
        return watching([KubernetesWatch(self._client, path, params, self._watch_pace) for path in paths])

    async def _list(
        self, namespace: str | None, *, instance: str | None = None, metadata_only: bool = False
    ) -> AsyncIterator[Json]:
        params = {"limit": str(self._page_size)}
        if instance is not None:
            params["labelSelector"] = _selector(instance)
        path = resource_path(_RESOURCE, namespace=namespace)
        async for page in self._client.list_pages(path, params, metadata_only=metadata_only):
            for secret in page:
                yield secret

    # --- writing

    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        _check_size(desired)
        match expect:
            case Absent():
                return await self._create(desired, expect)
            case Unchanged() | TakeOver():
                return await self._replace(desired, expect)
            case _:
                assert_never(expect)

    async def _create(self, desired: DesiredSecret, expect: Absent) -> Version:
        namespace, name = _split(desired.address)
        try:
            body = created(desired, namespace, name)
            return version_of(await self._client.post(resource_path(_RESOURCE, namespace=namespace), body))
        except PreconditionFailed:
            current = await self._client.get(_path(desired.address))
            if current is not None:
                require_writable(_seen(current, desired), desired.address, expect)
            raise

    async def _replace(self, desired: DesiredSecret, expect: Unchanged | TakeOver) -> Version:
        path = _path(desired.address)
        current = await self._client.get(path)
        if current is None:
            raise PreconditionFailed(f"{desired.address}: it is gone")
        require_writable(_seen(current, desired), desired.address, expect)
        _refuse_unchangeable(current, desired)
        return version_of(await self._client.put(path, replaced(desired, current)))

    async def remove(self, observed: ObservedSecret) -> None:
        if not observed.ours:
            raise ForeignSecret(f"{observed.address}: {observed.foreign}")
        uid, _, resource_version = observed.version.token.partition("/")
        await self._client.delete(_path(observed.address), uid=uid, resource_version=resource_version)

    def restart(self, wishes: Collection[RestartWish]) -> AsyncIterator[str]:
        return restarted(self._client, wishes)


def _split(address: str) -> tuple[str, str]:
    try:
        return split_address(address)
    except NameRefused as error:
        raise Refused(str(error)) from None


def _selector(instance: str) -> str:
    return f"{INSTANCE_LABEL}={label_value(instance)}"


def _path(address: str) -> str:
    namespace, name = _split(address)
    return resource_path(_RESOURCE, namespace=namespace, name=name)


def _check_size(desired: DesiredSecret) -> None:
    size, limit = sum(len(value) for value in desired.data.values()), CAPABILITIES.max_secret_bytes
    if limit is not None and size > limit:
        raise TooLarge(f"{desired.address}: {size} bytes; a Secret takes {limit}")


def _seen(current: Json, desired: DesiredSecret) -> ObservedSecret:
    return observed(current, Owner(instance=desired.mark.instance, source=desired.mark.source))


def _refuse_unchangeable(current: Json, desired: DesiredSecret) -> None:
    """Replacing it would take deleting it first, and whoever mounts it would be without."""
    if current.get("immutable"):
        raise Refused(f"{desired.address}: it is immutable")
    present, wanted = current.get("type", DEFAULT_TYPE), desired.attributes.get("type", DEFAULT_TYPE)
    if present != wanted:
        raise Refused(f"{desired.address}: its type differs: {present}, not {wanted}")
