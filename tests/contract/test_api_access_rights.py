"""What may be read, as a real kube-apiserver decides it: by its RBAC, and what if it does not answer.

Callers are made up, as a review takes whoever it is asked about; real ones are in test_api_access_tokens.py.
"""

from __future__ import annotations

import secrets

import pytest
from kube_access_world import AUDIENCE, access, account, bearer, clock, reviews, rules, token_for

from backends.clients.kubernetes import KubernetesClient
from backends.clients.kubernetes_access import Attributes, KubernetesReviews, Subject
from backends.clients.kubernetes_options import KubernetesOptions
from backends.errors import Forbidden
from backends.secret_value import SecretValue
from syncer.api import kubernetes_callers
from syncer.api.access import AccessUnavailable, KubernetesAccessOptions
from syncer.api.callers import Caller, Permission, Resource, Verb
from syncer.api.kubernetes_callers import GROUP, KubernetesAccess

__all__ = ["access", "account", "clock", "reviews"]  # fixtures

# --- what may be read


@pytest.fixture
def caller() -> Caller:
    """Somebody without any right until a test grants one."""
    return Caller(f"user-{secrets.token_hex(4)}", ("system:authenticated",))


async def allowed(
    access: KubernetesAccess, caller: Caller, namespace: str | None, name: str = ""
) -> set[str]:
    """All that is allowed there, as `verb resource`."""
    return {
        f"{verb.value} {resource.value}"
        for verb in Verb
        for resource in Resource
        if await access.allows(caller, Permission(verb, resource, namespace, name))
    }


async def test_nobody_may_anything_by_default(access, caller, kube_namespace):
    for namespace in ("dev", kube_namespace, None, "", "not there"):
        assert await allowed(access, caller, namespace) == set()


@pytest.mark.parametrize(
    ("resources", "verbs", "expected"),
    [
        (("installations",), ("list",), {"list installations"}),
        (("installations",), ("get", "list"), {"get installations", "list installations"}),
        (("installations/outputs",), ("get",), {"get installations/outputs"}),
        (("installations/sensitiveoutputs",), ("get",), {"get installations/sensitiveoutputs"}),
        (("pods", "secrets"), ("*",), set()),
    ],
)
async def test_a_right_is_for_what_it_names_and_for_its_namespace(
    access, caller, kube_cluster, kube_namespace, resources, verbs, expected
):
    kube_cluster.grant(caller.name, rules(*resources, verbs=verbs), kube_namespace)
    assert await allowed(access, caller, "dev") == expected
    assert await allowed(access, caller, kube_namespace) == expected
    for namespace in ("default", None):
        assert await allowed(access, caller, namespace) == set()


async def test_the_same_right_in_another_group_is_none(access, caller, kube_cluster, kube_namespace):
    rule = rules("installations", verbs=("*",))[0] | {"apiGroups": ["getporter.org", ""]}
    kube_cluster.grant(caller.name, [rule], kube_namespace)
    assert await allowed(access, caller, "dev") == set()


async def test_a_right_everywhere_is_one_in_each_namespace(access, caller, kube_cluster, kube_namespace):
    role = kube_cluster.grant(caller.name, rules("installations", verbs=("list",)))
    for namespace in ("dev", "default", None, "not-made-yet"):
        assert await allowed(access, caller, namespace) == {"list installations"}
    assert await allowed(access, caller, "") == set()
    kube_cluster.revoke(role)


async def test_a_right_can_be_for_one_installation(access, caller, kube_cluster, kube_namespace):
    kube_cluster.grant(
        caller.name, rules("installations/outputs", names=("mysql", "My_SQL.1")), kube_namespace
    )
    for name in ("mysql", "My_SQL.1"):
        assert await allowed(access, caller, "dev", name) == {"get installations/outputs"}
    for name in ("", "mysql2", "MySQL"):
        assert await allowed(access, caller, "dev", name) == set()


async def test_groups_and_extra_of_a_caller_count(access, kube_cluster, kube_namespace):
    metadata = {"name": f"test-{secrets.token_hex(4)}", "namespace": kube_namespace}
    api, group = "rbac.authorization.k8s.io/v1", "rbac.authorization.k8s.io"
    role = {"kind": "Role", "name": metadata["name"], "apiGroup": group}
    subject = {"kind": "Group", "name": "team", "apiGroup": group}
    kube_cluster.admin.apply(
        {"apiVersion": api, "kind": "Role", "metadata": metadata, "rules": rules("installations")}
    )
    kube_cluster.admin.apply(
        {
            "apiVersion": api,
            "kind": "RoleBinding",
            "metadata": metadata,
            "subjects": [subject],
            "roleRef": role,
        }
    )
    member = Caller("somebody", ("team",), "1", {"authentication.kubernetes.io/x": ("a",)})
    assert await allowed(access, member, "dev") == {"get installations"}
    assert await allowed(access, Caller("somebody", ("teams",)), "dev") == set()


