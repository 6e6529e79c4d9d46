"""Source `kind: porter`: nothing to configure for whoever has Porter's own configuration file.

Simulates a Porter home with its configuration in either format, its filesystem secrets, and its
database on the MongoDB-wire server. What the configuration may hold is in tests/unit/sources.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from syncer.cli import main
from tests.servers.mongodb import MongoServer

QUICKSTART = Path(__file__).parents[2] / "examples/quickstart"

CONFIG = """
instance: test
source: {kind: porter, home: ./home}
sinks: [{name: local, kind: file, path: ./out}]
rules:
  - name: files
    match: {namespaces: [shop, prod]}
    targets: [{sink: local, path: "{namespace}/{installation}"}]
"""


def flat(url: str) -> dict[str, object]:
    return {
        "default-storage": "db",
        "storage": [{"name": "db", "plugin": "mongodb", "config": {"url": url}}],
        "default-secrets-plugin": "filesystem",
    }


def in_contexts(url: str) -> dict[str, object]:
    contexts = [{"name": "other", "config": {}}, {"name": "prod", "config": flat(url)}]
    return {"schemaVersion": "2.0.0", "current-context": "prod", "contexts": contexts}


@pytest.mark.parametrize("written", [flat, in_contexts])
def test_database_and_secret_store_are_found_in_porters_own_configuration(
    written, tmp_path: Path, mongo_server: MongoServer, mongo_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mongo_server.load_dump(QUICKSTART / "dump", mongo_url.rsplit("/", 1)[1])
    shutil.copytree(QUICKSTART / "secrets", tmp_path / "home" / "secrets")
    (tmp_path / "home" / "config.json").write_text(json.dumps(written(mongo_url)))
    (tmp_path / "syncer.yaml").write_text(CONFIG)
    assert main(["once", "-c", str(tmp_path / "syncer.yaml")]) == 0, capsys.readouterr().err
    assert (tmp_path / "out/shop/orders-db/admin-password").read_bytes() == b"battery staple"
    assert (tmp_path / "out/prod/api/API_TOKEN").read_bytes() == b"rotated-3"
