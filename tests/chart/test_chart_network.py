"""Whom the pods of each example may talk to, and who may talk to them.

Excludes whether a network enforces it: that takes a cluster with nodes.
"""

from __future__ import annotations

from typing import Any

import pytest
from chart_world import EXAMPLES, NAME, example, found, of_kind, rendered, values_of

DNS = 53
KUBERNETES = {443, 6443}
DATABASE = {27017}
EGRESS = {
    "kubernetes": KUBERNETES | DATABASE,
    "cluster-wide": KUBERNETES | {27018, 27019},
    "restarts": KUBERNETES | DATABASE,
    "vault": KUBERNETES | DATABASE | {8200},
    "azure": KUBERNETES | DATABASE,
    "file": set(),
    "all-sinks": KUBERNETES | DATABASE | {80},
    "api": KUBERNETES | DATABASE,
    "api-separate": KUBERNETES | DATABASE | {8200},
    "api-certificates": KUBERNETES | DATABASE,
    "custom-resources": KUBERNETES | DATABASE,
    "porter": KUBERNETES | {27017, 10255},
    "monitoring": KUBERNETES | DATABASE,
    "kubeconfig": KUBERNETES | DATABASE,
    "pods": KUBERNETES | DATABASE | {3128},
}


def policy(objects: list[dict[str, Any]], name: str = NAME) -> dict[str, Any]:
    return dict(found(objects, "NetworkPolicy", name)["spec"])


def ports(rules: list[dict[str, Any]]) -> set[Any]:
    return {port["port"] for rule in rules for port in rule.get("ports", [])}


def test_only_where_everything_is_off_there_is_no_policy(helm) -> None:
    assert {*EGRESS, "off"} == set(EXAMPLES)
    assert not list(of_kind(example(helm, "off"), "NetworkPolicy"))


@pytest.mark.parametrize("name", EGRESS)
def test_pods_reach_names_and_what_is_configured(helm, name) -> None:
    spec = policy(example(helm, name), "outputs" if name == "pods" else NAME)
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert ports(spec["egress"]) == EGRESS[name] | {DNS}


def test_a_managed_identity_is_asked_for_at_the_node_alone(helm) -> None:
    rules = policy(example(helm, "all-sinks"))["egress"]
    (rule,) = (one for one in rules if 80 in ports([one]))
    assert rule["to"] == [{"ipBlock": {"cidr": "169.254.169.254/32"}}]


def test_a_separate_api_reaches_no_sink(helm) -> None:
    spec = policy(example(helm, "api-separate"), f"{NAME}-api")
    assert ports(spec["egress"]) == KUBERNETES | DATABASE | {DNS}
    assert ports(spec["ingress"]) == {"metrics", "grpc"}


def test_the_api_can_be_closed_to_all_but_some(helm) -> None:
    assert ports(policy(example(helm, "kubernetes"))["ingress"]) == {"metrics"}
    rules = policy(example(helm, "api"))["ingress"]
    (rule,) = (one for one in rules if "grpc" in ports([one]))
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"team": "reports"}}}]


def test_the_test_pod_is_confined_as_the_controller_is(helm) -> None:
    objects = example(helm, "kubernetes")
    (expression,) = policy(objects)["podSelector"]["matchExpressions"]
    labels = found(objects, "Pod", f"{NAME}-doctor")["metadata"]["labels"]
    assert labels[expression["key"]] in expression["values"]
    services = [one["spec"]["selector"] for one in of_kind(objects, "Service")]
    assert not any(selector.items() <= labels.items() for selector in services)


@pytest.mark.parametrize(
    ("url", "reached"),
    [
        ("mongodb://db.porter.svc/porter", {27017}),
        ("mongodb://a.example:1111,b.example/?replicaSet=r0", {1111, 27017}),
        ("mongodb+srv://cluster.example/porter?x=:99", {27017}),
        ("mongodb://[fd00::1]:2222/porter", {2222}),
    ],
)
def test_the_database_is_where_its_address_says(helm, url, reached) -> None:
    address = ("--set-json", f'config.source.url="{url}"')
    objects = rendered(helm, "porter", "--values", values_of("kubernetes"), *address)
    assert ports(policy(objects)["egress"]) == reached | KUBERNETES | {DNS}
