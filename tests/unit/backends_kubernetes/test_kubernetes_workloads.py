"""What is decided of one workload, and what a target may say of those to restart. No server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from backends.contract import RestartWish, Workloads
from backends.kubernetes_secret.options import KubernetesTargetOptions
from backends.kubernetes_secret.restarts import note, patched

NOTE = note("shop/orders")
SHOP = Workloads(kind="Deployment", name="shop")
WISH = RestartWish(address="shop/orders", content_id="two", workloads=(SHOP,))
CHANGED = RestartWish(address="shop/orders", content_id="two", workloads=(SHOP,), before="one")
contents = st.sampled_from(["one", "two", "three"])


def workload(noted: dict[str, str] | None = None, **fields: object) -> dict:
    return {"name": "shop", "resourceVersion": "7", "annotations": noted, **fields}


def noted_only(content_id: str) -> dict:
    return {"metadata": {"resourceVersion": "7", "annotations": {NOTE: content_id}}}


def restarting(content_id: str) -> dict:
    return noted_only(content_id) | {"spec": {"template": {"metadata": {"annotations": {NOTE: content_id}}}}}


# --- one workload


@pytest.mark.parametrize(
    ("noted", "wish", "patch"),
    [
        (None, WISH, noted_only("two")),
        ({"theirs": "x"}, WISH, noted_only("two")),
        ({NOTE: "two"}, WISH, None),
        ({NOTE: "two"}, CHANGED, None),
        ({NOTE: "one"}, WISH, restarting("two")),
        ({NOTE: "other"}, CHANGED, restarting("two")),
        (None, CHANGED, restarting("two")),
        ({note("shop/stock"): "one"}, WISH, noted_only("two")),
    ],
)
def test_a_workload_is_noted_first_and_restarted_by_other_content(noted, wish, patch):
    assert patched("Deployment", workload(noted), [wish]) == patch


@pytest.mark.parametrize("wish", [WISH, CHANGED])
def test_a_workload_that_is_going_is_left_alone(wish):
    assert patched("Deployment", workload(deletionTimestamp="2026-01-01T00:00:00Z"), [wish]) is None


@pytest.mark.parametrize(
    ("wanted", "labels", "fits"),
    [
        (Workloads(kind="Deployment", name="shop"), None, True),
        (Workloads(kind="Deployment", name="sho"), None, False),
        (Workloads(kind="StatefulSet", name="shop"), None, False),
        (Workloads(kind="Deployment", selector={"app": "shop"}), {"app": "shop", "more": "x"}, True),
        (Workloads(kind="Deployment", selector={"app": "shop"}), {"app": "cart"}, False),
        (Workloads(kind="Deployment", selector={"app": "shop", "tier": ""}), {"app": "shop"}, False),
        (Workloads(kind="Deployment", selector={"app": "shop"}), None, False),
        (Workloads(kind="DaemonSet", selector={"app": "shop"}), {"app": "shop"}, False),
    ],
)
def test_only_what_is_asked_for_is_touched(wanted, labels, fits):
    wish = RestartWish(address="shop/orders", content_id="two", workloads=(wanted,))
    assert (patched("Deployment", workload(labels=labels), [wish]) is not None) == fits


@given(st.dictionaries(st.sampled_from("abc"), contents), st.dictionaries(st.sampled_from("abc"), contents))
def test_a_patched_workload_needs_no_other_patch(noted, wished):
    wishes = [
        RestartWish(address=f"shop/{name}", content_id=content, workloads=(SHOP,))
        for name, content in wished.items()
    ]
    annotations = {note(f"shop/{name}"): content for name, content in noted.items()}
    patch = patched("Deployment", workload(annotations), wishes)
    if patch is None:
        assert wished.items() <= noted.items()
    else:
        after = annotations | patch["metadata"]["annotations"]
        assert patched("Deployment", workload(after), wishes) is None
        changed = {name for name in wished if name in noted and noted[name] != wished[name]}
        started = patch.get("spec", {"template": {"metadata": {"annotations": {}}}})["template"]["metadata"]
        assert started["annotations"] == {note(f"shop/{name}"): wished[name] for name in changed}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_address_has_a_note_that_kubernetes_takes(address):
    assert note(address).startswith("outputs.porter.sh/content.")
    KubernetesTargetOptions.model_validate(
        {"restart": [{"kind": "Deployment", "selector": {note(address): ""}}]}
    )


# --- what a target may say


def test_a_target_says_whom_to_restart():
    fields = {
        "restart": [
            {"kind": "Deployment", "name": "shop.v2"},
            {"kind": "StatefulSet", "selector": {"app.kubernetes.io/instance": "db", "tier": ""}},
        ]
    }
    assert KubernetesTargetOptions.model_validate(fields).shape().restart == (
        Workloads(kind="Deployment", name="shop.v2"),
        Workloads(kind="StatefulSet", selector={"app.kubernetes.io/instance": "db", "tier": ""}),
    )


def test_by_default_nobody_is_restarted():
    assert KubernetesTargetOptions().shape().restart == ()


@pytest.mark.parametrize(
    "name",
    ["", "Shop", "shop_1", "-shop", "shop-", "a..b", "shop\n", "x" * 254, "{installation}", "shop/web", "*"],
)
def test_names_that_no_workload_can_have_are_refused(name):
    with pytest.raises(ValidationError, match="not a legal name of a workload"):
        KubernetesTargetOptions.model_validate({"restart": [{"kind": "Deployment", "name": name}]})


@pytest.mark.parametrize("name", ["a", "shop-1", "shop.v2", "x" * 253, "0"])
def test_names_that_workloads_can_have_are_taken(name):
    fields = {"restart": [{"kind": "Deployment", "name": name}]}
    assert KubernetesTargetOptions.model_validate(fields).shape().restart[0].name == name