async def test_a_right_that_is_revoked_is_gone(access, caller, kube_cluster, kube_namespace, clock):
    role = kube_cluster.grant(caller.name, rules("installations/outputs"), kube_namespace)
    assert await allowed(access, caller, "dev") == {"get installations/outputs"}
    kube_cluster.revoke(role, kube_namespace)
    assert await allowed(access, caller, "dev") == {"get installations/outputs"}
    clock.forget()
    assert await allowed(access, caller, "dev") == set()


# --- an API server that does not answer


async def test_a_reviewer_without_rights_is_told_which_and_lets_nobody_in(
    kube_cluster, kube_namespace, account
):
    options = KubernetesOptions(kubeconfig=kube_cluster.kubeconfig("nobody"))
    async with KubernetesClient(options) as client:
        reviews = KubernetesReviews(client)
        assert await reviews.missing_rights() == (
            "tokenreviews.authentication.k8s.io",
            "subjectaccessreviews.authorization.k8s.io",
        )
        with pytest.raises(Forbidden, match="tokenreviews"):
            await reviews.authenticate(SecretValue(b"t"), AUDIENCE)
        access = KubernetesAccess(reviews, KubernetesAccessOptions(audience=AUDIENCE))
        with pytest.raises(AccessUnavailable, match="the right to create tokenreviews is missing"):
            await access.caller(bearer(token_for(kube_cluster, kube_namespace, [AUDIENCE])))
        with pytest.raises(AccessUnavailable, match="the right to create subjectaccessreviews is missing"):
            await access.allows(
                Caller("admin", ("system:masters",)), Permission(Verb.GET, Resource.OUTPUTS, "a")
            )


async def test_the_rights_of_the_chart_are_enough(reviews):
    assert await reviews.missing_rights() == ()


async def test_a_stopped_api_server_lets_nobody_in(
    access, kube_cluster, kube_namespace, account, caller, clock
):
    token = token_for(kube_cluster, kube_namespace, [AUDIENCE])
    assert await access.caller(bearer(token)) is not None
    kube_cluster.stop_apiserver()
    try:
        assert await access.caller(bearer(token)) is not None  # remembered
        clock.forget()
        with pytest.raises(AccessUnavailable, match="cannot be reached"):
            await access.caller(bearer(token))
        with pytest.raises(AccessUnavailable):
            await access.allows(caller, Permission(Verb.GET, Resource.OUTPUTS, "dev"))
    finally:
        kube_cluster.start_apiserver()


async def test_an_api_server_that_hangs_is_given_up(access, kube_cluster, caller, monkeypatch):
    monkeypatch.setattr(kubernetes_callers, "_REVIEW_SECONDS", 0.3)
    with kube_cluster.paused(), pytest.raises(AccessUnavailable, match="in time"):
        await access.allows(caller, Permission(Verb.GET, Resource.OUTPUTS, "dev"))


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"status": None},
        {"status": {}},
        {"status": {"authenticated": "true", "audiences": [AUDIENCE], "user": {"username": "a"}}},
        {"status": {"authenticated": True, "user": {"username": "a"}}},
        {"status": {"authenticated": True, "audiences": AUDIENCE, "user": {"username": "a"}}},
        {"status": {"authenticated": True, "audiences": ["x"], "user": {"username": "a"}}},
        {"status": {"authenticated": True, "audiences": [AUDIENCE]}},
        {"status": {"authenticated": True, "audiences": [AUDIENCE], "user": {"username": ""}}},
        {"status": {"allowed": "true"}},
        {"status": {"allowed": True, "denied": True}},
    ],
)
async def test_an_odd_answer_is_no_permission(answer):
    class Odd:
        async def post(self, path: str, body: object) -> object:
            return answer

    access = KubernetesAccess(KubernetesReviews(Odd()), KubernetesAccessOptions(audience=AUDIENCE))
    permission = Permission(Verb.GET, Resource.OUTPUTS, "a")
    if answer.get("status") is None:
        with pytest.raises(AccessUnavailable, match="answer is not"):
            await access.caller(bearer("t"))
        with pytest.raises(AccessUnavailable, match="answer is not"):
            await access.allows(Caller("a"), permission)
    else:
        assert await access.caller(bearer("t")) is None
        assert not await access.allows(Caller("a"), permission)


async def test_attributes_reach_the_api_server_as_they_are(reviews, kube_cluster):
    name = f"check-{secrets.token_hex(4)}"
    subject = Subject(name=name, uid="7", groups=("g",), extra={"k": ("v",)})
    attributes = Attributes(
        verb="get", group=GROUP, resource="installations", subresource="outputs", namespace="a", name="b"
    )
    assert not await reviews.authorize(subject, attributes)
