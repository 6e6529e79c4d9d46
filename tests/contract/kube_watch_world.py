"""What the tests of watching share: who listens, with which patience, and whose hands change Secrets."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from backends.clients.kubernetes_watch import Pace
from backends.contract import Owner, Seen
from backends.kubernetes_secret.marks import INSTANCE_LABEL
from backends.kubernetes_secret.objects import version_of
from backends.kubernetes_secret.options import KubernetesSinkOptions
from backends.kubernetes_secret.sink import KubernetesSecretSink

SECONDS = 30
CANARY = "canary-5d1be0a7c4"
OWNER = Owner(instance="watching", source="source")
EVERYTHING = Seen(address=None)
VERBS = ["get", "list", "create", "update", "delete"]
BRIEF = Pace(lasting=1, margin=0.5, first_pause=0.05, longest_pause=0.2)
"""A watch of a second; the pauses only have to be short."""
LONG = replace(BRIEF, lasting=600)
SURE = replace(LONG, disbelief=0.0)
"""For a server that is known to have read its roles."""


def grant(cluster, namespace: str | None, *verbs: str, user: str = "syncer") -> str:
    return cluster.grant(user, [{"apiGroups": [""], "resources": ["secrets"], "verbs": verbs}], namespace)


@asynccontextmanager
async def watched(
    options: KubernetesSinkOptions, pace: Pace = LONG, *, tap: Callable[[KubernetesSecretSink], object] = id
) -> AsyncIterator[AsyncIterator[Seen]]:
    """What the sink tells, from where it has begun."""
    async with KubernetesSecretSink(options, watch_pace=pace) as sink:
        tap(sink)
        async with aclosing(sink.watch(OWNER)) as changes:
            assert await told(changes) == EVERYTHING
            yield changes


async def told(changes: AsyncIterator[Seen]) -> Seen:
    async with asyncio.timeout(SECONDS):
        return await anext(changes)


async def told_until(changes: AsyncIterator[Seen], last: Seen) -> list[Seen]:
    """What is told up to this."""
    found = [await told(changes)]
    while found[-1] != last:
        found.append(await told(changes))
    return found


async def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


class Secret:
    """One in the hands of the cluster's administrator. Its methods return what is to be seen of it."""

    def __init__(self, cluster, namespace: str, name: str = "orders", instance: str | None = "watching"):
        self._admin, self._namespace, self._name = cluster.admin, namespace, name
        self._path = f"/api/v1/namespaces/{namespace}/secrets"
        self._labels = {} if instance is None else {INSTANCE_LABEL: instance}

    def create(self) -> Seen:
        metadata = {"name": self._name, "labels": self._labels}
        body = {"metadata": metadata, "stringData": {"password": CANARY}}
        return self._seen(self._admin.request("POST", self._path, body))

    def edit(self, **metadata: object) -> Seen:
        secret = self._admin.secret(self._namespace, self._name)
        data = {"password": base64.b64encode(time.time_ns().to_bytes(8)).decode()}
        body = secret | {"data": data, "metadata": secret["metadata"] | metadata}
        return self._seen(self._admin.request("PUT", f"{self._path}/{self._name}", body))

    def delete(self) -> Seen:
        self._admin.request("DELETE", f"{self._path}/{self._name}")
        return Seen(address=f"{self._namespace}/{self._name}")

    def _seen(self, secret: dict) -> Seen:
        return Seen(address=f"{self._namespace}/{self._name}", version=version_of(secret))


def overhear(sink: KubernetesSecretSink, heard: list) -> None:
    """Note every line of every watch."""
    watch = sink._client.watch

    @asynccontextmanager
    async def overheard(*args: object, **kwargs: object) -> AsyncIterator[AsyncIterator[dict]]:
        async with watch(*args, **kwargs) as lines:
            yield noted(lines)

    async def noted(lines: AsyncIterator[dict]) -> AsyncIterator[dict]:
        async for line in lines:
            heard.append(line)
            yield line

    sink._client.watch = overheard
