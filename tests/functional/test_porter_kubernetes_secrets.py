"""Porter's secrets in Kubernetes, read out of a real kube-apiserver by a user who may do just that.

Secrets are written here as Porter's plugin writes them. Excludes logging in (contract tests of
the client) and how Secrets are named (unit tests).
"""

from __future__ import annotations

import base64

import pytest

from backends.clients.kubernetes_options import KubernetesOptions
from backends.contract import FindingLevel
from backends.secret_value import SecretValue
from syncer.core.errors import SourceUnavailable
from syncer.sources.porter.secrets.kubernetes import KubernetesSecrets

RUN = "01M85E6NDDJGTZ7NPKWM97E1ZF"


@pytest.fixture
def store(kube_cluster, kube_namespace) -> KubernetesSecrets:
    """As a user who may get Secrets in the namespace, and nothing else."""
    kube_cluster.grant(
        "reader", [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}], kube_namespace
    )
    options = KubernetesOptions(kubeconfig=kube_cluster.kubeconfig("reader"))
    return KubernetesSecrets(options, namespace=kube_namespace)


@pytest.fixture
def write(kube_cluster, kube_namespace):
    def write(name: str, content: bytes, data_key: str = "value") -> None:
        kube_cluster.admin.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": kube_namespace},
                "data": {data_key: base64.b64encode(content).decode()},
            }
        )

    return write


async def test_a_secret_is_found_under_the_name_porter_gives_it(store, write):
    write(f"{RUN.lower()}-db-pass", bytes(range(256)))
    write(f"{RUN.lower()}-empty", b"")
    async with store:
        found = await store.resolve([f"{RUN}-db_pass", f"{RUN}-empty", f"{RUN}-gone"])
        assert await store.resolve([]) == {}
    assert found == {
        f"{RUN}-db_pass": SecretValue(bytes(range(256))),
        f"{RUN}-empty": SecretValue(b""),
        f"{RUN}-gone": "not in the store",
    }


@pytest.mark.fault(14)
async def test_of_two_keys_that_share_a_name_neither_is_resolved(store, write):
    write(f"{RUN.lower()}-a-b", b"whose?")
    async with store:
        found = await store.resolve([f"{RUN}-a_b", f"{RUN}-a-b"])
    assert all("of another key too" in str(answer) for answer in found.values())
    assert len(found) == 2


@pytest.mark.parametrize("key", ["", "-", "a/../b", "x" * 300, "a..b", "%2e%2e"])
async def test_keys_that_name_no_secret_are_not_in_the_store(store, key):
    async with store:
        assert (await store.resolve([key]))[key] == "not in the store"


async def test_a_secret_of_another_shape_is_not_guessed_at(store, write):
    write("other", b"x", data_key="password")
    async with store:
        assert (await store.resolve(["other"]))["other"] == "its Secret has no 'value'"


async def test_a_missing_right_is_unavailable_and_found_by_the_check(kube_cluster, kube_namespace, write):
    write("run-host", b"h")
    options = KubernetesOptions(kubeconfig=kube_cluster.kubeconfig("nobody"))
    async with KubernetesSecrets(options, namespace=kube_namespace) as store:
        with pytest.raises(SourceUnavailable):
            await store.resolve(["run-host", "run-port"])
        assert (await store.check())[0].level is FindingLevel.ERROR


async def test_the_check_is_content_with_reading(store):
    async with store:
        assert (await store.check())[0].level is FindingLevel.OK


async def test_a_server_that_is_down_is_unavailable(kube_cluster, kube_namespace, tmp_path):
    gone = tmp_path / "gone.kubeconfig"
    text = kube_cluster.kubeconfig("reader").read_text()
    gone.write_text(text.replace(f":{kube_cluster.port}", ":1"))
    async with KubernetesSecrets(KubernetesOptions(kubeconfig=gone), namespace=kube_namespace) as store:
        with pytest.raises(SourceUnavailable):
            await store.resolve(["run-host"])
        assert (await store.check())[0].level is FindingLevel.ERROR


async def test_without_a_login_the_store_is_unavailable(tmp_path):
    options = KubernetesOptions(kubeconfig=tmp_path / "gone")
    with pytest.raises(SourceUnavailable, match="no login"):
        await KubernetesSecrets(options, namespace="x").__aenter__()
