"""The rights that each example gets: these rules, in these namespaces, for these accounts, and no other.

What each verb is for is in the chart's README. Excludes whether the syncer gets along with them.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from chart_world import EXAMPLES, NAME, example, found, of_kind, rendered, values_of

SECRETS = ("", "secrets", "get list watch create update delete")
EVENTS = ("events.k8s.io", "events", "create")
STORE = ("", "secrets", "get")
TOKENS = ("authentication.k8s.io", "tokenreviews", "create")
ACCESS = ("authorization.k8s.io", "subjectaccessreviews", "create")
RESOURCES = (
    ("outputs.porter.sh", "installationoutputs", "get list create update delete"),
    ("outputs.porter.sh", "installationoutputs/status", "update"),
    ("getporter.org", "installations", "list"),
)
CLUSTER = ""
"""In place of a namespace: everywhere."""


def lease(namespace: str = "porter", name: str = NAME) -> tuple[str, tuple[tuple[str, ...], ...]]:
    group = "coordination.k8s.io"
    return (namespace, ((group, "leases", "create"), (group, "leases", "get update", name)))


def restart(*kinds: str) -> tuple[str, str, str]:
    return ("apps", " ".join(kinds), "list patch")


SHOP = ("shop", (SECRETS, EVENTS))
BILLING = ("billing", (SECRETS, EVENTS))
READS_PORTER = ("porter", (STORE,))
REVIEWS = (CLUSTER, (TOKENS, ACCESS))

CONTROLLER = {
    "kubernetes": [SHOP, BILLING, READS_PORTER, lease()],
    "cluster-wide": [(CLUSTER, (SECRETS,)), ("shop", (restart("deployments"),)), lease()],
    "restarts": [
        ("shop", (SECRETS, EVENTS, restart("daemonsets", "deployments", "statefulsets"))),
        ("billing", (SECRETS, EVENTS, restart("deployments"))),
        lease(),
    ],
    "vault": [lease()],
    "azure": [lease()],
    "file": [],
    "all-sinks": [
        ("shop", (SECRETS, EVENTS, *RESOURCES, restart("deployments"))),
        ("billing", (SECRETS, EVENTS, *RESOURCES, restart("deployments"))),
        ("shop", (STORE,)),
        lease(),
        REVIEWS,
    ],
    "api": [SHOP, READS_PORTER, lease(), REVIEWS],
    "api-separate": [SHOP, READS_PORTER, lease()],
    "api-certificates": [SHOP, lease()],
    "custom-resources": [("shop", (SECRETS, EVENTS, *RESOURCES)), lease()],
    "off": [],
    "porter": [SHOP, READS_PORTER, lease()],
    "monitoring": [SHOP, lease()],
    "kubeconfig": [lease()],
    "pods": [SHOP, lease("shop", "writer")],
}
SEPARATE_API = {"api-separate": [READS_PORTER, REVIEWS]}


def granted(objects: list[dict[str, Any]], account: str) -> list[tuple[str, tuple[tuple[str, ...], ...]]]:
    """What is bound to a service account: the places, with the rules there."""
    grants = []
    for binding in (*of_kind(objects, "RoleBinding"), *of_kind(objects, "ClusterRoleBinding")):
        if account in [subject["name"] for subject in binding["subjects"]]:
            reference = binding["roleRef"]
            role = _role(objects, reference["kind"], reference["name"], binding["metadata"].get("namespace"))
            rules = tuple(_short(rule) for rule in role["rules"])
            grants.append((binding["metadata"].get("namespace", CLUSTER), rules))
    return grants


def _role(objects, kind: str, name: str, namespace: str | None) -> dict[str, Any]:
    fitting = [one for one in of_kind(objects, kind) if one["metadata"]["name"] == name]
    (role,) = (one for one in fitting if one["metadata"].get("namespace") == namespace)
    return dict(role)


def _short(rule: dict[str, list[str]]) -> tuple[str, ...]:
    parts = (rule[part] for part in ("apiGroups", "resources", "verbs", "resourceNames") if part in rule)
    return tuple(" ".join(part) for part in parts)


def _account(objects, deployment: str) -> str:
    pod = found(objects, "Deployment", deployment)["spec"]["template"]["spec"]
    return str(pod["serviceAccountName"])


def test_every_example_says_which_rights_it_gets() -> None:
    assert CONTROLLER.keys() == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_controller_gets_just_these_rights(helm, name) -> None:
    objects = example(helm, name)
    account = _account(objects, "outputs" if name == "pods" else NAME)
    assert sorted(granted(objects, account)) == sorted(CONTROLLER[name])


@pytest.mark.parametrize("name", SEPARATE_API)
def test_a_separate_api_reads_and_asks_only(helm, name) -> None:
    objects = example(helm, name)
    assert sorted(granted(objects, _account(objects, f"{NAME}-api"))) == sorted(SEPARATE_API[name])


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_role_is_bound_to_anybody_else_or_left_unbound(helm, name) -> None:
    objects = example(helm, name)
    accounts = {
        one["spec"]["template"]["spec"]["serviceAccountName"] for one in of_kind(objects, "Deployment")
    }
    bindings = [*of_kind(objects, "RoleBinding"), *of_kind(objects, "ClusterRoleBinding")]
    assert {subject["name"] for one in bindings for subject in one["subjects"]} <= accounts
    bound = {(one["roleRef"]["kind"], one["roleRef"]["name"]) for one in bindings}
    roles = [*of_kind(objects, "Role"), *of_kind(objects, "ClusterRole")]
    readers = {
        one["metadata"]["name"] for one in roles if one["metadata"]["name"].startswith("porter-outputs")
    }
    assert {one["metadata"]["name"] for one in roles} - {name for _, name in bound} == readers
    assert readers <= {"porter-outputs-syncer-view", "porter-outputs-syncer-service-binding"}


def test_two_releases_of_one_name_do_not_share_a_role(helm) -> None:
    def names(namespace: str) -> set[tuple[str, str]]:
        roles = of_kind(rendered(helm, namespace, "--values", values_of("kubernetes")), "Role")
        return {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in roles}

    assert not names("one") & names("other")


@pytest.mark.parametrize(
    ("template", "match", "places"),
    [
        ("shop", '["*"]', {"shop"}),
        ("{namespace}", "[shop]", {"shop"}),
        ("{namespace}", "[shop, billing]", {"shop", "billing"}),
        ("{namespace}", "[platform]", {"billing"}),  # by the mapping
        ("{namespace}", "[elsewhere]", set()),
        ("{namespace}", "[sh*]", {"shop", "billing"}),
        ("{namespace}", "[Shop_1]", {"shop", "billing"}),  # whatever the sink makes of it
        ("{namespace}", '[""]', set()),  # held, as it is not mapped
        ("team-{namespace}", "[shop]", {"shop", "billing"}),
    ],
)
def test_workloads_may_be_restarted_only_where_a_target_can_be(helm, template, match, places) -> None:
    rule = {
        "name": "some",
        "match": {"namespaces": yaml.safe_load(match)},
        "targets": [
            {"sink": "cluster", "namespace": template, "restart": [{"kind": "Deployment", "name": "a"}]}
        ],
    }
    settings = {"config.namespaces": {"platform": "billing"}, "config.rules": [rule]}
    given = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
    options = [option for one in given for option in ("--set-json", one)]
    objects = rendered(helm, "porter", "--values", values_of("restarts"), *options)
    may = {place for place, rules in granted(objects, NAME) if restart("deployments") in rules}
    assert may == places


def test_no_service_account_is_made_where_one_is_given(helm) -> None:
    objects = example(helm, "off")
    assert not list(of_kind(objects, "ServiceAccount"))
    assert _account(objects, NAME) == "given"


def test_a_workload_identity_is_an_annotation_and_a_label(helm) -> None:
    objects = example(helm, "azure")
    account = found(objects, "ServiceAccount", "syncer")
    assert "azure.workload.identity/client-id" in account["metadata"]["annotations"]
    labels = found(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert labels["azure.workload.identity/use"] == "true"
