"""InstallationOutputs beside a running controller: they follow what is published, and delay nobody.

On real servers, with the definition that the chart installs. How a resource looks in every detail is in
tests/contract; here it is when it changes, and what happens to Secrets where it cannot be written.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.faults.estate import SPACE, USER
from tests.servers.http_proxy import HttpProxy, answer, on

ROOT = Path(__file__).parents[2]
DEFINITION = yaml.safe_load(
    (ROOT / "charts/porter-outputs-syncer/files/installationoutputs.yaml").read_text()
)
GROUP = "outputs.porter.sh"
RULES = [
    {
        "apiGroups": [GROUP],
        "resources": ["installationoutputs"],
        "verbs": ["get", "list", "create", "update", "delete"],
    },
    {"apiGroups": [GROUP], "resources": ["installationoutputs/status"], "verbs": ["update"]},
    {"apiGroups": ["getporter.org"], "resources": ["installations"], "verbs": ["list"]},
]
FIRST = {"host": b"db-1.shop.internal", "password": b"canary-KXb2RqS0vwnQ4hFf"}
SECOND = {"host": b"db-2.shop.internal", "password": b"canary-9tVUeYd1mZx7LJpA"}


@pytest.fixture
def cluster(kube_cluster):
    kube_cluster.install(DEFINITION)
    return kube_cluster


@pytest.fixture
def run(start, estate, cluster):
    """Starts a syncer that may write resources, and does."""
    cluster.grant(USER, RULES, estate.namespace)

    def begin(sinks=None, **settings):
        return start(
            estate.document(
                namespaces={SPACE: estate.namespace},
                customResources={"enabled": True},
                sinks=sinks or [estate.kubernetes, estate.files],
                **settings,
            )
        )

    return begin


def install(estate, name="orders", outputs=FIRST):
    estate.porter.install("shop", name, outputs, sensitive=["password"]).finish()


def upgrade(estate, name="orders", outputs=SECOND):
    estate.porter.upgrade("shop", name, outputs, sensitive=["password"]).finish()


def resource(estate, name="orders"):
    return estate.cluster.admin.get(f"{GROUP}/v1alpha1", "InstallationOutputs", name, estate.namespace)


def shown(estate, name="orders"):
    """By output: its value, or the key of the Secret where it is."""
    status = (resource(estate, name) or {}).get("status") or {}
    return {
        one["name"]: one.get("value") or (one["secretKeyRef"]["name"], one["secretKeyRef"]["key"])
        for one in status.get("outputs", ())
    }


def condition(estate, kind, name="orders"):
    status = (resource(estate, name) or {}).get("status") or {}
    return next(
        ((one["status"], one["reason"]) for one in status.get("conditions", ()) if one["type"] == kind), None
    )


def as_published(outputs, name="orders"):
    return {"host": outputs["host"].decode(), "password": (f"{name}-outputs", "password")}


def test_a_resource_shows_what_is_published_follows_it_and_goes_with_it(run, estate):
    install(estate)
    install(estate, "other")
    syncer = run()
    syncer.until(lambda: shown(estate) == as_published(FIRST))
    before = resource(estate)["status"]
    upgrade(estate)
    syncer.until(lambda: shown(estate) == as_published(SECOND))
    after = resource(estate)["status"]
    assert (before["action"], after["action"]) == ("install", "upgrade")
    assert before["run"] < after["run"]
    syncer.until(lambda: condition(estate, "Synced/cluster") == ("True", "Synced"))
    assert condition(estate, "Ready")[0] == "True"
    estate.porter.delete("shop", "orders").finish()
    syncer.until(lambda: resource(estate) is None and estate.everywhere("orders", None))
    assert shown(estate, "other") == as_published(FIRST, "other")
    for value in (FIRST["password"], SECOND["password"]):
        assert value.decode() not in syncer.output
        assert value.decode() not in str([before, after])


def test_quiet_time_and_sweeps_write_no_resource_again(run, estate):
    install(estate)
    syncer = run(resyncInterval="1s")
    syncer.until(
        lambda: condition(estate, "Synced/cluster") == condition(estate, "Synced/files") == ("True", "Synced")
    )
    syncer.until_ready()
    before = resource(estate)
    sweeps = syncer.metric("sweep_last_success_timestamp_seconds", sink="custom-resources")
    syncer.until(
        lambda: syncer.metric("sweep_last_success_timestamp_seconds", sink="custom-resources") > sweeps + 2
    )
    assert resource(estate) == before


def test_a_missing_definition_delays_no_secret_and_once_it_is_there_so_are_the_resources(
    run, estate, cluster
):
    cluster.admin.delete(
        "apiextensions.k8s.io/v1", "CustomResourceDefinition", DEFINITION["metadata"]["name"]
    )
    install(estate)
    syncer = run()
    syncer.until(lambda: estate.everywhere("orders", FIRST))
    syncer.until(lambda: syncer.logged("sink left alone for a while", sink="custom-resources"))
    upgrade(estate)
    syncer.until(lambda: estate.everywhere("orders", SECOND))
    cluster.install(DEFINITION)
    syncer.until(lambda: shown(estate) == as_published(SECOND))


def test_a_status_that_cannot_be_written_delays_no_secret(run, estate, cluster):
    proxy = HttpProxy.start(cluster.url, cluster.ca_file)
    try:
        proxy.rules.add(on("PUT", path=r"/installationoutputs/[^/]+/status"), answer(409))
        install(estate)
        syncer = run(sinks=[estate.kubernetes_at(proxy.url, proxy.ca_file), estate.files])
        syncer.until(lambda: estate.everywhere("orders", FIRST))
        syncer.until(lambda: syncer.logged("reconciled", sink="custom-resources", outcome="failed"))
        upgrade(estate)
        syncer.until(lambda: estate.everywhere("orders", SECOND))
        proxy.rules.clear()
        syncer.until(lambda: shown(estate) == as_published(SECOND))
    finally:
        proxy.stop()


def test_a_sink_that_cannot_be_written_is_shown_and_so_is_its_recovery(run, estate):
    install(estate)
    syncer = run()
    syncer.until(lambda: condition(estate, "Synced/files") == ("True", "Synced"))
    out = estate.folder / "out"
    shutil.move(out, estate.folder / "kept")
    out.write_text("no folder")
    upgrade(estate)
    syncer.until(lambda: (condition(estate, "Synced/files") or ("",))[0] == "False")
    syncer.until(lambda: shown(estate) == as_published(SECOND))
    syncer.until(lambda: condition(estate, "Ready") == ("False", "SinkNotSynced"))
    assert condition(estate, "Synced/cluster") == ("True", "Synced")
    out.unlink()
    shutil.move(estate.folder / "kept", out)
    syncer.until(lambda: condition(estate, "Synced/files") == ("True", "Synced"))
    syncer.until(lambda: condition(estate, "Ready")[0] == "True")
    assert estate.everywhere("orders", SECOND)


def test_somebody_elses_resource_stays_as_it_is_and_holds_only_itself(run, estate, cluster):
    theirs = {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "InstallationOutputs",
        "metadata": {"namespace": estate.namespace, "name": "orders"},
        "spec": {"installation": {"namespace": "shop", "name": "orders"}},
    }
    cluster.admin.apply(theirs)
    before = resource(estate)
    install(estate)
    install(estate, "other")
    syncer = run()
    syncer.until(lambda: estate.everywhere("orders", FIRST))
    syncer.until(lambda: shown(estate, "other") == as_published(FIRST, "other"))
    syncer.until(lambda: syncer.logged("reconciled", sink="custom-resources", outcome="held"))
    assert resource(estate) == before


def test_a_pass_writes_resources_too_and_a_plan_shows_them(run, estate):
    install(estate)
    syncer = run()
    syncer.until(lambda: shown(estate) == as_published(FIRST))
    assert syncer.end() == 0
    upgrade(estate)
    assert f"custom-resources:{estate.namespace}/orders" in syncer.beside("plan").stdout
    assert syncer.beside("once").returncode == 0
    assert shown(estate) == as_published(SECOND)
    assert syncer.beside("plan").returncode == 0
