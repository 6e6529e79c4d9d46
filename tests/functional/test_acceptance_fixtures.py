"""What a real Porter wrote, in a Kubernetes cluster and in files: exactly that, written once.

Simulates nothing: the database is Porter's own, the account in the cluster has five verbs on secrets in
the namespaces it writes to. Excludes other accounts, sources and targets than these.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from tests.functional.acceptance import (
    QUICKSTART,
    WRITER,
    DumpFolder,
    MongoDatabase,
    Site,
    actions,
    before_the_uninstall,
    entry_at,
    porter_documents,
)

PRINTED = QUICKSTART.parents[1] / "tests" / "fixtures" / "porter-cli"
SPACES = ("shop", "prod", "staging", "platform")

ORDERS_DB = {
    "admin-password": b"battery staple",
    "ca.crt": b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    "connection": b'{"host": "orders-db-2.shop.internal", "tls": true}',
    "host": b"orders-db-2.shop.internal",
    "port": b"3307",
}
API = {"API_TOKEN": b"rotated-3", "url": b"https://api-3.example.test"}
ODD_CLEAN = {
    "Mixed.Case_Name": b"a",
    "_x": b"underscore",
    "a-b": b"dash",
    "a.b": b"dot",
    "binary": bytes(range(256)),
    "empty": b"",
    "flag": b"true",
    "list": b'[1, "two", null]',
    "naïve": "d é 漢".encode(),
    "ratio": b"1.5",
    "tls/key": b"c",
    "with space": b"b",
}


def legal_key(name: str) -> str:
    """As the names of keys are documented, written once more."""
    legal = re.sub(r"[^-._a-zA-Z0-9]+", "-", name)
    return name if legal == name else f"{legal}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def printed(name: str) -> dict[str, bytes]:
    """What Porter's own `outputs list` prints."""
    outputs = json.loads((PRINTED / f"{name}.outputs.json").read_text())
    return {one["name"]: one["value"].encode() for one in outputs}


def in_keys(outputs: dict[str, bytes]) -> dict[str, bytes]:
    return {legal_key(name): value for name, value in outputs.items()}


TOO_BIG = printed("staging--too-big")
IN_FILES = {
    "shop/orders-db": ORDERS_DB,
    "shop/Odd_Clean.Install": in_keys(ODD_CLEAN),
    "prod/api": API,
    "staging/too-big": TOO_BIG,
}
IN_CLUSTER = {
    "shop/orders-db-outputs": ORDERS_DB,
    "shop/odd-clean.install-outputs": in_keys(ODD_CLEAN),
    "prod/api-outputs": API,
    "staging/too-big-outputs": TOO_BIG,
}


@pytest.fixture(params=["mongodb", "dump"])
def database(request, tmp_path):
    """The same documents in both kinds of source."""
    if request.param == "dump":
        found = DumpFolder(folder=tmp_path / "dump")
    else:
        url = request.getfixturevalue("mongo_url")
        found = MongoDatabase(server=request.getfixturevalue("mongo_server"), url=url)
    found.publish(porter_documents())
    return found


@pytest.fixture
def site(kube_cluster, kube_namespace, tmp_path, database) -> Site:
    return Site(
        folder=tmp_path,
        cluster=kube_cluster,
        prefix=kube_namespace,
        source=database.settings,
        spaces=SPACES,
    )


def test_what_is_expected_is_what_porter_itself_prints():
    assert printed("shop--orders-db") == ORDERS_DB
    assert printed("prod--api") == API
    odd = printed("shop--Odd_Clean.Install")
    assert odd.keys() == ODD_CLEAN.keys()
    assert odd | {"binary": bytes(range(256))} == ODD_CLEAN
    assert len(in_keys(ODD_CLEAN)) == 12
    assert max(map(len, TOO_BIG.values())) >= 60_000


async def test_everything_a_real_porter_wrote_arrives_byte_for_byte_and_nothing_else(site):
    report = await site.once()
    assert not report.failed
    assert site.in_cluster() == IN_CLUSTER
    assert site.in_files() == IN_FILES
    assert actions(report) == {"create", "hold"}


