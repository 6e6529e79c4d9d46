"""The list of what is in the image: made by the command of `tox -e sbom`, compared with the locked requirements.

That the image holds just these is in test_image.py.
"""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.image.project import ROOT, RUNTIME, locked

LISTED = "dist/porter-outputs-syncer.cdx.json"


@pytest.fixture
def sbom(tmp_path: Path) -> dict[str, Any]:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    written = tmp_path / "sbom.json"
    command = shlex.split(tox["testenv:sbom"]["commands"].replace("\\\n", " ").replace(LISTED, str(written)))
    program = shutil.which(command[0])
    assert program, "requirements/image.txt is not installed"

    subprocess.run([program, *command[1:]], cwd=ROOT, check=True, capture_output=True)

    return json.loads(written.read_text())


def test_it_lists_exactly_what_is_locked(sbom):
    assert {one["name"]: one["version"] for one in sbom["components"]} == locked()
    assert len(sbom["components"]) == len(locked()) > 40


def test_it_says_of_what_it_is_the_list(sbom):
    assert sbom["bomFormat"] == "CycloneDX"
    assert sbom["metadata"]["component"]["name"] == "porter-outputs-syncer"


def test_every_component_has_the_hashes_that_were_locked(sbom):
    listed = {
        digest["content"]
        for one in sbom["components"]
        for reference in one["externalReferences"]
        for digest in reference.get("hashes", ())
    }

    assert listed == set(re.findall(r"sha256:([0-9a-f]{64})", RUNTIME.read_text()))
