"""How soon a run that Porter has finished can be read at the sinks: from its last insert to the secret.

Porter writes as it does, result first and outputs one by one. The places are asked every few
milliseconds, from this process. One run at a time, so that what is measured is the way, not the queue.
"""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.figures import Figure
from bench.stages import REPOSITORY
from tests.faults.estate import USER, Estate
from tests.faults.running import Syncer
from tests.servers.kubernetes import KubeCluster
from tests.servers.mongodb import MongoServer
from tests.servers.openbao import BaoServer
from tests.servers.porter import Porter
from tests.servers.tcp_proxy import TcpProxy

POLL = 2.0
"""The default `pollInterval`."""
_FEW, _MANY = 20, 200
_DEFINITION = REPOSITORY / "charts/porter-outputs-syncer/files/installationoutputs.yaml"
_GROUP = {"apiGroups": ["outputs.porter.sh"]}
_RESOURCE_RULES = [
    {**_GROUP, "resources": ["installationoutputs"], "verbs": ["get", "list", "create", "update", "delete"]},
    {**_GROUP, "resources": ["installationoutputs/status"], "verbs": ["update"]},
]
_LOOK = 0.003
_LONGEST = 60.0


@dataclass(frozen=True, kw_only=True)
class Rig:
    """Servers, and a Porter; `start` begins a syncer that is stopped with the rest."""

    estate: Estate
    mongo: MongoServer
    start: Callable[[Mapping[str, object]], Syncer]


@contextmanager
def running(*, change_streams: bool) -> Iterator[Rig]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        mongo = MongoServer.start(change_streams=change_streams)
        stack.callback(mongo.stop)
        cluster = KubeCluster.start(audit=False)
        stack.callback(cluster.stop)
        cluster.admin.create_namespace("bench")
        porter = Porter(database=mongo.client["porter"], secrets=folder / "secrets")
        estate = Estate(
            porter=porter, url=mongo.url("porter"), cluster=cluster, namespace="bench", folder=folder
        )

        def start(document: Mapping[str, object]) -> Syncer:
            syncer = Syncer.start(document, folder, level="warning")
            stack.callback(syncer.stop)
            return syncer

        yield Rig(estate=estate, mongo=mongo, start=start)


def latency(*, quick: bool) -> Sequence[Figure]:
    """By polling alone, and with change streams."""
    found: list[Figure] = []
    for streams, budget in ((False, POLL + 0.2), (True, 0.3)):
        with running(change_streams=streams) as rig:
            document = rig.estate.document(source=_source(rig.estate))
            syncer = rig.start(document)
            syncer.until_ready()
            lags = sorted(_lags(rig.estate, _FEW if quick else _MANY, rig.estate.in_cluster))
        how = "with change streams" if streams else f"polling every {POLL:g} s"
        found += [
            Figure(what=f"{how}: runs", value=len(lags)),
            Figure(what=f"{how}: p50", value=percentile(lags, 50), unit="s"),
            Figure(what=f"{how}: p99", value=percentile(lags, 99), unit="s", at_most=budget),
            Figure(what=f"{how}: longest", value=lags[-1], unit="s"),
        ]
    return found


def resources(*, quick: bool) -> Sequence[Figure]:
    """How much later than the Secret the InstallationOutputs resource shows the same run."""
    with running(change_streams=True) as rig:
        estate = rig.estate
        estate.cluster.install(yaml.safe_load(_DEFINITION.read_text()))
        estate.cluster.grant(USER, _RESOURCE_RULES, estate.namespace)
        settings = {"namespaces": {"shop": estate.namespace}, "customResources": {"enabled": True}}
        rig.start(estate.document(source=_source(estate), **settings)).until_ready()
        runs = _FEW if quick else _MANY
        secret = sorted(_lags(estate, runs, estate.in_cluster))
        both = sorted(_lags(estate, runs, _shown(estate)))
    return [
        Figure(what="runs each", value=runs),
        Figure(what="the Secret: p99", value=percentile(secret, 99), unit="s"),
        Figure(what="the Secret and the resource: p99", value=percentile(both, 99), unit="s", at_most=0.3),
    ]


