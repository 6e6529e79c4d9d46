"""Marks as labels and annotations, and Secrets as contract values. No server."""

from __future__ import annotations

import base64
import copy
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import DesiredSecret, Mark, Owner
from backends.errors import SinkUnavailable
from backends.kubernetes_secret.marks import index_labels, label_value
from backends.kubernetes_secret.objects import created, observed, replaced
from backends.secret_value import SecretValue

LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
OWNER = Owner(instance="prod-eu-1", source="source-1")
MARK = Mark(
    instance="prod-eu-1",
    source="source-1",
    rule="default",
    target="0",
    address="shop/orders",
    namespace="",
    installation="Orders DB / ü",
    installation_id="01HZX3QY7M5T8V9W0ABCDEFGHJ",
    run_id="run",
    result_id="result",
    revision="revision",
    content_id="content",
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
attributes = st.dictionaries(
    st.sampled_from(["type", "label:team", "label:example.com/a", "annotation:note", "annotation:team"]),
    st.text("ab", min_size=1),
)


def secret(mark=MARK, attributes=None, data=None):
    """As the server has it after a create."""
    desired = DesiredSecret(mark=mark, data=data or {"k": SecretValue(b"v")}, attributes=attributes or {})
    body = created(desired, "shop", "orders")
    body["metadata"] |= {"uid": "uid-1", "resourceVersion": "7"}
    return body


def without(body, kind, *names):
    body = copy.deepcopy(body)
    for name in names:
        del body["metadata"][kind][name]
    return body


@given(
    st.builds(replace, st.just(MARK), installation=texts, namespace=texts, rule=texts, run_id=texts),
    attributes,
)
def test_a_mark_comes_back_as_it_was_written(mark, wanted):
    seen = observed(secret(mark, wanted), OWNER)
    assert (seen.mark, seen.foreign, seen.intact) == (mark, None, True)
    assert seen.attributes == wanted


@given(st.binary(max_size=100))
def test_bytes_come_back_as_they_were_written(content):
    assert observed(secret(data={"k": SecretValue(content)}), OWNER).data == {"k": SecretValue(content)}


@given(texts)
def test_index_labels_are_always_legal(text):
    labels = index_labels(replace(MARK, instance=text, installation_id=text))
    for value in labels.values():
        assert LABEL_VALUE.fullmatch(value)
        assert len(value) <= 63


def test_a_legal_label_stays_and_another_is_hashed():
    assert label_value("01HZX3QY7M5T8V9W0ABCDEFGHJ") == "01HZX3QY7M5T8V9W0ABCDEFGHJ"
    assert label_value("a" * 63) == "a" * 63
    assert label_value("a" * 64) == "ffe054fe7ae0cb6dc65c3af9b61d5209f439851d"
    assert label_value("") != ""


def test_labels_that_others_act_on_are_not_set():
    assert index_labels(MARK) == {
        "outputs.porter.sh/instance": "prod-eu-1",
        "outputs.porter.sh/installation-id": "01HZX3QY7M5T8V9W0ABCDEFGHJ",
        "app.kubernetes.io/managed-by": "porter-outputs-syncer",
    }


@pytest.mark.parametrize(
    "label",
    ["outputs.porter.sh/instance", "outputs.porter.sh/installation-id", "app.kubernetes.io/managed-by"],
)
def test_a_changed_index_label_is_drift_and_not_foreign(label):
    changed = secret()
    changed["metadata"]["labels"][label] = "somebody-else"
    for body in (changed, without(secret(), "labels", label)):
        seen = observed(body, OWNER)
        assert (seen.foreign, seen.mark, seen.intact) == (None, MARK, False)


def test_without_its_annotations_a_secret_is_foreign():
    body = secret()
    body["metadata"]["annotations"] = None
    seen = observed(body, OWNER)
    assert (seen.foreign, seen.mark, seen.intact) == ("no mark", None, False)


def test_a_secret_copied_elsewhere_is_foreign():
    body = secret()
    body["metadata"]["name"] = "copy"
    assert observed(body, OWNER).foreign == "its mark names another address, 'shop/orders'"


def test_a_secret_without_data_labels_and_annotations_is_read():
    body = {
        "metadata": {"namespace": "shop", "name": "orders", "uid": "u", "resourceVersion": "1"},
        "type": "Opaque",
    }
    seen = observed(body, OWNER)
    assert (seen.data, seen.attributes, seen.version.token) == ({}, {}, "u/1")


def test_data_that_is_not_base64_is_unavailable_and_not_shown():
    body = secret() | {"data": {"k": "canary!"}}
    with pytest.raises(SinkUnavailable) as caught:
        observed(body, OWNER)
    assert caught.value.reason == "shop/orders: its data cannot be read"


def test_an_update_takes_back_what_was_asked_for_and_leaves_what_others_added():
    current = secret(attributes={"type": "Opaque", "label:team": "orders", "annotation:note": "old"})
    current["metadata"]["labels"] |= {"theirs": "label", "outputs.porter.sh/old-field": "ours"}
    current["metadata"]["annotations"] |= {"theirs": "annotation", "team": "not the label"}
    current["metadata"] |= {
        "ownerReferences": [{"uid": "o"}],
        "finalizers": ["example.com/f"],
        "managedFields": [{}],
    }
    desired = DesiredSecret(
        mark=replace(MARK, revision="revision-2"),
        data={"other": SecretValue(b"w")},
        attributes={"annotation:note": "new", "label:tier": "1"},
    )
    body = replaced(desired, current)
    metadata = body["metadata"]
    assert metadata["labels"] == {**index_labels(MARK), "theirs": "label", "tier": "1"}
    assert (metadata["annotations"]["theirs"], metadata["annotations"]["team"]) == (
        "annotation",
        "not the label",
    )
    assert (metadata["annotations"]["note"], metadata["resourceVersion"]) == ("new", "7")
    assert (metadata["ownerReferences"], metadata["finalizers"]) == ([{"uid": "o"}], ["example.com/f"])
    assert "managedFields" not in metadata
    assert body["data"] == {"other": base64.b64encode(b"w").decode()}
    seen = observed(body, OWNER)
    assert (seen.mark, seen.intact, seen.attributes) == (desired.mark, True, desired.attributes)


def test_a_target_cannot_overwrite_the_mark():
    body = secret(
        attributes={"label:outputs.porter.sh/instance": "x", "annotation:outputs.porter.sh/instance": "x"}
    )
    assert observed(body, OWNER).intact
