"""docs/install.md, step by step: what its blocks do is done, as far as one machine goes.

The chart by real Helm into a real API server, the other commands by a real kubectl. No pod runs: that one is
ready, or done, is said by the test, and `--logs` is left out, since there is no kubelet to ask. The unit is checked by
systemd's own tool where there is one, the compose file against what is in the repository; tests/image starts the same.
Excludes pip, which test_docs_commands.py runs.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncer.cli import main
from syncer.cli.program import _program
from tests.contract.installation_outputs_world import DEFINITION
from tests.docs.pages import ROOT, Block, blocks, rows_after, spans
from tests.servers import helm, kubectl
from tests.servers.kubernetes import KubeCluster
from tests.servers.lacking import provided

Json = dict[str, Any]

HOME, NAME = "porter-outputs", "outputs-porter-outputs-syncer"
UNIT = ROOT / "examples" / "porter-outputs-syncer.service"
COMPOSE = ROOT / "examples" / "compose.yaml"
SECONDS = 60

# The first test may have to build Helm and kubectl.
pytestmark = pytest.mark.timeout(900)


def block(page: str, start: str) -> Block:
    """The block of a page that begins like this."""
    (found,) = (one for one in blocks("sh", "yaml") if one.page == page and one.first.startswith(start))
    return found


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The parts of the repository that the commands name, and the page's values."""
    for name in ("charts", "examples"):
        shutil.copytree(ROOT / name, tmp_path / "copy" / name)
    (tmp_path / "copy" / "values.yaml").write_text(block("docs/install.md", "image:").text)
    return tmp_path / "copy"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Helm and kubectl under their own names."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "helm").symlink_to(provided(helm.helm))
    (folder / "kubectl").symlink_to(provided(kubectl.kubectl))
    return folder


def run(script: str, folder: Path, cluster: KubeCluster, programs: Path, *, told: str = "") -> str:
    """What a shell prints that stops at the first mistake, against this cluster."""
    path = os.pathsep.join([str(programs), os.environ["PATH"]])  # noqa: TID251 - a shell's
    environ = {"PATH": path, "HOME": str(folder.parent), "KUBECONFIG": str(cluster.kubeconfig())}
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environ,
        input=told,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- with the chart


@pytest.fixture
def home(kube_cluster: KubeCluster) -> Iterator[KubeCluster]:
    """A cluster with the namespaces that the page's values name, and no release of the page's name."""
    for name in ("shop", "platform", "porter", HOME):
        kube_cluster.admin.create_namespace(name)
    yield kube_cluster
    for secret in kube_cluster.admin.list("v1", "Secret", HOME):
        kube_cluster.admin.delete("v1", "Secret", secret["metadata"]["name"], HOME)


@contextmanager
def acting(cluster: KubeCluster) -> Iterator[None]:
    """Inside the block somebody says of pods and Deployments what a kubelet and controllers would."""
    over = threading.Event()

    def act() -> None:
        while not over.wait(0.2):
            _say(cluster, "v1", "Pod", {"phase": "Succeeded"})
            counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 2)
            _say(cluster, "apps/v1", "Deployment", {"observedGeneration": 1, **counts})

    actor = threading.Thread(target=act)
    actor.start()
    try:
        yield
    finally:
        over.set()
        actor.join()


def _say(cluster: KubeCluster, api: str, kind: str, status: Mapping[str, object]) -> None:
    for one in cluster.admin.list(api, kind, HOME):
        name = one["metadata"]["name"]
        path = f"{cluster.admin._path(api, kind, HOME)}/{name}/status?fieldManager=kubelet&force=true"
        said = {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "status": status}
        cluster.admin.request("PATCH", path, said)


def commands(script: str) -> list[str]:
    return script.strip().splitlines()


def test_the_namespace_and_the_credential_are_made_of_what_is_typed(
    kube_cluster: KubeCluster, tmp_path: Path, programs: Path
) -> None:
    space = f"outputs-{secrets.token_hex(4)}"
    script = block("docs/install.md", "kubectl create namespace").text.replace(HOME, space)
    run(script, tmp_path, kube_cluster, programs, told="mongodb://db.example/porter")
    made = kube_cluster.admin.secret(space, "porter-mongodb")
    assert made is not None
    assert made["data"] == {"url": "bW9uZ29kYjovL2RiLmV4YW1wbGUvcG9ydGVy"}


