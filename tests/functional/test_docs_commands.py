"""Every command in README.md and docs/ is run as it stands, in a clean copy of the repository, or says why it is not.

Simulates somebody who copies a block into a shell at the root of the repository, with the installed product on PATH. Those
that need a server of their own are run against one here (`vault`: OpenBao's client, which takes the same commands)
or in test_docs_install.py (`helm`). Excludes what other blocks than `sh` show.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
from cyclopts import CycloptsError, MissingArgumentError

from syncer.cli.program import _program
from tests.docs.pages import PAGES, ROOT, Block, blocks, prose, spans
from tests.servers.openbao import BaoServer

KUBECTL = "it needs a cluster; test_docs_install.py runs it against one"
NOT_RUN: Mapping[tuple[str, str], str] = {
    ("README.md", "python3 -m venv .venv && .venv/bin/pip install -q --require-hashes -r requirements/tox.txt"):
        "it runs all tests, this one among them",
    ("docs/api.md", "syncer api -c examples/quickstart/syncer.yaml &"):
        "it serves until it is told to end; test_api_clients.py calls it with the same `buf curl`",
    ("docs/api.md", "printf 'authorization: Bearer %s"):
        "it needs a pod with a token; test_api_clients.py does the same with one",
    ("docs/api.md", "kubectl -n porter-operator-system patch"): KUBECTL,
    ("docs/architecture.md", "compile="): "uv is no part of the tests, and newer releases change what it writes",
    ("docs/custom-resources.md", "kubectl wait"): KUBECTL,
    ("docs/install.md", "kubectl create namespace"): KUBECTL,
    ("docs/install.md", "helm install"): "test_docs_install.py runs it against an API server",
    ("docs/install.md", "kubectl get secrets"): KUBECTL,
    ("docs/install.md", "docker build"): "it needs a daemon; tests/image builds and starts the image with podman",
}  # fmt: skip
OTHERS = {"kubectl", "helm", "docker", "sudo", "buf", "$compile", "printf", "python3", "pip", "tox"}
"""Programs of blocks that are not run, beside the product's own."""
WITH_VAULT = ("docs/vault.md", "docs/push-secret.md")
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".tox", ".venv", ".*_cache", "__pycache__", "*.egg-info", "dist", "build", "out", ".coverage*"
)
SECONDS = 600
OWN_COMMAND = re.compile(r"(?<![-\w`])syncer ([a-z][^&;|#>│)]*)(?!.*│)")
PLACEHOLDERS = re.compile(r"[A-Z]{3,}|\.\.\.")
SH = blocks("sh")


def commands(script: str) -> list[list[str]]:
    """The words of each simple command, quotes taken off; what the shell would expand stays."""
    found: list[list[str]] = []
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
        lexer.whitespace_split = True
        current: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("|&;"):
                if current:
                    found.append(current)
                current = []
            else:
                current.append(word)
    return found


def why_not(block: Block) -> str | None:
    found = [reason for (page, start), reason in NOT_RUN.items() if fits(block, page, start)]
    return found[0] if found else None


def fits(block: Block, page: str, start: str) -> bool:
    return block.page == page and block.first.startswith(start)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What somebody has who has just cloned the repository."""
    return Path(shutil.copytree(ROOT, tmp_path / "copy", ignore=LEFT_OUT))


def run(script: str, folder: Path, **more: str) -> None:
    """As a shell would that stops at the first mistake. What pip needs behind the machine's proxies is passed on."""
    programs = Path(sys.executable).parent
    own = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",  # noqa: TID251 - a shell's
        "HOME": str(folder.parent),
        "LC_ALL": "C.UTF-8",
    }
    passed = {name: text for name, text in os.environ.items() if name.startswith(("PIP_", "SSL_", "HTTP"))}  # noqa: TID251
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**passed, **own, **more},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize(
    "block", [block for block in SH if why_not(block) is None and block.page not in WITH_VAULT], ids=str
)
def test_a_block_runs_as_it_stands(block: Block, copy: Path) -> None:
    run(block.text, copy)


@pytest.mark.parametrize("block", [block for block in SH if block.page in WITH_VAULT], ids=str)
def test_a_block_for_vault_runs_against_a_server(block: Block, copy: Path, bao_server: BaoServer) -> None:
    bin_folder = copy.parent / "bin"
    bin_folder.mkdir()
    (bin_folder / "vault").symlink_to(Path(sysconfig.get_path("scripts")) / "bao")
    environ = {
        "BAO_ADDR": bao_server.url,
        "BAO_CACERT": str(bao_server.ca_file),
        "BAO_TOKEN": bao_server.root_token,
        "BAO_NAMESPACE": bao_server.namespace(),
    }
    run(f'PATH="{bin_folder}:$PATH"\n{block.text}', copy, **environ)


# --- what is not run


def test_every_exception_is_of_a_block_that_exists() -> None:
    assert [key for key in NOT_RUN if not any(fits(block, *key) for block in SH)] == []


@pytest.mark.parametrize("block", [block for block in SH if why_not(block)], ids=str)
def test_what_is_not_run_is_at_least_a_script_of_known_programs(block: Block) -> None:
    subprocess.run(["bash", "-n", "-c", block.text], check=True)
    for words in commands(block.text):
        assert Path(words[0]).name in {*OTHERS, "syncer"} or "=" in words[0]


# --- the product's own command lines, wherever they stand


def own_commands() -> list[tuple[str, str]]:
    """Where it stands, and the command line: of blocks, and of backticks within the text."""
    scripts = [
        (str(block), line) for block in blocks("sh", "text", "console") for line in block.text.splitlines()
    ]
    texts = [(page.name, span) for page in PAGES for span in spans(prose(page)) if span.startswith("syncer ")]
    return [(place, found) for place, text in scripts + texts for found in OWN_COMMAND.findall(text)]


@pytest.mark.parametrize(("place", "line"), sorted({*own_commands()}))
def test_the_program_knows_every_command_line(place: str, line: str) -> None:
    words = re.sub(r"[\[\]]", "", line).split()
    # A sentence may name a command, or an option, without what it takes.
    named_only = suppress(MissingArgumentError) if ":" not in place else nullcontext()
    with named_only:
        parse([PLACEHOLDERS.sub("x", word) for word in words])


def parse(words: list[str]) -> None:
    """Raises a CycloptsError for what the program would refuse; what it would do is not done."""
    _program().parse_args(words, exit_on_error=False, print_error=False)


def test_a_command_line_that_is_wrong_would_be_found() -> None:
    parse(["once", "-c", "x.yaml"])
    for wrong in (["twice"], ["once", "--frequently"], ["gc", "--approve"]):
        with pytest.raises(CycloptsError):
            parse(wrong)
