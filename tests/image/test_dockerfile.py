"""The Dockerfile as a text: its style, and what it repeats of the project.

Nothing is built here: test_image.py has that.
"""

from __future__ import annotations

import re
import shutil
import subprocess

from syncer import __version__
from tests.image.project import ROOT

DOCKERFILE = ROOT / "Dockerfile"
IGNORED = ROOT / ".dockerignore"


def hadolint(text: str) -> str:
    command = [shutil.which("hadolint") or "hadolint", "--no-color", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False).stdout


def copied() -> set[str]:
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    return {name for line in lines for name in line.split()}


def test_hadolint_has_nothing_to_say():
    assert hadolint(DOCKERFILE.read_text()) == ""
    assert "DL3002" in hadolint(DOCKERFILE.read_text().replace("USER 65532:65532", "USER root"))


def test_the_version_it_names_is_the_product_s():
    assert re.findall(r"^ARG VERSION=(.*)$", DOCKERFILE.read_text(), re.MULTILINE) == [__version__]


def test_the_builder_is_sent_what_is_copied_and_nothing_else():
    lines = [line for line in IGNORED.read_text().splitlines() if line and not line.startswith("#")]

    assert lines[0] == "*"
    assert {line.removeprefix("!") for line in lines[1:] if line.startswith("!")} == copied()


def test_everything_from_an_index_is_hashed():
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    installs = re.findall(r"pip (?:--python \S+ )?install ([^&\n]+)", text)

    assert len(installs) == 3
    assert all("--require-hashes" in one or "--no-index" in one for one in installs)
