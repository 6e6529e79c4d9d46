"""The tables of names in docs/kubernetes.md and docs/file.md, and their messages, by the product's own code.

Excludes Vault and Key Vault, whose names tests/unit/test_consumer_docs.py compares.
"""

from __future__ import annotations

import pytest

from backends.file.names import FileNaming
from backends.file.options import FileTarget
from backends.kubernetes_secret.names import KubernetesNaming
from backends.kubernetes_secret.options import KubernetesTargetOptions
from syncer.core.mapping import _style
from syncer.core.model import KeyStyle
from syncer.core.templates import render_address
from tests.docs.pages import ROOT, rows_after, spans

KUBERNETES, FILE = ROOT / "docs" / "kubernetes.md", ROOT / "docs" / "file.md"
HEADING = "## What is written"


def rows(page: str, what: str) -> list[tuple[list[str], list[str]]]:
    """Names in Porter and what they become, of installations or of outputs."""
    found = rows_after(ROOT / "docs" / page, HEADING)
    return [(spans(before), spans(after)) for before, kind, after in found if kind == what]


def place(parts: tuple[str, ...], namespace: str, installation: str) -> tuple[str, ...]:
    values = {"namespace": namespace, "installation": installation}
    return tuple(render_address(part, values) for part in parts)


@pytest.mark.parametrize(("before", "after"), rows("kubernetes.md", "an installation"))
def test_secrets_are_named_as_the_page_says(before: list[str], after: list[str]) -> None:
    parts = place(KubernetesTargetOptions().shape().parts, "shop", before[0])
    assert KubernetesNaming(None).address(parts) == f"shop/{after[0]}"


@pytest.mark.parametrize(("before", "after"), rows("kubernetes.md", "an output"))
def test_keys_are_named_as_the_page_says(before: list[str], after: list[str]) -> None:
    key, style, snake = after
    assert style == "keyStyle: upper-snake"
    assert KubernetesNaming(None).key(before[0]) == key
    assert KubernetesNaming(None).key(_style(before[0], KeyStyle.UPPER_SNAKE)) == snake


@pytest.mark.parametrize(("before", "after"), rows("file.md", "an installation"))
def test_folders_are_named_as_the_page_says(before: list[str], after: list[str]) -> None:
    installation, namespace = [*before, ""][:2]
    parts = place(FileTarget().shape().parts, namespace or "_global", installation)
    assert f"{FileNaming().address(parts)}/" == after[0]


@pytest.mark.parametrize(("before", "after"), rows("file.md", "an output"))
def test_files_are_named_as_the_page_says(before: list[str], after: list[str]) -> None:
    assert FileNaming().key(before[0]) == after[0]


def test_both_pages_have_names_of_both_kinds() -> None:
    """A table that is not found would make no test at all."""
    assert all(
        rows(page, what) for page in ("kubernetes.md", "file.md") for what in ("an installation", "an output")
    )
