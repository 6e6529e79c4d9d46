"""`syncer run` out of what Helm installed, with the rights it got there: the happy path, and each right taken away.

Real servers, and a process as a kubelet would start it: that configuration, token, environment and user. Excludes
what a network or a scheduler does, and sinks that take no right of the cluster's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import yaml
from chart_world import EXAMPLES, NAME, READERS, RELEASE, example, of_kind, until
from kubelet import Pod
from run_world import FIRST, RBAC, RESTARTS, SECOND, Premises, Story

from tests.faults.running import Syncer

Right = tuple[str, str, str]
"""Where (`shop`, `store`, `home` or, for the whole cluster, nothing), resource, verb."""

Step = Callable[[], None]

LISTED = ("secrets", "installationoutputs")

NEEDS: dict[Right, str] = {
    ("shop", "secrets", "get"): "published",
    ("shop", "secrets", "list"): "collected",
    ("shop", "secrets", "watch"): "repaired",
    ("shop", "secrets", "create"): "published",
    ("shop", "secrets", "update"): "updated",
    ("shop", "secrets", "delete"): "collected",
    ("shop", "events", "create"): "event",
    ("shop", "installationoutputs", "get"): "shown",
    ("shop", "installationoutputs", "list"): "resource collected",
    ("shop", "installationoutputs", "create"): "shown",
    ("shop", "installationoutputs", "update"): "shown anew",
    ("shop", "installationoutputs", "delete"): "resource collected",
    ("shop", "installationoutputs/status", "update"): "shown",
    ("shop", "installations", "list"): "owned",
    ("shop", "deployments", "list"): "Deployment restarted",
    ("shop", "deployments", "patch"): "Deployment restarted",
    ("shop", "statefulsets", "list"): "StatefulSet restarted",
    ("shop", "statefulsets", "patch"): "StatefulSet restarted",
    ("shop", "daemonsets", "list"): "DaemonSet restarted",
    ("shop", "daemonsets", "patch"): "DaemonSet restarted",
    ("store", "secrets", "get"): "published",
    ("home", "leases", "create"): "published",
    ("home", "leases", "get"): "published",
    ("home", "leases", "update"): "renewed",
    ("", "tokenreviews", "create"): "answered",
    ("", "subjectaccessreviews", "create"): "answered",
}
"""What each right that the chart gives is for: the fact of the happy path that is none without it."""

LISTS = frozenset(
    right for right in NEEDS if right[0] == "shop" and right[1] in LISTED and right[2] == "list"
)
"""Those by which is found what nobody saw vanish."""

GROUPS = {
    "secrets": "",
    "events": "events.k8s.io",
    "installationoutputs": "outputs.porter.sh",
    "installations": "getporter.org",
    "deployments": "apps",
    "statefulsets": "apps",
    "daemonsets": "apps",
    "leases": "coordination.k8s.io",
    "tokenreviews": "authentication.k8s.io",
    "subjectaccessreviews": "authorization.k8s.io",
}

ONCE = ("event", "owned", "answered", "repaired", "collected", "resource collected", *RESTARTS)
"""Facts that are tried again late, or not at all: one refusal tells. Whatever else is, has to be refused twice."""

BESIDE = {"owned": "shown", "resource collected": "collected"}
"""What does come about beside them, so that it was not only too early to look."""


def place(premises: Premises, namespace: str | None) -> str:
    return {premises.shop: "shop", premises.store: "store", premises.home: "home", None: ""}[namespace]


def rights(premises: Premises) -> Iterator[Right]:
    """What the pods of the release may, as the API server has it."""
    for role in premises.roles():
        for rule in role["rules"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield place(premises, role["metadata"].get("namespace")), resource, verb


def used(premises: Premises, since: int) -> set[Right]:
    """What they asked for, as its audit log has it; everybody may review what they may themselves."""
    events = premises.cluster.audit.events(since=since, user=premises.user)
    names = {f"{one.resource}/{one.subresource}".rstrip("/"): one for one in events}
    assert names
    return {
        (place(premises, one.namespace or None), f"{one.resource}/{one.subresource}".rstrip("/"), one.verb)
        for one in events
        if one.resource != "selfsubjectaccessreviews"
    }


def test_the_happy_path_with_the_rights_of_the_chart_and_all_of_them(runs) -> None:
    """A Secret appears, follows, is repaired and goes; with it Events, restarts, the resource; the API answers."""
    premises, story = runs
    since = premises.cluster.audit.position()
    assert set(rights(premises)) == NEEDS.keys()
    with premises.running() as syncer:
        told = play(syncer, story)
        assert told == set(story.facts())
        assert premises.called("nobody's").answer is None
        syncer.until(lambda: used(premises, since) == NEEDS.keys())
        for value in (FIRST["password"], SECOND["password"]):
            assert value.decode() not in syncer.output
    away(premises, story)
    with premises.running() as syncer:
        for name in ("collected", "resource collected"):
            syncer.until(story.facts()[name][0], every=0.1)
    assert not premises.lease().get("holderIdentity")  # given up


def play(syncer: Syncer, story: Story) -> set[str]:
    """Every step once, and the facts that hold after each."""
    told: set[str] = set()
    for step in (None, story.install, story.upgrade, story.upgrade_other, story.tamper, story.delete):
        told |= take(syncer, story, step)
    return told


def take(syncer: Syncer, story: Story, step: Step | None) -> set[str]:
    """One step; the facts that hold after it."""
    if step is not None:
        step()
    due = {
        name: holds
        for name, (holds, steps) in story.facts().items()
        if (*steps, None)[len(steps) - 1] == step
    }
    for holds in due.values():
        syncer.until(holds, every=0.1)
    return set(due)


@pytest.mark.parametrize("right", sorted(NEEDS.keys() - LISTS), ids=lambda right: " ".join(right).strip())
def test_without_a_single_right_something_is_missing(runs, right) -> None:
    """So that none is spare. The API server has refused it, and what it is for did not come about."""
    premises, story = runs
    take_away(premises, right)
    holds, steps = story.facts()[NEEDS[right]]
    start = premises.cluster.audit.position()
    with premises.running() as syncer:
        for step in steps[:-1]:
            step()
            # Restarts are the last that follows an upgrade: from then on nothing looks at the Secret unasked.
            settled = "Deployment restarted" if step == story.upgrade else "published"
            syncer.until(story.facts()[settled][0], every=0.1)
        since = start if NEEDS[right] == "repaired" else premises.cluster.audit.position()
        for step in steps[-1:]:
            step()
        if NEEDS[right] == "repaired":
            take(syncer, story, story.upgrade_other)
        elif beside := BESIDE.get(NEEDS[right]):
            syncer.until(story.facts()[beside][0], every=0.1)
        times = 1 if NEEDS[right] in ONCE else 2
        syncer.until(lambda: not holds() and refusals(premises, right, since) >= times, every=0.2)
        assert not holds()


@pytest.mark.parametrize("right", sorted(LISTS), ids=lambda right: " ".join(right).strip())
def test_without_a_list_what_was_deleted_meanwhile_stays(runs, right) -> None:
    """Deleted while nobody ran; where nothing is missing, the happy path has it collected then."""
    premises, story = runs
    away(premises, story)
    take_away(premises, right)
    holds, _ = story.facts()[NEEDS[right]]
    beside = story.facts()[({"collected", "resource collected"} - {NEEDS[right]}).pop()][0]
    since = premises.cluster.audit.position()
    with premises.running() as syncer:
        syncer.until(beside, every=0.1)
        syncer.until(lambda: refusals(premises, right, since) >= 2, every=0.2)
        assert not holds()


def away(premises: Premises, story: Story) -> None:
    """Something is published, and its installation deleted while no pod is there. From now on sweeps are frequent."""
    with premises.running() as syncer:
        story.install()
        syncer.until(lambda: story.facts()["published"][0]() and story.facts()["shown"][0](), every=0.1)
    story.delete()
    premises.helm_does("upgrade", premises.values(resyncInterval="2s"))


def test_the_pod_of_helm_test_says_what_is_missing(runs) -> None:
    """With the configuration, credentials and rights of the others."""
    premises, _ = runs
    text = premises.helm.run("get", "hooks", RELEASE, "--namespace", premises.home)
    (manifest,) = yaml.safe_load_all(text)
    folder = premises.folder / "doctor"
    spec, place = manifest["spec"], manifest["metadata"]["namespace"]
    pod = Pod(cluster=premises.cluster, namespace=place, spec=spec, folder=folder, name="doctor")
    status, told = pod.run()
    assert status == 0, told
    take_away(premises, ("shop", "secrets", "delete"))
    status, told = pod.run()
    assert (status, "the right to delete is missing" in told) == (1, True), told


API = [("", "subjectaccessreviews", "create"), ("", "tokenreviews", "create"), ("store", "secrets", "get")]
"""What a separate API may."""


@pytest.mark.parametrize("right", [None, *API], ids=lambda right: " ".join(right or ["all"]).strip())
def test_a_separate_api_answers_with_three_rights_and_not_with_two(
    premises, mongo_server, mongo_url, right
) -> None:
    values = premises.values()
    values["api"] |= {"separate": True}
    premises.helm_does("install", values)
    premises.deployment = f"{NAME}-api"
    story = Story(
        premises=premises,
        porter=premises.porter(mongo_server.client[mongo_url.rpartition("/")[2]]),
        token=premises.caller(),
    )
    story.install()
    assert sorted(rights(premises)) == API
    if right is not None:
        take_away(premises, right)
    since = premises.cluster.audit.position()
    with premises.running() as syncer:
        syncer.until(lambda: syncer.logged("serving the API"))
        if right is None:
            syncer.until(lambda: premises.read(story.token).items() >= FIRST.items(), every=0.1)
            assert sorted(used(premises, since)) == API
            return
        syncer.until(
            lambda: _refused(premises.read(story.token)) and refusals(premises, right, since), every=0.1
        )


def _refused(outputs: Mapping[str, bytes]) -> bool:
    """NB: never the value, however often it is asked for."""
    assert FIRST["password"] not in outputs.values()
    return True


def refusals(premises: Premises, right: Right, since: int) -> int:
    where, resource, verb = right
    events = premises.cluster.audit.events(since=since, user=premises.user, verbs={verb})
    asked = [
        one
        for one in events
        if (place(premises, one.namespace or None), f"{one.resource}/{one.subresource}".rstrip("/"))
        == (where, resource)
    ]
    assert {one.code for one in asked} <= {403}, "it was not taken away"
    return len(asked)


def take_away(premises: Premises, right: Right) -> None:
    """Split the rules of the roles into single rights, and leave out this one."""
    where, *what = right
    taken = 0
    for role in premises.roles():
        if place(premises, role["metadata"].get("namespace")) != where:
            continue
        single = [
            {**rule, "resources": [resource], "verbs": [verb]}
            for rule in role["rules"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        ]
        left = [rule for rule in single if [*rule["resources"], *rule["verbs"]] != what]
        taken += len(single) - len(left)
        _replace(premises, role | {"rules": left})
    assert taken == 1
    _until_refused(premises, right)


def _replace(premises: Premises, role: dict[str, Any]) -> None:
    metadata = role["metadata"]
    scope = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    plural = "roles" if scope else "clusterroles"
    premises.cluster.admin.request("PUT", f"/apis/{RBAC}{scope}/{plural}/{metadata['name']}", role)


def _until_refused(premises: Premises, right: Right) -> None:
    """The API server's own memory of roles follows what it has stored a moment later."""
    where, whole, verb = right
    resource, _, subresource = whole.partition("/")
    namespaces = {"shop": premises.shop, "store": premises.store, "home": premises.home, "": ""}
    attributes = {
        "namespace": namespaces[where],
        "verb": verb,
        "resource": resource,
        "subresource": subresource,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": premises.user, "resourceAttributes": attributes | {"group": GROUPS[resource]}},
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    until(lambda: not premises.cluster.admin.request("POST", path, review)["status"]["allowed"])


def test_no_example_gives_a_right_that_is_not_taken_away_here(helm) -> None:
    """Wherever an example gives it; what readers of resources have is theirs."""
    known = {(resource, verb) for _, resource, verb in NEEDS}
    given = {
        (resource, verb)
        for name in EXAMPLES
        for kind in ("Role", "ClusterRole")
        for role in of_kind(example(helm, name), kind)
        if role["metadata"]["name"] not in READERS
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert given == known
