"""No value leaves through a command that is not asked for it: every command, every format, at debug level.

Simulates the failures of `test_acceptance_canary`, seen from outside of the process. Excludes what
`--show-sensitive` and `outputs show` are for, and plain values in `outputs list`.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.functional.acceptance import Site
from tests.functional.test_acceptance_canary import Aviary, aviary, database, fill, hear_sinks, leaks, site
from tests.unit.sources.porter_world import World

__all__ = ["aviary", "database", "site"]

FORMATS = ("plaintext", "json")


def run(site: Site, aviary: Aviary, *arguments: str, formats: tuple[str, ...] = ()) -> str:
    """What a command prints, on both streams and in every format."""
    config = site.folder / "syncer.yaml"
    printed = ""
    for form in formats or (None,):
        chosen = [] if form is None else ["-o", form]
        command = [*arguments, "-c", str(config), "--log-level", "debug", *chosen]
        done = subprocess.run(
            [sys.executable, "-m", "syncer", *command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr
        printed += done.stdout + done.stderr
    aviary.hear(" ".join(arguments), printed)
    return printed


@pytest.fixture
def filled(site, database, aviary) -> Site:
    world = World()
    fill(world, aviary)
    database.publish(world.documents)
    site.create("shop/foreign-outputs", {"theirs": aviary.plant("a secret of others").encode()})
    site.config().path.rename(site.folder / "syncer.yaml")
    aviary.canaries["the token of the account"] = site.cluster.tokens["syncer"]
    return site


def test_no_command_prints_a_value(filled, aviary, database):
    site = filled
    assert "shop/good-outputs" in run(site, aviary, "plan", formats=FORMATS)
    assert "too large" in run(site, aviary, "once", formats=FORMATS)
    assert "InSync" in run(site, aviary, "status", formats=FORMATS)
    run(site, aviary, "doctor", formats=FORMATS)
    run(site, aviary, "config", "check")
    run(site, aviary, "installations", "list", "--all-namespaces", formats=FORMATS)
    run(site, aviary, "installations", "runs", "list", "good", "-n", "shop", formats=FORMATS)
    run(site, aviary, "adopt", site.address("shop/foreign-outputs"), formats=FORMATS)
    with database.server.failing("find", code=13):
        assert "code 13" in run(site, aviary, "once")
    database.collections["installations"].delete_many({})
    assert "--approve" in run(site, aviary, "gc", formats=FORMATS)
    hear_sinks(site, aviary)
    # NB: Porter's custom data and labels of an installation are no secrets: `list -o json` prints them
    assert {leak for leak in aviary.found() if leak[1] != "custom data"} == set()
    assert site.in_cluster()["shop/good-outputs"]["sealed"] == aviary.canaries["good/sealed"].encode()


def test_sensitive_outputs_are_listed_only_on_demand(filled, aviary):
    site = filled
    sensitive = {"sealed": aviary.canaries["good/sealed"]}
    where = ("good", "-n", "shop")
    masked = run(site, aviary, "installations", "outputs", "list", *where, formats=FORMATS)
    as_porter = run(
        site, aviary, "installations", "outputs", "list", *where, "--porter-semantics", formats=FORMATS
    )
    assert "sealed" in masked
    assert leaks(masked + as_porter, sensitive) == set()
    shown = run(site, aviary, "installations", "outputs", "list", *where, "--show-sensitive", "-o", "json")
    assert leaks(shown, sensitive)
    assert leaks(run(site, aviary, "installations", "outputs", "show", "sealed", "-i", *where), sensitive)
