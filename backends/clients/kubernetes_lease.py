"""A lease of a Kubernetes cluster: read, created and replaced under its resourceVersion.

Knows nothing of elections. Give it a client of its own: behind the many writes of a sink a renewal
could wait for a connection until it is too late.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from backends.clients.kubernetes import Json, KubernetesClient, resource_path
from backends.clients.lease_record import LeaseRecord, LeaseTaken, changed_lease, new_lease, read_record
from backends.errors import PreconditionFailed, SinkUnavailable
from backends.sending import only_while

_GROUP: Final = "coordination.k8s.io/v1"


class KubernetesLease:
    """One lease. `update` writes over what the last `read` saw, and over nothing else."""

    def __init__(self, client: KubernetesClient, *, namespace: str, name: str) -> None:
        self._client = client
        self._name = name
        self._folder = resource_path("leases", group=_GROUP, namespace=namespace)
        self._path = resource_path("leases", group=_GROUP, namespace=namespace, name=name)
        self._seen: Json = {}

    async def read(self) -> LeaseRecord | None:
        """What the lease says now, None where there is none. Raises `SinkError`."""
        found = await self._client.get(self._path)
        if found is None:
            return None
        metadata = found.get("metadata")
        # Without it the API server would let us write over anything.
        if not isinstance(metadata, dict) or not metadata.get("resourceVersion"):
            raise SinkUnavailable(f"get lease {self._name}: the answer is not a Kubernetes API server's")
        self._seen = found
        return read_record(found)

    async def create(self, record: LeaseRecord) -> None:
        """Raises `LeaseTaken` where somebody has made it meanwhile, and `SinkError`."""
        with self._writing():
            await self._client.post(self._folder, new_lease(self._name, record))

    async def update(self, record: LeaseRecord) -> None:
        """Raises `LeaseTaken` where it is not what was read any more, and `SinkError`."""
        with self._writing():
            await self._client.put(self._path, changed_lease(self._seen, record))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            # The lease itself is written by whoever does not lead yet, or no longer.
            with only_while(lambda: True):
                yield
        except PreconditionFailed:
            raise LeaseTaken(f"the lease {self._name} was written by somebody else meanwhile") from None