def test_the_chart_is_installed_tested_and_taken_away(home: KubeCluster, copy: Path, programs: Path) -> None:
    install, test, rollout = commands(block("docs/install.md", "helm install").text)
    assert "STATUS: deployed" in run(install, copy, home, programs)
    assert home.admin.get("apps/v1", "Deployment", NAME, HOME) is not None
    with acting(home):
        passed = run(test.replace(" --logs", ""), copy, home, programs)
        assert re.search(r"Phase:\s+Succeeded", passed)
        assert "successfully rolled out" in run(rollout, copy, home, programs)
    run(f"helm uninstall outputs --namespace {HOME}", copy, home, programs)
    assert home.admin.get("apps/v1", "Deployment", NAME, HOME) is None


def test_the_roles_are_where_the_page_says(home: KubeCluster, copy: Path, programs: Path) -> None:
    """The sink's namespaces get a Role each, that of Porter's plugin one that reads."""
    install = commands(block("docs/install.md", "helm install").text)[0]
    run(install, copy, home, programs)
    api = "rbac.authorization.k8s.io/v1"
    verbs = {
        space: {
            verb
            for role in home.admin.list(api, "Role", space)
            if role["metadata"]["name"].startswith(HOME)
            for rule in role["rules"]
            if "secrets" in rule["resources"]
            for verb in rule["verbs"]
        }
        for space in ("shop", "platform", "porter")
    }
    run(f"helm uninstall outputs --namespace {HOME}", copy, home, programs)
    writes = {"get", "list", "watch", "create", "update", "delete"}
    assert verbs == {"shop": writes, "platform": writes, "porter": {"get"}}


def test_what_was_written_is_listed(home: KubeCluster, tmp_path: Path, programs: Path) -> None:
    labels = {"app.kubernetes.io/managed-by": "porter-outputs-syncer"}
    name = f"orders-{secrets.token_hex(4)}"
    for metadata in ({"name": name, "labels": labels}, {"name": f"{name}-not"}):
        home.admin.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {**metadata, "namespace": "shop"}}
        )
    shown = run(block("docs/install.md", "kubectl get secrets").text, tmp_path, home, programs)
    assert re.findall(rf"^{name}\S*", shown, re.MULTILINE) == [name]


# --- kubectl on other pages


def test_waiting_ends_when_a_resource_says_so(home: KubeCluster, tmp_path: Path, programs: Path) -> None:
    home.install(DEFINITION)
    (shown,) = (one for one in blocks("yaml") if one.first == "apiVersion: outputs.porter.sh/v1alpha1")
    resource: Json = yaml.safe_load(shown.text)
    home.admin.apply({key: value for key, value in resource.items() if key != "status"})
    vault = {**resource["status"]["conditions"][1], "type": "Synced/vault"}
    status = {**resource["status"], "conditions": [*resource["status"]["conditions"], vault]}
    path = f"{home.admin._path(resource['apiVersion'], resource['kind'], 'shop')}/orders-db/status"
    home.admin.request("PATCH", f"{path}?fieldManager=docs&force=true", {**resource, "status": status})
    waited = run(block("docs/custom-resources.md", "kubectl wait").text, tmp_path, home, programs)
    assert waited.count("condition met") == 4


def test_kubectl_prints_what_the_page_shows(home: KubeCluster, tmp_path: Path, programs: Path) -> None:
    test_waiting_ends_when_a_resource_says_so(home, tmp_path, programs)
    (console,) = (one for one in blocks("console") if one.page == "docs/custom-resources.md")
    command, heading, row = console.text.removeprefix("$ ").splitlines()
    shown = run(command, tmp_path, home, programs).splitlines()
    assert shown[0].split() == heading.split()
    (found,) = (line.split() for line in shown[1:] if line.startswith("orders-db "))
    assert found[:-1] == row.split()[:-1]