async def test_an_installation_with_dangling_keys_is_held_and_both_are_named(site):
    report = await site.once()
    held = [entry for entry in report.entries if entry.action == "hold"]
    assert {(str(entry.subject.key), entry.subject.sink) for entry in held} == {
        ("/odd-names", "cluster"),
        ("/odd-names", "files"),
    }
    for entry in held:
        assert "'binary'" in entry.reason
        assert "'tls/key'" in entry.reason
        assert "'multi'" not in entry.reason
    assert not any(path.startswith("platform/") for path in [*site.in_cluster(), *site.in_files()])
    assert not (site.out / "platform").exists()


async def test_internal_outputs_are_nowhere(site):
    documents = porter_documents()["outputs"]
    internal = ("porter-state", "io.cnab.outputs.invocationImageLogs")
    hidden = {one["value"] for one in documents if one["name"] in internal and one["value"]}
    assert len(hidden) > 5
    await site.once()
    secrets = json.dumps(list(site.secrets().values()))
    assert not [value for value in hidden if value in secrets]
    assert not [name for name in internal if name in secrets]
    raw = {base64.b64decode(value) for value in hidden}
    for path in site.out.rglob("*"):
        if path.is_file():
            assert not any(value in path.read_bytes() for value in raw), path
            assert not any(name.encode() in path.read_bytes() for name in internal), path
            assert path.name not in internal


async def test_a_second_pass_writes_nothing_at_all(site):
    await site.once()
    before, position = site.state(), site.cluster.audit.position()
    report = await site.once()
    assert actions(report) == {"keep", "hold"}
    assert site.state() == before
    assert site.cluster.audit.writes(since=position, user=WRITER) == ()
    assert site.cluster.audit.events(since=position, user=WRITER)


async def test_only_the_five_verbs_on_secrets_are_used(site):
    position = site.cluster.audit.position()
    await site.once()
    await site.once()
    asked = site.cluster.audit.events(since=position, user=WRITER)
    assert {(event.resource, event.verb) for event in asked} <= {
        ("secrets", verb) for verb in ("get", "list", "create", "update", "delete")
    }
    assert {event.code for event in asked} <= {200, 201, 404}


async def test_an_uninstalled_installation_takes_its_secrets_along(site, database):
    documents = porter_documents()
    before_the_uninstall(documents)
    database.publish(documents)
    await site.once()
    assert site.in_cluster() == IN_CLUSTER | {"shop/storefront-outputs": storefront()}
    assert site.in_files() == IN_FILES | {"shop/storefront": storefront()}
    database.publish(porter_documents())
    report = await site.once()
    assert not report.failed
    assert actions(report) == {"keep", "hold", "delete"}
    assert site.in_cluster() == IN_CLUSTER
    assert site.in_files() == IN_FILES


async def test_under_retain_an_uninstalled_installation_is_frozen_and_nothing_is_created(site, database):
    site.rule = {"onUninstall": "Retain"}
    documents = porter_documents()
    await site.once()
    assert site.in_cluster() == IN_CLUSTER
    before_the_uninstall(documents)
    database.publish(documents)
    await site.once()
    database.publish(porter_documents())
    before = site.state()
    report = await site.once()
    assert site.state() == before
    assert site.in_cluster()["shop/storefront-outputs"] == storefront()
    assert site.in_files()["shop/storefront"] == storefront()
    frozen = entry_at(report, "files:shop/storefront")
    assert (frozen.action, frozen.reason) == ("keep", "frozen: uninstalled (onUninstall: Retain)")


def storefront() -> dict[str, bytes]:
    """Of the install, out of the documents: Porter prints those of the uninstall."""
    documents = porter_documents()
    run = next(
        one["_id"]
        for one in documents["runs"]
        if (one["installation"], one["action"]) == ("storefront", "install")
    )
    url = next(one for one in documents["outputs"] if (one["runId"], one["name"]) == (run, "url"))
    token = (QUICKSTART / "secrets" / f"{run}-API_TOKEN").read_bytes()
    return {"API_TOKEN": token, "url": base64.b64decode(url["value"])}
