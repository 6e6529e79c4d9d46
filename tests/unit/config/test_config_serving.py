"""What `api` and `customResources` come to. Left out: what is refused (test_config_refusals)."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.kubernetes_secret.options import KubernetesSinkOptions
from syncer.config.loading import load_config
from syncer.config.model import (
    CertificateClientConfig,
    CertificatesAccessConfig,
    Config,
    KubernetesAccessConfig,
    LoopbackAccessConfig,
    TlsConfig,
)
from syncer.core.model import Match

FILE = """\
instance: test
namespaces: {"": platform}
source: {kind: dump, path: dump, secrets: {kind: none}}
sinks:
  - {name: out, kind: file, path: out}
  - {name: cluster, kind: kubernetes, namespaces: [shop]}
rules:
  - {name: a, targets: [{sink: cluster}]}
"""


@pytest.fixture
def loaded(tmp_path: Path):
    def load(more: str) -> Config:
        (tmp_path / "syncer.yaml").write_text(FILE + more)
        return load_config(tmp_path / "syncer.yaml", {"HOME": "/home/ann"})

    return load


def test_without_a_word_the_api_is_for_this_machine_and_without_sensitive_values(loaded) -> None:
    api = loaded("").api
    assert (api.enabled, api.listen, api.tls, api.reflection) == (False, "127.0.0.1:3001", None, False)
    assert api.access == LoopbackAccessConfig(sensitive=False)
    assert (api.porter_service, api.porter_service_sensitive) == (True, False)


def test_a_cluster_decides_in_the_namespaces_that_are_mapped(loaded, tmp_path: Path) -> None:
    api = loaded(
        "api: {listen: '0.0.0.0:3001', tls: {certificate: c.pem, key: k.pem}, "
        "access: {kind: kubernetes, kubeconfig: kube}}"
    ).api
    assert api.tls == TlsConfig(certificate=tmp_path / "c.pem", key=tmp_path / "k.pem", client_ca=None)
    assert isinstance(api.access, KubernetesAccessConfig)
    assert (api.access.audience, dict(api.access.namespaces)) == ("porter-outputs-syncer", {"": "platform"})
    assert api.access.connection.kubeconfig == tmp_path / "kube"


def test_clients_are_named_by_their_certificates(loaded) -> None:
    api = loaded(
        "api: {tls: {certificate: c, key: k, clientCa: a}, access: {kind: certificates, "
        "clients: [{name: portal, namespaces: ['', shop]}, {name: root, namespaces: ['*'], sensitive: true}]}}"
    ).api
    assert api.access == CertificatesAccessConfig(
        clients=(
            CertificateClientConfig(name="portal", namespaces=("", "shop"), sensitive=False),
            CertificateClientConfig(name="root", namespaces=("*",), sensitive=True),
        )
    )


def test_custom_resources_are_a_sink_and_a_rule_beside_the_sink_of_their_cluster(loaded) -> None:
    config = loaded("customResources: {enabled: true, match: {namespaces: [shop]}}")
    sink, rule = config.sinks[-1], config.policy.rules[-1]
    assert (sink.name, sink.kind.kind, rule.name) == (
        "custom-resources",
        "installation-outputs",
        "custom-resources",
    )
    assert isinstance(sink.options, KubernetesSinkOptions)
    assert sink.options.namespaces == ("shop",)
    assert rule.match == Match(namespaces=("shop",))
    (target,) = rule.targets
    assert (target.sink, target.shows, target.parts) == (
        "custom-resources",
        "cluster",
        ("{namespace}", "{installation}"),
    )


def test_the_same_names_are_free_where_there_are_no_custom_resources(loaded) -> None:
    assert [rule.name for rule in loaded("").policy.rules] == ["a"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "  - {name: custom-resources, targets: [{sink: out}]}\n",
            "rules[1].name: is the name of what customResources adds",
        ),
    ],
)
def test_their_names_are_taken(loaded, more: str, message: str) -> None:
    with pytest.raises(Exception, match="is the name of what customResources adds") as caught:
        loaded(f"{more}customResources: {{enabled: true}}")
    assert message in str(caught.value)


def test_of_two_clusters_one_has_to_be_named(tmp_path: Path) -> None:
    two = FILE.replace("rules:", "  - {name: other, kind: kubernetes, context: other}\nrules:")
    (tmp_path / "syncer.yaml").write_text(f"{two}customResources: {{enabled: true}}\n")
    with pytest.raises(Exception, match="there are cluster, other: name one as sink"):
        load_config(tmp_path / "syncer.yaml", {"HOME": "/home/ann"})


def test_the_sink_of_the_resources_is_none_to_configure(tmp_path: Path) -> None:
    (tmp_path / "syncer.yaml").write_text(FILE.replace("kind: file, path: out", "kind: installation-outputs"))
    with pytest.raises(Exception, match="is switched on by customResources"):
        load_config(tmp_path / "syncer.yaml", {"HOME": "/home/ann"})
