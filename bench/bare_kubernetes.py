"""The loop the syncer is compared with: POSTs Secrets of the syncer's shape, and does nothing else.

`python -m bench.bare_kubernetes KUBECONFIG COUNT PREFIX` creates them in namespaces `bare-0` ... with bodies
encoded beforehand, 32 requests in flight, and prints the seconds it took.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from backends.contract import DesiredSecret, Mark
from backends.kubernetes_secret.objects import created
from backends.secret_value import SecretValue
from bench.workload import NAMESPACES, OUTPUTS

IN_FLIGHT = 32

Request = tuple[str, bytes]
"""Path and body."""


async def create_all(config: Mapping[str, Any], requests: list[Request]) -> float:
    """Seconds from the first request to the last answer. `config` is a kubeconfig's content."""
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    headers = {"Authorization": f"Bearer {user['token']}", "Content-Type": "application/json"}
    tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT, ssl=tls)
    rest = iter(requests)
    async with aiohttp.ClientSession(cluster["server"], connector=connector, headers=headers) as session:
        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(_worker(session, rest))
        return time.perf_counter() - start


async def _worker(session: aiohttp.ClientSession, rest: Iterator[Request]) -> None:
    for path, body in rest:
        async with session.post(path, data=body) as response:
            await response.read()
            if response.status != HTTPStatus.CREATED:
                raise RuntimeError(f"{path}: {response.status}")


def secrets(count: int, prefix: str) -> list[Request]:
    """As many as asked for, over all namespaces, as large as the syncer's."""
    return [_secret(number, prefix) for number in range(count)]


def _secret(number: int, prefix: str) -> Request:
    namespace, name = f"bare-{number % NAMESPACES}", f"{prefix}-{number:05}-outputs"
    ulid = f"{number:026}"
    mark = Mark(
        instance="bare",
        source="0" * 16,
        rule="default",
        target="0",
        address=f"{namespace}/{name}",
        namespace=namespace,
        installation=name,
        installation_id=ulid,
        run_id=ulid,
        result_id=ulid,
        revision="0" * 32,
        content_id="0" * 16,
    )
    data = {key: SecretValue(b"0" * (1024 if key == "client-key" else 128)) for key in OUTPUTS}
    body = created(DesiredSecret(mark=mark, data=data), namespace, name)
    return f"/api/v1/namespaces/{namespace}/secrets", json.dumps(body).encode()


def main() -> None:
    kubeconfig, count, prefix = sys.argv[1:]
    print(asyncio.run(create_all(json.loads(Path(kubeconfig).read_text()), secrets(int(count), prefix))))


if __name__ == "__main__":
    main()
