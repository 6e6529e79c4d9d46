"""No value leaves through the API but in answers to those who asked for it and may: canaries, and a search.

A real `syncer api` at debug level, callers of every kind, every method, and failures of the database and of the
secret store. The search itself is tested in test_acceptance_canary.py. Excludes memory, and gRPC's own tracing.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from syncer.api._generated.installation.v1alpha1 import installation_pb2 as porters
from syncer.api._generated.porter.outputs.v1alpha1 import porter_bundle_pb2 as ours
from syncer.core.model import InstallationKey
from tests.functional.acceptance import MongoDatabase
from tests.functional.api_site import (
    LISTS,
    OURS,
    OUTPUTS,
    PORTERS,
    RUNS,
    SENSITIVE,
    ApiSite,
    Plain,
    Told,
    call,
)
from tests.functional.test_acceptance_canary import Aviary, aviary, fill, leaks
from tests.unit.sources.porter_world import PLAIN, World, bundle
from tests.unit.sources.porter_world import SENSITIVE as DECLARED_SENSITIVE

__all__ = ["aviary"]

CODES = grpc.StatusCode
READ = 20_000
"""Bytes at the beginning of an answer that are searched; a canary of a larger value is in front."""
HUGE = 17 * 1024 * 1024
"""More than an answer may have."""
ALL = [*LISTS, *RUNS, *OUTPUTS, *SENSITIVE]


WANTED: Mapping[str, set[str]] = {
    "installations with custom data": {"custom data"},
    "outputs": {"{}/plain"},
    "sensitive outputs": {"{}/plain", "{}/sealed"},
    # NB: Porter, unlike us, takes what the store has, whatever digest it recorded.
    "porter's outputs": {"{}/plain", "{}/sealed", "{}/another value in the store"},
}
"""Canaries of an installation that may be in an answer, by what was asked."""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """One answer, or refusal."""

    who: str
    what: str
    installation: str
    told: Told


@dataclass
class Ear:
    """Asks everything, as everybody, and remembers what was told."""

    site: ApiSite
    aviary: Aviary
    tokens: Mapping[str, str | None]
    names: tuple[str, ...]

    def everything(self, names: Collection[str]) -> list[Heard]:
        with self.site.channel() as channel:
            return [
                Heard(
                    who=who,
                    what=what,
                    installation=name,
                    told=call(channel, method, request, Plain, token=token),
                )
                for who, token in self.tokens.items()
                for name in names
                for what, method, request in questions(name)
            ]

    def look(self, where: str, *names: str) -> list[Heard]:
        """What is told of these installations, of all by default; all of it is heard but what is wanted."""
        heard = self.everything(names or self.names)
        for one in heard:
            content = (one.told.answer or b"")[:READ].decode(errors="replace")
            found = {canary for canary, _ in leaks(content, self.aviary.canaries)}
            stray = found - self._wanted(one)
            self.aviary.hear(f"{where}: {one.who} {one.what} {one.installation}", one.told.details)
            self.aviary.hear(f"{where}: trailers", repr(one.told.trailers))
            assert not stray, (where, one.who, one.what, one.installation, stray)
        return heard

    def _wanted(self, one: Heard) -> set[str]:
        if one.who not in ("sensitive", "reader") or one.what not in WANTED:
            return set()
        wanted = WANTED[one.what] & (WANTED["outputs"] | WANTED["installations with custom data"])
        if one.who == "sensitive":
            wanted = WANTED[one.what]
        return {canary.format(one.installation) for canary in wanted}


def questions(name: str) -> Iterator[tuple[str, str, Any]]:
    place = {"namespace": "elsewhere" if name == "forbidden" else "shop"}
    yield "installations", f"{OURS}/ListInstallations", ours.ListInstallationsRequest(**place)
    custom = ours.ListInstallationsRequest(include_custom=True, **place)
    yield "installations with custom data", f"{OURS}/ListInstallations", custom
    runs = ours.ListInstallationRunsRequest(installation=name, **place)
    yield "runs", f"{OURS}/ListInstallationRuns", runs
    for what, more in (
        ("outputs", {}),
        ("sensitive outputs", {"include_sensitive": True}),
        ("an unknown run's outputs", {"include_sensitive": True, "run": "01M85E6N1VWE5YGBMF3XZEJTWQ"}),
        ("forged outputs", {"include_sensitive": True, "page_token": "AAAA"}),
    ):
        request = ours.ListInstallationRunOutputsRequest(installation=name, **place, **more)
        yield what, f"{OURS}/ListInstallationRunOutputs", request
    listing = porters.ListInstallationsRequest(**place)
    yield "porter's installations", f"{PORTERS}/ListInstallations", listing
    latest = porters.ListInstallationLatestOutputRequest(name=name, **place)
    yield "porter's outputs", f"{PORTERS}/ListInstallationLatestOutputs", latest


def add_huge(world: World, aviary: Aviary) -> None:
    key = InstallationKey("shop", "huge")
    world.installation(key)
    value = aviary.plant("huge/sealed").encode() + b"\0" * HUGE
    outputs = {"plain": aviary.plant("huge/plain").encode(), "sealed": value}
    written = world.run(outputs, key=key, declares=bundle(plain=PLAIN, sealed=DECLARED_SENSITIVE))
    written["sealed"].update(value=None, key=f"{written['run']['_id']}-sealed")
    (aviary.folder / "secrets" / written["sealed"]["key"]).write_bytes(value)


def given_out(heard: list[Heard], aviary: Aviary) -> dict[str, set[str]]:
    """Whom which canaries were given."""
    found: dict[str, set[str]] = {}
    for one in heard:
        content = (one.told.answer or b"")[:READ].decode(errors="replace")
        found.setdefault(one.who, set()).update(name for name, _ in leaks(content, aviary.canaries))
    return found


@pytest.fixture
def ear(kube_cluster, mongo_server, mongo_url, tmp_path, aviary) -> Iterator[Ear]:
    world = World()
    fill(world, aviary)
    add_huge(world, aviary)
    MongoDatabase(server=mongo_server, url=mongo_url).publish(world.documents)
    names = tuple(one["name"] for one in world.documents["installations"])
    store = {"kind": "filesystem", "path": str(aviary.folder / "secrets")}
    source = {"kind": "mongodb", "url": mongo_url, "secrets": store}
    site = ApiSite(cluster=kube_cluster, folder=tmp_path, source=source, spaces=("shop", "elsewhere"))
    with site.running(level="debug"):
        tokens = {
            "sensitive": site.account("sensitive", ALL, spaces=("shop",)),
            "reader": site.account("reader", [*LISTS, *RUNS, *OUTPUTS], spaces=("shop",)),
            "stranger": site.account("stranger"),
            "for the API server": site.token("sensitive", "https://kubernetes.default.svc"),
        }
        # NB: the signature. What a token claims is no secret, and its base64 may stand anywhere.
        signed = {f"the token of {who}": token.rpartition(".")[2] for who, token in tokens.items()}
        aviary.canaries |= signed
        aviary.canaries["the token of the server"] = site.cluster.tokens["syncer"]
        yield Ear(site, aviary, {**tokens, "nobody": None}, names)


def hear_process(ear: Ear) -> None:
    site, process = ear.site, Path(f"/proc/{ear.site.syncer.pid}")
    for page in ("/metrics", "/healthz", "/readyz"):
        status, text = site.syncer.get(page)
        assert status == 200
        ear.aviary.hear(page, text)
    for name in ("cmdline", "environ"):
        ear.aviary.hear(name, (process / name).read_text(errors="replace"))
    ear.aviary.hear("log", site.syncer.output)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # pymongo, cut off
def test_a_value_is_given_to_those_who_may_and_is_nowhere_else(ear, aviary, mongo_server):
    heard = ear.look("as it is")
    given = given_out(heard, aviary)
    assert given["stranger"] == given["nobody"] == given["for the API server"] == set()
    assert given["reader"] >= {"good/plain", "dangling/plain", "large/plain", "custom data"}
    assert given["sensitive"] >= given["reader"] | {"good/sealed"}
    assert not given["sensitive"] & {"swapped/sealed", "dangling/sealed", "forbidden/plain"}
    codes = {one.told.code for one in heard if one.who == "sensitive"}
    assert codes >= {CODES.OK, CODES.PERMISSION_DENIED, CODES.NOT_FOUND, CODES.FAILED_PRECONDITION}

    with mongo_server.failing("find", code=13):
        refused = ear.look("queries refused", "good")
    with mongo_server.failing("find", disconnect=True):
        cut = ear.look("connection cut", "good")
    for told in (refused, cut):
        assert {one.told.code for one in told if one.who == "reader"} >= {CODES.UNAVAILABLE}
    shutil.move(aviary.folder / "secrets", aviary.folder / "away")
    closed = given_out(ear.look("no secret store", "good", "dangling", "swapped", "huge"), aviary)
    assert closed["reader"] >= {"good/plain", "dangling/plain"}
    assert "good/sealed" not in closed["sensitive"]

    hear_process(ear)
    lines = ear.site.syncer.logged("sensitive outputs read")
    assert {line["installation"] for line in lines} >= {"shop/good"}
    assert {line["caller"] for line in lines} == {ear.site.user("sensitive")}
    assert {where for where, text in aviary.said if text} >= {"/metrics", "cmdline", "environ", "log"}
    assert len(aviary.canaries) > 30
    assert aviary.found() == set()
    assert ear.site.syncer.logged("request failed") == []
