"""People at a cluster's Secrets and rights while `syncer run` writes there: rows 35 to 38 of the catalogue.

Simulates an administrator's hands on a real API server. Excludes those that come in the middle of a write
(test_faults_kubernetes_requests.py). Where nothing else is said the next comparison of everything is an hour
away, so that only the watch can have noticed.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass

import pytest

from tests.faults.estate import RIGHTS, USER

FIRST = {"host": b"db-1.shop.internal", "password": b"correct horse"}
SECOND = {"host": b"db-2.shop.internal", "password": b"battery staple"}
THEIRS = {"host": b"theirs.internal"}
SOON = 5.0
"""Seconds; one or two pass on a machine that has nothing else to do."""
OURS = "outputs.porter.sh/"
RBAC = "rbac.authorization.k8s.io/v1"


@pytest.fixture
def syncer(start, estate):
    """One that has written `orders`, and watches."""
    return begun(start, estate)


def begun(start, estate, **settings):
    position = estate.cluster.audit.position()
    estate.porter.install("shop", "orders", FIRST, sensitive=["password"]).finish()
    syncer = start(estate.document(**settings))
    syncer.until(lambda: estate.everywhere("orders", FIRST))
    syncer.until(lambda: estate.cluster.audit.events(since=position, user=USER, verbs={"watch"}))
    return syncer


def upgrade(estate, outputs):
    estate.porter.upgrade("shop", "orders", outputs, sensitive=["password"]).finish()


def edit(estate, change):
    """The Secret of `orders` as somebody leaves it who changes it so."""
    secret = estate.secret("orders")
    change(secret)
    path = f"/api/v1/namespaces/{estate.namespace}/secrets/orders-outputs"
    return estate.cluster.admin.request("PUT", path, secret)


def encoded(data):
    return {key: base64.b64encode(value).decode() for key, value in data.items()}


def strip(secret):
    for part in ("labels", "annotations"):
        kept = {name: text for name, text in secret["metadata"][part].items() if OURS not in name}
        secret["metadata"][part] = kept


# --- their hands on what is ours


@pytest.mark.fault(36)
def test_a_secret_deleted_by_hand_is_there_again_at_once(estate, syncer):
    estate.cluster.admin.delete("v1", "Secret", "orders-outputs", estate.namespace)
    syncer.until(lambda: estate.in_cluster("orders") == FIRST, SOON)
    syncer.until(lambda: estate.events("orders") == ["Created", "Recreated"], SOON)
    assert syncer.metric("secrets_written_total", sink="files") == 1


@pytest.mark.fault(37)
@pytest.mark.parametrize(
    "theirs", [THEIRS, {**FIRST, "extra": b"1"}, {}], ids=["changed", "added", "emptied"]
)
def test_what_was_edited_by_hand_is_put_right_at_once(estate, syncer, theirs):
    edit(estate, lambda secret: secret.update(data=encoded(theirs)))
    syncer.until(lambda: estate.in_cluster("orders") == FIRST, SOON)
    syncer.until(lambda: estate.events("orders") == ["Created", "DriftReverted"], SOON)
    assert syncer.metric("secrets_written_total", sink="files") == 1


@pytest.mark.fault(37)
def test_what_others_may_add_is_left_alone(start, estate):
    syncer = begun(start, estate, resyncInterval="500ms")
    added = edit(estate, lambda secret: secret["metadata"]["annotations"].update(team="theirs"))
    syncer.until_swept(sink="cluster")
    assert estate.secret("orders") == added
    upgrade(estate, SECOND)
    syncer.until(lambda: estate.everywhere("orders", SECOND))
    assert estate.secret("orders")["metadata"]["annotations"]["team"] == "theirs"


# --- their hands on the mark


@pytest.mark.fault(38)
@pytest.mark.parametrize("theirs", [FIRST, THEIRS], ids=["as it was", "changed"])
def test_a_secret_without_its_mark_is_theirs_until_it_is_adopted(start, estate, theirs):
    syncer = begun(start, estate, resyncInterval="1s")
    left = edit(estate, lambda secret: (strip(secret), secret.update(data=encoded(theirs))))
    syncer.until(lambda: syncer.metric("targets", sink="cluster", state="Conflict") == 1)
    upgrade(estate, SECOND)
    syncer.until(lambda: estate.in_files("orders") == SECOND, SOON)
    syncer.until_swept(sink="cluster")
    assert estate.secret("orders") == left
    assert estate.events("orders") == ["Created", "Conflict"]
    done = syncer.beside("adopt", f"cluster:{estate.namespace}/orders-outputs")
    assert done.returncode == 0, done.stderr
    assert estate.in_cluster("orders") == SECOND
    upgrade(estate, FIRST)
    syncer.until(lambda: estate.everywhere("orders", FIRST))
    assert syncer.metric("targets", sink="cluster", state="Conflict") == 0


@pytest.mark.fault(38)
def test_a_secret_without_its_mark_does_not_go_with_its_installation(start, estate):
    estate.porter.install("shop", "another", FIRST).finish()  # or the guard holds what the last one leaves
    syncer = begun(start, estate, resyncInterval="1s")
    left = edit(estate, strip)
    syncer.until(lambda: syncer.metric("targets", sink="cluster", state="Conflict") == 1)
    estate.porter.delete("shop", "orders").finish()
    syncer.until(lambda: estate.in_files("orders") is None)
    syncer.until_swept(sink="cluster")
    assert estate.secret("orders") == left


# --- their hands on our rights


@pytest.mark.fault(35)
def test_a_right_that_is_taken_away_stops_that_sink_alone_and_is_told(start, estate):
    syncer = begun(start, estate, resyncInterval="2s")
    binding = take_away(estate)
    upgrade(estate, SECOND)
    syncer.until(lambda: estate.in_files("orders") == SECOND, SOON)
    missing = f"secrets in namespace {estate.namespace} is missing"
    lost = syncer.until(lambda: syncer.logged("reconciled", sink="cluster", outcome="failed"))[0]
    assert lost["reason"] == f"the right to get {missing}"
    assert lost["level"] == "info"
    refused = syncer.until(lambda: syncer.logged("sink not finished", sink="cluster", level="warning"))
    assert refused[0]["reason"] == f"the right to list {missing}"
    assert estate.in_cluster("orders") == FIRST
    estate.cluster.admin.apply(binding)
    syncer.until(lambda: estate.everywhere("orders", SECOND))
    syncer.until(lambda: syncer.metric("targets", sink="cluster", state="InSync") == 1)


@pytest.mark.fault(35)
def test_a_right_that_is_missing_in_one_namespace_holds_up_no_other(start, estate, annexe):
    admin = estate.cluster.admin
    for name in ("stock", "kept"):
        estate.porter.install("annexe", name, FIRST).finish()
    for name in ("orders", "leaving"):
        estate.porter.install("shop", name, FIRST).finish()
    syncer = start(estate.with_annexe(annexe.namespace))
    syncer.until(lambda: estate.everywhere("orders", FIRST) and estate.everywhere("leaving", FIRST))
    syncer.until(lambda: admin.secret(annexe.namespace, "stock-outputs"))
    admin.delete(*annexe.binding)
    estate.porter.delete("annexe", "stock").finish()
    missing = f"the right to get secrets in namespace {annexe.namespace} is missing"
    syncer.until(lambda: any(line.get("reason") == missing for line in syncer.log))
    estate.porter.delete("shop", "leaving").finish()
    upgrade(estate, SECOND)
    syncer.until(lambda: estate.everywhere("orders", SECOND), SOON)
    syncer.until(lambda: estate.everywhere("leaving", None), 2 * SOON)
    assert admin.secret(annexe.namespace, "stock-outputs")


@dataclass(frozen=True)
class Annexe:
    """A second namespace, where the syncer has the same rights by a binding of its own."""

    namespace: str
    role: str

    @property
    def binding(self):
        return (RBAC, "RoleBinding", self.role, self.namespace)


@pytest.fixture
def annexe(estate):
    namespace = f"annexe-{secrets.token_hex(4)}"
    estate.cluster.admin.create_namespace(namespace)
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": RIGHTS}]
    return Annexe(namespace, estate.cluster.grant(USER, rules, namespace))


def take_away(estate):
    """Removes the RoleBinding; what brings it back."""
    what = (RBAC, "RoleBinding", estate.role, estate.namespace)
    binding = estate.cluster.admin.get(*what)
    estate.cluster.admin.delete(*what)
    kept = {name: binding["metadata"][name] for name in ("name", "namespace")}
    return {**binding, "metadata": kept}
