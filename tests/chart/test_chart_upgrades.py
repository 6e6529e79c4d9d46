"""Releases that run while they are upgraded, removed and installed again: secrets stay, and marks still match.

The syncer itself writes everything here, from the pods of kubelet.py. The chart's previous version is a copy with a
lower number, as none was released. Excludes what Helm does to objects (test_chart_lifecycle.py).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_world import CHART, NAME
from kubelet import Pod
from run_world import FIRST, OUTPUTS_API, SECOND, Premises, Story

ANNEXE = "annexe"
"""Another sink, which writes files to a volume that is claimed."""


@pytest.fixture
def story(premises, mongo_server, mongo_url) -> Story:
    """Nothing is installed: neither the chart, nor anything by Porter."""
    premises.deploy_readers()
    database = mongo_server.client[mongo_url.rpartition("/")[2]]
    return Story(premises=premises, porter=premises.porter(database), token="")


@pytest.fixture
def previous(tmp_path) -> Path:
    """The chart as it was before."""
    folder = Path(shutil.copytree(CHART, tmp_path / "previous"))
    about = folder / "Chart.yaml"
    number = yaml.safe_load(about.read_text())["version"]
    about.write_text(about.read_text().replace(f"\nversion: {number}", "\nversion: 0.0.9"))
    assert yaml.safe_load(about.read_text())["version"] == "0.0.9"
    return folder


def values(premises: Premises, *, sink: bool = True, target: bool = True) -> dict[str, Any]:
    """With the sink `annexe`, and with or without a target that writes there."""
    cluster = {"name": "cluster", "kind": "kubernetes", "namespaces": [premises.shop]}
    annexe = {"name": ANNEXE, "kind": "file", "path": "/data/out"}
    there = {"sink": ANNEXE, "path": "{installation}"}
    usual = premises.values(
        sinks=[cluster, *([annexe] if sink else [])],
        rules=[{"name": "all", "targets": [{"sink": "cluster"}, *([there] if target else [])]}],
    )
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "files"}}
    mount = {"name": "data", "mountPath": "/data"}
    return usual | {"extraVolumes": [volume], "extraVolumeMounts": [mount]}


def files(premises: Premises) -> Path:
    return premises.folder / "claimed" / "files" / "out"


def in_annexe(premises: Premises) -> bytes | None:
    """What is in the file of one output."""
    path = files(premises) / "orders" / "host"
    return path.read_bytes() if path.exists() else None


def everything(premises: Premises) -> dict[str, Any]:
    """Versions of all that a syncer may have written."""
    admin = premises.cluster.admin
    found = admin.list("v1", "Secret", premises.shop)
    found += admin.list(OUTPUTS_API, "InstallationOutputs", premises.shop)
    paths = [path for path in sorted(files(premises).rglob("*")) if path.is_symlink() or path.is_file()]
    return {
        **{one["metadata"]["uid"]: one["metadata"]["resourceVersion"] for one in found},
        **{str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in paths},
    }


def installed(premises: Premises, story: Story) -> Callable[[], bool]:
    shown = story.facts()["shown"][0]
    return lambda: premises.published() == FIRST and shown() and premises.published("other") == FIRST


def test_a_running_pod_takes_over_the_next_version_of_the_chart(premises, story, previous) -> None:
    """With another sink: no pod is replaced, and the one that runs may and does write there."""
    premises.helm_does("install", values(premises, sink=False, target=False), previous)
    pod = premises.pod()
    story.install()
    with premises.running(pod) as syncer:
        syncer.until(installed(premises, story), every=0.1)
        before = premises.cluster.admin.secret(premises.shop, "orders-outputs")
        premises.helm_does("upgrade", values(premises))
        assert Pod.of(premises.cluster, premises.home, NAME, pod.folder / "next").spec == pod.spec
        pod.refresh()
        syncer.until(lambda: in_annexe(premises), every=0.1)
        assert before == premises.cluster.admin.secret(premises.shop, "orders-outputs")
        story.upgrade()
        syncer.until(lambda: premises.published() == SECOND, every=0.1)


def test_who_is_installed_again_finds_its_secrets_in_sync(premises, story) -> None:
    """Uninstalled, nothing that was written goes; installed again, nothing is written. What vanished is collected."""
    premises.helm_does("install", values(premises))
    story.install()
    with premises.running() as syncer:
        syncer.until(lambda: installed(premises, story)() and in_annexe(premises), every=0.1)
        syncer.until(lambda: plan(premises)[0] == 0, every=0.1)
    before = everything(premises)
    premises.uninstall()
    assert everything(premises) == before
    premises.helm_does("install", values(premises))
    assert plan(premises) == (0, {"keep"})
    since = premises.cluster.audit.position()
    with premises.running() as syncer:
        syncer.until_ready()
        for sink in ("cluster", ANNEXE, "custom-resources"):
            syncer.until(partial(syncer.logged, "swept", sink=sink))
        assert everything(premises) == before
        written = premises.cluster.audit.writes(since=since, user=premises.user)
        assert {one.resource for one in written} <= {"leases", "selfsubjectaccessreviews"}
        story.delete()
        syncer.until(lambda: premises.published() is None and in_annexe(premises) is None, every=0.1)


def plan(premises: Premises) -> tuple[int, set[str]]:
    """What `syncer plan` in a pod of the release comes to: status, and what it would do."""
    status, output = premises.pod().run("plan", "-o", "json")
    summary = json.loads(output[output.index("{") :])["summary"]
    return status, {action for action, count in summary.items() if count}


def test_what_a_sink_that_is_taken_out_has_is_told_and_can_be_removed_first(premises, story) -> None:
    """Without its targets it is orphaned, which `status` says and `gc --prune` removes."""
    premises.helm_does("install", values(premises))
    story.install()
    with premises.running() as syncer:
        syncer.until(lambda: installed(premises, story)() and in_annexe(premises), every=0.1)
    premises.helm_does("upgrade", values(premises, target=False))
    pod = premises.pod()
    _, told = pod.run("status")
    orphaned = [line for line in told.splitlines() if "Orphaned" in line]
    assert len([line for line in orphaned if f"{ANNEXE}:orders" in line]) == 1, told
    status, told = pod.run("gc", "--prune")
    assert status == 0, told
    assert in_annexe(premises) is None
    assert premises.published() == FIRST


def test_what_a_sink_that_is_gone_has_stays_and_the_upgrade_says_so(premises, story) -> None:
    premises.helm_does("install", values(premises))
    story.install()
    with premises.running() as syncer:
        syncer.until(lambda: installed(premises, story)() and in_annexe(premises), every=0.1)
    told = premises.helm_does("upgrade", values(premises, sink=False, target=False))
    assert f"no longer in the configuration: sink {ANNEXE}." in told
    assert "gc --prune" in told
    with premises.running() as syncer:
        syncer.until_ready()
        story.upgrade()
        syncer.until(lambda: premises.published() == SECOND, every=0.1)
    assert in_annexe(premises) is not None
    told = premises.helm_does("upgrade", values(premises, sink=False, target=False))
    assert "no longer" not in told


def test_a_namespace_that_is_taken_out_is_told_as_well(premises) -> None:
    wide = values(premises, sink=False, target=False)
    wide["config"]["sinks"][0]["namespaces"].append(premises.store)
    told = premises.helm_does("install", wide)
    assert "no longer" not in told
    told = premises.helm_does("upgrade", values(premises, sink=False, target=False))
    assert f"no longer in the configuration: namespace {premises.store} of sink cluster." in told


def test_another_instance_is_told(premises) -> None:
    """Its name is in every mark: under another one everything would be somebody else's."""
    told = premises.helm_does("install", values(premises))
    assert "NB:" not in told
    renamed = values(premises)
    renamed["config"]["instance"] = "renamed"
    told = premises.helm_does("upgrade", renamed)
    assert "NB: the instance was prod-" in told
    assert "NB:" not in premises.helm_does("upgrade", renamed)
