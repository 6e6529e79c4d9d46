"""No value leaves a running syncer but to its sinks: logs at debug, metrics, health, events, its process.

Canaries in every output, while others interfere and both sides fail. The search itself is tested in
tests/functional/test_acceptance_canary.py. Excludes memory, and the sinks' own copies of the data.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.functional.test_acceptance_canary import leaks, new_canary

PLAIN, SENSITIVE = "host", "password"


def test_no_value_is_in_anything_a_running_syncer_tells(start, estate, mongo_server):
    canaries: dict[str, str] = {}
    for name in ("orders", "broken", "taken"):
        outputs = {one: _canary(canaries, f"{name}/{one}") for one in (PLAIN, SENSITIVE)}
        options = {"dangling": [SENSITIVE]} if name == "broken" else {}
        estate.porter.install("shop", name, outputs, sensitive=[SENSITIVE], **options).finish()
    estate.cluster.admin.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"namespace": estate.namespace, "name": "taken-outputs"},
            "stringData": {"theirs": _canary(canaries, "theirs").decode()},
        }
    )
    syncer = start(estate.document())
    syncer.until(lambda: syncer.metric("targets", state="Conflict") == 1)
    syncer.until(lambda: syncer.metric("targets", state="Held") == 2)
    with mongo_server.failing("find", code=8000):
        syncer.until(lambda: syncer.metric("source_up") == 0)
    _drift(estate, canaries)
    syncer.until(lambda: "host" in (estate.in_cluster("orders") or {}))
    newer = {one: _canary(canaries, f"newer {one}") for one in (PLAIN, SENSITIVE)}
    estate.porter.upgrade("shop", "orders", newer, sensitive=[SENSITIVE]).finish()
    syncer.until(lambda: estate.everywhere("orders", newer))
    told = _told(syncer, estate)
    assert len(told) > 10_000, "there was something to search"
    assert syncer.end() == 0
    assert leaks(told + syncer.output, canaries) == set()


def _canary(canaries: dict[str, str], name: str) -> bytes:
    canaries[name] = new_canary()
    return canaries[name].encode()


def _drift(estate, canaries) -> None:
    """Somebody puts a value of theirs into our Secret."""
    found = estate.secret("orders")
    found["stringData"] = {"intruder": _canary(canaries, "intruder").decode()}
    del found["data"]["host"]
    url = f"/api/v1/namespaces/{estate.namespace}/secrets/orders-outputs"
    estate.cluster.admin.request("PUT", url, found)


def _told(syncer, estate) -> str:
    process = Path(f"/proc/{syncer.pid}")
    pages = [syncer.get(page)[1] for page in ("/metrics", "/healthz", "/readyz")]
    events = estate.cluster.admin.list("events.k8s.io/v1", "Event", estate.namespace)
    outside = [(process / name).read_text(errors="replace") for name in ("cmdline", "environ")]
    return "\n".join([*pages, json.dumps(events), *outside, syncer.output])
