"""The sink: which requests it takes to read, write and remove InstallationOutputs, and in which order.

A write is metadata, with the mark, and then the status, which the API server takes by itself only. Who is
stopped in between leaves a mark whose revision the status does not have, and the next pass writes it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self, assert_never

from backends.clients.concurrency import for_each
from backends.clients.kubernetes import PAGE_SIZE, KubernetesClient, NotServed, resource_path
from backends.contract import (
    Absent,
    Capabilities,
    Conditions,
    DesiredSecret,
    Expectation,
    Finding,
    ObservedSecret,
    Owner,
    TakeOver,
    Unchanged,
    Version,
)
from backends.errors import ForeignSecret, NameRefused, PreconditionFailed, Refused, SinkUnavailable
from backends.installation_outputs.checks import MISSING, checked
from backends.installation_outputs.objects import (
    GROUP,
    PLURAL,
    Json,
    Owners,
    created,
    observed,
    replaced,
    with_status,
)
from backends.installation_outputs.options import CAPABILITIES, InstallationOutputsOptions
from backends.installation_outputs.owners import InstallationOwners
from backends.kubernetes_secret.marks import INSTANCE_LABEL, label_value
from backends.kubernetes_secret.names import split_address
from backends.kubernetes_secret.objects import address_of, version_of
from backends.preconditions import require_writable

_FEW: Final = 16
"""Up to so many of a namespace are read one by one."""
_MANY_NAMESPACES: Final = 64
"""From so many namespaces on, one list of the whole cluster is cheaper than one for each."""


class InstallationOutputsSink:
    """A cluster's InstallationOutputs. Owns its client: open it with `async with`.

    `clock` gives seconds since 1970, for conditions; `monotonic` seconds that only go on.
    """

    def __init__(
        self,
        options: InstallationOutputsOptions,
        *,
        page_size: int = PAGE_SIZE,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._namespaces = options.namespaces
        self._client = KubernetesClient(options)
        self._owners = InstallationOwners(self._client, clock=monotonic)
        self._page_size = page_size
        self._clock = clock
        self._known: Conditions = lambda _namespace, _installation: {}

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

    def show(self, conditions: Conditions) -> None:
        self._known = conditions

    async def check(self) -> tuple[Finding, ...]:
        """Reachable, defined in the cluster, and the rights; those on the operator's can be done without."""
        return await checked(self._client, self._namespaces)

    # --- reading

    async def observe(self, owner: Owner, addresses: Collection[str]) -> Mapping[str, ObservedSecret]:
        """NB: with the bytes only where all of them are shown whole."""
        found: dict[str, ObservedSecret] = {}
        with _defined():
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

    async def _read_each(
        self, addresses: Collection[str], owner: Owner, found: dict[str, ObservedSecret]
    ) -> None:
        async def read(address: str) -> None:
            resource = await self._client.get(_path(address))
            if resource is not None:
                found[address] = observed(resource, owner, self._known, with_values=True)

        await for_each(addresses, read)

    async def _read_many(
        self, namespace: str | None, wanted: set[str], owner: Owner, found: dict[str, ObservedSecret]
    ) -> None:
        """All of them, whoever's: nothing in a resource is secret, and nearly all are ours."""
        async for resource in self._list(namespace, {}):
            if address_of(resource) in wanted:
                found[address_of(resource)] = observed(resource, owner, self._known, with_values=True)

    async def inventory(self, owner: Owner) -> AsyncIterator[ObservedSecret]:
        selector = {"labelSelector": f"{INSTANCE_LABEL}={label_value(owner.instance)}"}
        with _defined():
            for namespace in self._namespaces or (None,):
                async for resource in self._list(namespace, selector):
                    seen = observed(resource, owner, self._known, with_values=False)
                    if seen.ours:
                        yield seen

    async def _list(self, namespace: str | None, selector: Mapping[str, str]) -> AsyncIterator[Json]:
        path = resource_path(PLURAL, group=GROUP, namespace=namespace)
        async for page in self._client.list_pages(path, {"limit": str(self._page_size), **selector}):
            for resource in page:
                yield resource

    # --- writing

    async def put(self, desired: DesiredSecret, expect: Expectation) -> Version:
        with _defined():
            owners = await self._owners.of(
                _split(desired.address)[0], (desired.mark.namespace, desired.mark.installation)
            )
            match expect:
                case Absent():
                    marked = await self._create(desired, expect, owners)
                case Unchanged() | TakeOver():
                    marked = await self._replace(desired, expect, owners)
                case _:
                    assert_never(expect)
            return version_of(await self._show(desired, marked))

    async def _create(self, desired: DesiredSecret, expect: Absent, owners: Owners) -> Json:
        folder = resource_path(PLURAL, group=GROUP, namespace=_split(desired.address)[0])
        try:
            return await self._client.post(folder, created(desired, owners))
        except PreconditionFailed:
            current = await self._client.get(_path(desired.address))
            if current is not None:
                require_writable(self._seen(desired, current), desired.address, expect)
            raise

    async def _replace(self, desired: DesiredSecret, expect: Unchanged | TakeOver, owners: Owners) -> Json:
        current = await self._client.get(_path(desired.address))
        if current is None:
            raise PreconditionFailed(f"{desired.address}: it is gone")
        require_writable(self._seen(desired, current), desired.address, expect)
        body = replaced(desired, current, owners)
        return current if body == current else await self._client.put(_path(desired.address), body)

    async def _show(self, desired: DesiredSecret, marked: Json) -> Json:
        now = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = with_status(desired, marked, self._known, now)
        if body == marked:
            return marked
        stored = await self._client.put(f"{_path(desired.address)}/status", body)
        if stored.get("status") != body["status"]:
            # The API server leaves out what the definition does not have: we would write it for ever.
            reason = "not all that was written stayed: update the InstallationOutputs CRD in the cluster"
            raise Refused(f"{desired.address}: {reason}")
        return stored

    def _seen(self, desired: DesiredSecret, current: Json) -> ObservedSecret:
        owner = Owner(instance=desired.mark.instance, source=desired.mark.source)
        return observed(current, owner, self._known, with_values=False)

    async def remove(self, observed: ObservedSecret) -> None:
        if not observed.ours:
            raise ForeignSecret(f"{observed.address}: {observed.foreign}")
        uid, _, resource_version = observed.version.token.partition("/")
        await self._client.delete(_path(observed.address), uid=uid, resource_version=resource_version)


@contextmanager
def _defined() -> Iterator[None]:
    """Says what is wrong where the cluster does not know this kind of resource."""
    try:
        yield
    except NotServed:
        raise SinkUnavailable(MISSING) from None


def _split(address: str) -> tuple[str, str]:
    try:
        return split_address(address)
    except NameRefused as error:
        raise Refused(str(error)) from None


def _path(address: str) -> str:
    namespace, name = _split(address)
    return resource_path(PLURAL, group=GROUP, namespace=namespace, name=name)
