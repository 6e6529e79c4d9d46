"""The happy path of `syncer run`, on real servers: what Porter does arrives, and goes.

Simulates Porter by the documents it writes, in its order. Excludes faults: those have files of their own.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import yaml

FIRST = {"host": b"db-1.shop.internal", "password": b"correct horse"}
SECOND = {"host": b"db-2.shop.internal", "password": b"battery staple"}


def install(porter, name="orders", outputs=FIRST):
    porter.install("shop", name, outputs, sensitive=["password"]).finish()


def test_what_is_there_at_start_and_what_comes_later_arrives_in_all_sinks(start, estate):
    install(estate.porter)
    syncer = start(estate.document())
    syncer.until(lambda: estate.everywhere("orders", FIRST))
    syncer.until_ready()
    install(estate.porter, "later", SECOND)
    syncer.until(lambda: estate.everywhere("later", SECOND))
    estate.porter.upgrade("shop", "orders", SECOND, sensitive=["password"]).finish()
    syncer.until(lambda: estate.everywhere("orders", SECOND))


def test_a_deleted_installation_takes_its_secrets_along_and_no_others(start, estate):
    for name in ("orders", "other", "third"):
        install(estate.porter, name)
    syncer = start(estate.document())
    syncer.until(lambda: all(estate.everywhere(name, FIRST) for name in ("orders", "other", "third")))
    estate.porter.delete("shop", "orders").finish()
    syncer.until(lambda: estate.everywhere("orders", None))
    assert estate.everywhere("other", FIRST)
    assert estate.everywhere("third", FIRST)


def test_an_end_asked_for_is_in_good_order(start, estate):
    install(estate.porter)
    syncer = start(estate.document())
    syncer.until(lambda: estate.everywhere("orders", FIRST))
    assert syncer.end() == 0
    assert not re.search(r"Traceback|Warning|never retrieved|unexpected", syncer.output), syncer.output


def test_the_quickstart_shows_a_change_in_the_dump_arriving(start, tmp_path):
    folder = tmp_path / "quickstart"
    shutil.copytree(
        Path(__file__).parents[2] / "examples/quickstart", folder, ignore=shutil.ignore_patterns("out")
    )
    document = yaml.safe_load((folder / "syncer.yaml").read_text())
    document["source"] |= {
        "path": str(folder / "dump"),
        "pollInterval": "200ms",
        "deletionCheckInterval": "1h",
    }
    document["source"]["secrets"]["path"] = str(folder / "secrets")
    document["sinks"][0]["path"] = str(folder / "out")
    syncer = start(document)
    host = folder / "out/shop/orders-db/host"
    syncer.until(lambda: host.exists() and host.read_bytes() == b"orders-db-2.shop.internal")
    for path in (folder / "later").iterdir():
        shutil.copy(path, folder / "dump")
    syncer.until(lambda: host.read_bytes() == b"orders-db-3.shop.internal")
    assert (host.parent / "admin-password").read_bytes() == b"Tr0ub4dor&3-v3"
    assert (host.parent / "ca.crt").exists()