def test_the_operator_gets_its_patch(home: KubeCluster, tmp_path: Path, programs: Path) -> None:
    space, name = "porter-operator-system", "porter-operator-controller-manager"
    home.admin.create_namespace(space)
    labels = {"control-plane": "controller-manager"}
    pod = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "manager", "image": "operator:1"}]},
    }
    spec = {"selector": {"matchLabels": labels}, "template": pod}
    metadata = {"name": name, "namespace": space}
    home.admin.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    (tmp_path / "sidecar.yaml").write_text(block("docs/api.md", "spec:").text)
    run(block("docs/api.md", "kubectl -n porter-operator-system patch").text, tmp_path, home, programs)
    patched = home.admin.get("apps/v1", "Deployment", name, space)
    assert patched is not None
    containers = {one["name"] for one in patched["spec"]["template"]["spec"]["containers"]}
    assert containers == {"manager", "porter-outputs-api"}


# --- with systemd


def unit() -> dict[str, list[str]]:
    """The settings of the unit, all sections together."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        name, is_setting, value = line.partition("=")
        if is_setting and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_starts_what_the_program_knows_and_names_its_credential() -> None:
    (start,), (credential,) = unit()["ExecStart"], unit()["LoadCredential"]
    program, *arguments = shlex.split(start)
    assert program == "/opt/porter-outputs-syncer/bin/syncer"
    _program().parse_args(arguments, exit_on_error=False, print_error=False)
    name = credential.partition(":")[0]
    assert f"{{file: /run/credentials/{UNIT.name}/{name}}}" in UNIT.read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze on PATH")
def test_systemd_finds_no_mistake_in_the_unit(tmp_path: Path) -> None:
    syncer = tmp_path / "syncer"
    syncer.write_text("#!/bin/sh\n")
    syncer.chmod(0o755)
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace("/opt/porter-outputs-syncer/bin/syncer", str(syncer)))
    assert verified(path) == ""
    path.write_text(path.read_text().replace("ProtectSystem=", "ProtecSystem="))
    assert "ProtecSystem" in verified(path)


def verified(path: Path) -> str:
    """What systemd complains about in this file; it also looks at units of the machine that this one waits for."""
    command = ["systemd-analyze", "verify", "--man=no", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    return "\n".join(line for line in done.stderr.splitlines() if UNIT.name in line)


# --- with docker compose


def test_what_the_composed_syncer_mounts_is_in_the_repository() -> None:
    """Each place of the quickstart's configuration is where the container has it; `out` is made beforehand."""
    (service,) = yaml.safe_load(COMPOSE.read_text())["services"].values()
    mounts = dict(volume.removesuffix(":ro").split(":") for volume in service["volumes"])
    quickstart = yaml.safe_load((COMPOSE.parent / "quickstart" / "syncer.yaml").read_text())
    folder = "/etc/porter-outputs-syncer"
    places = {
        quickstart["source"]["path"],
        quickstart["source"]["secrets"]["path"],
        quickstart["sinks"][0]["path"],
        "./syncer.yaml",
    }
    assert {f"{folder}/{place.removeprefix('./')}" for place in places} == {*mounts.values()}
    made = {path for path in mounts if (COMPOSE.parent / path).exists()}
    assert {*mounts} - made <= {"./quickstart/out"}
    assert {volume for volume in service["volumes"] if not volume.endswith(":ro")} == {
        "./quickstart/out:/etc/porter-outputs-syncer/out"
    }


def test_the_page_makes_the_folder_that_the_composed_user_writes_to() -> None:
    (service,) = yaml.safe_load(COMPOSE.read_text())["services"].values()
    user, group = service["user"].split(":")
    script = block("docs/install.md", "docker build").text
    assert f"install -d -o {user} -g {group} examples/quickstart/out" in script
    assert f"docker build -t {service['image']} ." in script
    assert f"docker compose -f {COMPOSE.relative_to(ROOT)} up" in script


def test_an_application_beside_it_has_what_the_page_says(copy: Path) -> None:
    """docs/file.md's service, with the folder that the quickstart writes."""
    (service,) = yaml.safe_load(block("docs/file.md", "services:").text)["services"].values()
    ((source, target),) = (volume.removesuffix(":ro").split(":") for volume in service["volumes"])
    assert main(["once", "-c", str(copy / "examples" / "quickstart" / "syncer.yaml")]) == 0
    folder = copy / "examples" / source
    files = {f"{target}/{path.name}" for path in folder.iterdir() if not path.name.startswith("..")}
    ((_, has),) = rows_after(ROOT / "docs" / "file.md", "services:")
    assert files == {*spans(has)}
    (composed,) = yaml.safe_load(COMPOSE.read_text())["services"].values()
    assert service["user"] == composed["user"]