def _shown(estate: Estate) -> Callable[[str], Mapping[str, bytes] | None]:
    def seen(name: str) -> Mapping[str, bytes] | None:
        kind = ("outputs.porter.sh/v1alpha1", "InstallationOutputs")
        found = estate.cluster.admin.get(*kind, name, estate.namespace) or {}
        shown = {one["name"]: one.get("value") for one in found.get("status", {}).get("outputs", ())}
        secret = estate.in_cluster(name) or {}
        plain = {key: value.decode() for key, value in secret.items() if key != "password"}
        return secret if shown == {**plain, "password": None} else None

    return seen


def isolation(*, quick: bool) -> Sequence[Figure]:
    """Three sinks, then the same with one of them black-holed for good: what the other two notice."""
    with running(change_streams=False) as rig, ExitStack() as stack:
        bao = BaoServer.start()
        stack.callback(bao.stop)
        proxy = TcpProxy.start("127.0.0.1", int(bao.url.rpartition(":")[2]))
        stack.callback(proxy.stop)
        document, environ = _three_sinks(rig.estate, bao, proxy)
        syncer = Syncer.start(document, rig.estate.folder, environ=environ, level="warning")
        stack.callback(syncer.stop)
        syncer.until_ready()
        runs = _FEW if quick else _MANY
        both = _both(rig.estate)
        before = sorted(_lags(rig.estate, runs, both))
        stack.enter_context(proxy.black_hole())
        after = sorted(_lags(rig.estate, runs, both))
    ratio = percentile(after, 99) / percentile(before, 99)
    return [
        Figure(what="runs each", value=runs),
        Figure(what="undisturbed: p99 at two sinks", value=percentile(before, 99), unit="s"),
        Figure(what="third sink black-holed: p99", value=percentile(after, 99), unit="s"),
        Figure(what="ratio", value=ratio, at_most=1.1),
    ]


def _source(estate: Estate) -> dict[str, object]:
    """With the intervals a user has."""
    return estate.source(pollInterval=f"{POLL:g}s", deletionCheckInterval="15s", settleTime="30s")


def _both(estate: Estate) -> Callable[[str], dict[str, bytes] | None]:
    def seen(name: str) -> dict[str, bytes] | None:
        found = estate.in_files(name)
        return found if found == estate.in_cluster(name) else None

    return seen


def _three_sinks(estate: Estate, bao: BaoServer, proxy: TcpProxy) -> tuple[dict[str, object], dict[str, str]]:
    mount = bao.mount(2)
    policy = (
        (REPOSITORY / "examples/vault/policy.hcl").read_text().replace('path "secret/', f'path "{mount}/')
    )
    vault = {
        "name": "vault",
        "kind": "vault",
        "address": f"https://127.0.0.1:{proxy.port}",
        "caFile": str(bao.ca_file),
        "mount": mount,
        "auth": {"method": "token", "token": {"env": "BENCH_TOKEN"}},
    }
    document = estate.document(source=_source(estate))
    document["sinks"] = [*document["sinks"], vault]
    document["rules"][0]["targets"].append({"sink": "vault", "path": "porter/{installation}"})
    return document, {"BENCH_TOKEN": bao.token(policy)}


def _lags(estate: Estate, runs: int, seen: Callable[[str], Mapping[str, bytes] | None]) -> Iterator[float]:
    """Seconds from the last insert of a run to all of its outputs at the sink."""
    names = [f"app-{number}" for number in range(10)]
    for number in range(runs):
        name = names[number % len(names)]
        outputs = {"host": b"%d.internal" % number, "port": b"5432", "password": b"secret %d" % number}
        act = estate.porter.install if number < len(names) else estate.porter.upgrade
        act("shop", name, outputs, sensitive=["password"]).finish()
        begun = time.monotonic()
        while seen(name) != outputs:
            if time.monotonic() > begun + _LONGEST:
                raise RuntimeError(f"run {number} did not arrive within {_LONGEST:g} s")
            time.sleep(_LOOK)
        yield time.monotonic() - begun
        # NB: else each run would come just after a poll.
        time.sleep(random.uniform(0, POLL / 4))


def percentile(sorted_values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent do not exceed."""
    return sorted_values[math.ceil(percent / 100 * len(sorted_values)) - 1]
