"""The loop the Vault sink is compared with: hvac on 16 threads, the same requests, and nothing else.

`python -m bench.bare_vault ADDRESS CA_FILE MOUNT COUNT PREFIX`, with a token in BENCH_TOKEN: for each secret
claim, data and mark, with bodies made beforehand; prints the seconds it took.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import hvac
import requests
from hvac.adapters import RawAdapter

from backends.contract import Mark
from backends.vault.marks import custom_metadata
from bench.workload import NAMESPACES, OUTPUTS

THREADS = 16

Request = tuple[str, str, dict[str, Any] | None]


def requests_for(number: int, mount: str, prefix: str) -> tuple[Request, ...]:
    """What the sink sends for one new secret."""
    address, ulid = f"porter/apps-{number % NAMESPACES}/{prefix}-{number:05}", f"{number:026}"
    mark = Mark(
        instance="bench",
        source="0" * 16,
        rule="default",
        target="0",
        address=address,
        namespace=f"team-{number % NAMESPACES}",
        installation=f"{prefix}-{number:05}",
        installation_id=ulid,
        run_id=ulid,
        result_id=ulid,
        revision="0" * 32,
        content_id="0" * 16,
    )
    claim, done = custom_metadata(mark, (), (), {}), custom_metadata(mark, (1,), (), {})
    data = {key: "0" * (1024 if key == "client-key" else 128) for key in OUTPUTS}
    return (
        ("POST", f"{mount}/metadata/{address}", {"custom_metadata": claim, "metadata_cas": 0}),
        ("POST", f"{mount}/data/{address}", {"data": data, "options": {"cas": 0}}),
        ("PATCH", f"{mount}/metadata/{address}", {"custom_metadata": done}),
    )


def create_all(address: str, ca_file: str, token: str, work: list[tuple[Request, ...]]) -> float:
    """Seconds from the first request to the last answer."""
    rest: Iterator[tuple[Request, ...]] = iter(work)
    turn = threading.Lock()

    def worker() -> None:
        client = _client(address, ca_file, token)
        while True:
            with turn:
                wanted = next(rest, None)
            if wanted is None:
                return
            for request in wanted:
                _send(client, *request)

    start = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as threads:
        for future in [threads.submit(worker) for _ in range(THREADS)]:
            future.result()
    return time.perf_counter() - start


def _client(address: str, ca_file: str, token: str) -> hvac.Client:
    session = requests.Session()
    session.trust_env, session.verify = False, ca_file
    kind = RawAdapter
    return hvac.Client(
        url=address, token=token, session=session, verify=ca_file, adapter=kind, ignore_exceptions=True
    )


def _send(client: hvac.Client, method: str, path: str, body: dict[str, Any] | None) -> None:
    headers = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
    answer = client.adapter.request(method, f"/v1/{path}", headers=headers, json=body)
    if not answer.ok:
        raise RuntimeError(f"{method} {path}: {answer.status_code}")


def main() -> None:
    address, ca_file, mount, count, prefix = sys.argv[1:]
    work = [requests_for(number, mount, prefix) for number in range(int(count))]
    print(create_all(address, ca_file, os.environ["BENCH_TOKEN"], work))  # noqa: TID251  # not in argv


if __name__ == "__main__":
    main()
