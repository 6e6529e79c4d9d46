"""Porter's secret stores: files in a folder, none at all, and the names Secrets have in Kubernetes.

Reads real folders. Excludes a real Kubernetes (functional/test_porter_kubernetes_secrets) and
which keys are asked for at all (test_porter_values).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import FindingLevel
from backends.secret_value import SecretValue
from syncer.core.errors import SourceUnavailable
from syncer.sources.porter.secrets.filesystem import FilesystemSecrets
from syncer.sources.porter.secrets.kubernetes import secret_name
from syncer.sources.porter.secrets.none import NoSecretStore


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "secrets"
    folder.mkdir()
    (tmp_path / "outside").write_bytes(b"not yours")
    return folder


async def answer(folder, key):
    return (await FilesystemSecrets(folder).resolve([key]))[key]


@pytest.mark.parametrize("content", [b"", b"line\n", bytes(range(256))])
async def test_a_file_holds_the_raw_bytes(folder, content):
    (folder / "run-host").write_bytes(content)
    assert await answer(folder, "run-host") == SecretValue(content)


@pytest.mark.bad_input(12)
@pytest.mark.parametrize(
    "key",
    ["gone", "../outside", "/etc/passwd", "a/b", "a\0b", "", ".", "..", "x" * 10_240, "\udcff", "é" * 200],
)
async def test_what_names_no_file_of_the_folder_is_not_in_the_store(folder, key):
    assert await answer(folder, key) == "not in the store"


@pytest.mark.bad_input(12)
async def test_links_are_not_followed(folder):
    (folder / "link").symlink_to("../outside")
    assert "cannot be opened" in str(await answer(folder, "link"))


async def test_what_is_no_file_is_not_waited_for(folder):
    os.mkfifo(folder / "fifo")
    (folder / "folder").mkdir()
    assert await answer(folder, "fifo") == "in the store it is no file"
    assert await answer(folder, "folder") == "in the store it is no file"


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_file_descriptors_are_given_back(folder):
    (folder / "run-host").write_bytes(b"h")
    (folder / "folder").mkdir()
    store = FilesystemSecrets(folder)
    keys = ["run-host", "folder", "gone", "../outside"]
    await store.resolve(keys)
    before = open_files()
    for _ in range(5):
        await store.resolve(keys)
    assert open_files() == before


async def test_a_missing_folder_is_unavailable_and_not_empty(folder):
    store = FilesystemSecrets(folder / "gone")
    with pytest.raises(SourceUnavailable, match="cannot be opened"):
        await store.resolve(["run-host"])
    assert (await store.check())[0].level is FindingLevel.ERROR
    assert (await FilesystemSecrets(folder).check())[0].level is FindingLevel.OK


async def test_a_folder_of_another_kind_is_unavailable(folder):
    with pytest.raises(SourceUnavailable):
        await FilesystemSecrets(folder.parent / "outside").resolve(["x"])


async def test_without_a_store_nothing_is_resolved():
    async with NoSecretStore() as store:
        assert "host plugin keeps no secrets" in str((await store.resolve(["k"]))["k"])
        assert (await store.check())[0].level is FindingLevel.WARNING


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("01M85E6NDDJGTZ7NPKWM97E1ZF-admin-password", "01m85e6nddjgtz7npkwm97e1zf-admin-password"),
        ("run-db_pass", "run-db-pass"),
        ("run-API_TOKEN", "run-api-token"),
        ("run-tls/key", "run-tls-key"),
        ("run-na\u00efve", "run-na-ve"),
        ("run-a.b", "run-a.b"),
        ("run-x__y", "run-x-y"),
        ("run-x_", "run-x000"),
        ("run-", "run000"),
        ("_x", "000x"),
    ],
)
def test_secrets_are_named_as_porters_plugin_names_them(key, name):
    assert secret_name(key) == name


@given(st.text(max_size=20))
def test_a_name_never_holds_what_a_path_is_made_of(key):
    assert "/" not in secret_name(key)
    assert "%" not in secret_name(key)
