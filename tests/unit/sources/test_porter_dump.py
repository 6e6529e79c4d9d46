"""A mongodump folder as a source: what real Porter wrote, files that changed, and files that are cut.

Reads the dump of examples/quickstart and bent copies of it. Excludes the MongoDB server
(functional/test_mongodb_source).
"""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import bson
import pytest
from porter_world import DB, NOW, World

from backends.contract import FindingLevel
from syncer.core.errors import SourceError, SourceRefused, SourceUnavailable
from syncer.core.model import (
    Found,
    Installation,
    InstallationKey,
    InstallationState,
    OutputRef,
    Quarantined,
    Unresolved,
)
from syncer.sources.porter import store as ask
from syncer.sources.porter.dump import DumpStore
from syncer.sources.porter.secrets.filesystem import FilesystemSecrets
from syncer.sources.porter.secrets.none import NoSecretStore
from syncer.sources.porter.source import PorterSource
from syncer.sources.porter.store import COLLECTIONS, Query

QUICKSTART = Path(__file__).parents[3] / "examples" / "quickstart"


@pytest.fixture
def folder(tmp_path):
    """A copy of the real dump."""
    return Path(shutil.copytree(QUICKSTART / "dump", tmp_path / "dump"))


def write(folder: Path, world: World) -> Path:
    folder.mkdir(exist_ok=True)
    for name, documents in world.documents.items():
        (folder / f"{name}.bson").write_bytes(b"".join(map(bson.encode, documents)))
    return folder


def source(folder: Path) -> PorterSource:
    return PorterSource(DumpStore(folder), FilesystemSecrets(QUICKSTART / "secrets"))


async def all_values(porter: PorterSource, installation: Installation) -> dict[tuple[str, str], object]:
    wanted = {
        (result.id, name): OutputRef(installation.key, result.run_id, result.id, name, digest)
        for result in installation.results
        for name, digest in result.outputs.items()
    }
    states = await porter.values(wanted.values())
    return {key: states[ref] for key, ref in wanted.items()}


async def test_the_quickstart_is_what_real_porter_wrote():
    porter = source(QUICKSTART / "dump")
    found = await porter.load([ref.key for ref in await porter.list()])
    states = {str(key): one.state for key, one in found.items() if isinstance(one, Installation)}
    assert states == {
        "/odd-names": InstallationState.INSTALLED,
        "prod/api": InstallationState.INSTALLED,
        "prod/in-flight": InstallationState.DEFINED,
        "shop/Odd_Clean.Install": InstallationState.INSTALLED,
        "shop/orders-db": InstallationState.INSTALLED,
        "shop/storefront": InstallationState.UNINSTALLED,
        "staging/never-worked": InstallationState.DEFINED,
        "staging/too-big": InstallationState.INSTALLED,
    }


async def test_every_real_output_resolves_but_the_two_porter_could_not_store():
    porter = source(QUICKSTART / "dump")
    found = {ref.key: await porter.history(ref.key) for ref in await porter.list()}
    unresolved, resolved = set(), 0
    for installation in found.values():
        assert isinstance(installation, Installation)
        for (result_id, name), state in (await all_values(porter, installation)).items():
            match state:
                case Found():
                    resolved += 1
                case Unresolved(reason):
                    unresolved.add((installation.key.name, name, reason))
                case other:
                    # listed by an action that does not modify, and not written
                    assert name not in installation.declared, (result_id, name, other)
    assert unresolved == {
        ("odd-names", "binary", "cannot be resolved: not in the store"),
        ("odd-names", "tls/key", "cannot be resolved: not in the store"),
    }
    assert resolved == 47


async def test_a_compressed_dump_is_the_same(folder):
    plain = source(folder)
    expected = await plain.load([ref.key for ref in await plain.list()])
    for name in COLLECTIONS:
        path = folder / f"{name}.bson"
        path.with_suffix(".bson.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    packed = source(folder)
    assert await packed.load([ref.key for ref in await packed.list()]) == expected


async def read_everything(porter: PorterSource) -> None:
    found = await porter.load([ref.key for ref in await porter.list()])
    for one in found.values():
        assert isinstance(one, Installation)
        await all_values(porter, one)


@pytest.mark.parametrize("name", COLLECTIONS)
async def test_a_missing_collection_is_named_and_never_empty(folder, name):
    (folder / f"{name}.bson").unlink()
    finding = (await DumpStore(folder).check())[0]
    assert finding.level is FindingLevel.ERROR
    assert f"{name}.bson is missing" in finding.detail
    with pytest.raises(SourceRefused, match=rf"{name}\.bson is missing"):
        await read_everything(source(folder))


async def test_a_whole_dump_is_found_to_be_whole(folder):
    async with source(folder) as porter:
        assert {finding.level for finding in await porter.check()} == {FindingLevel.OK}


async def test_a_missing_folder_is_unavailable(tmp_path):
    with pytest.raises(SourceUnavailable, match="no folder"):
        await source(tmp_path / "gone").list()


@pytest.mark.parametrize("left", [1, 3, 4, 100, -1])
async def test_a_file_that_is_cut_is_unavailable(folder, left):
    path = folder / "installations.bson"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(SourceUnavailable, match=r"installations\.bson is cut or damaged"):
        await source(folder).list()


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(b"x" * 1000, mtime=0)[:-12]])
async def test_a_compressed_file_that_is_cut_is_unavailable(folder, content):
    (folder / "installations.bson").unlink()
    (folder / "installations.bson.gz").write_bytes(content)
    with pytest.raises(SourceError, match=r"installations\.bson\.gz"):
        await source(folder).list()


async def test_a_document_with_garbage_inside_is_unavailable(folder):
    path = folder / "installations.bson"
    content = bytearray(path.read_bytes())
    content[4] = 0x7D
    path.write_bytes(content)
    with pytest.raises(SourceUnavailable, match="damaged at byte 0"):
        await source(folder).list()


async def test_text_that_is_no_utf_8_holds_only_its_own_installation(tmp_path):
    world = World()
    world.installation()
    world.installation(InstallationKey("shop", "brokenname"))
    folder = write(tmp_path / "dump", world)
    path = folder / "installations.bson"
    path.write_bytes(path.read_bytes().replace(b"brokenname", b"broken\xff\xfe\xfd\xfc"))
    porter = PorterSource(DumpStore(folder), NoSecretStore(), clock=lambda: NOW)
    found = await porter.load([ref.key for ref in await porter.list()])
    assert isinstance(found[DB], Installation)
    assert sum(isinstance(one, Quarantined) for one in found.values()) == 1


async def test_a_newer_dump_in_its_place_is_seen(folder, tmp_path):
    porter = source(folder)
    assert len(await porter.list()) == 8
    world = World()
    world.installation()
    write(folder, world)
    assert [ref.key for ref in await porter.list()] == [DB]


async def test_a_file_that_changes_while_it_is_read_is_unavailable(folder, monkeypatch):
    store = DumpStore(folder)
    await store.find(ask.all_identities())
    opened, calls = store._opened, []

    def replaced_after_opening(collection):
        if calls:
            (folder / "installations.bson").write_bytes(bson.encode({"_id": 1}))
        calls.append(collection)
        return opened(collection)

    monkeypatch.setattr(store, "_opened", replaced_after_opening)
    with pytest.raises(SourceUnavailable, match="changed while it was read"):
        await store.find(ask.all_identities())


async def test_dump_and_list_of_documents_find_the_same(tmp_path):
    world = World()
    keys = [InstallationKey(namespace, f"db{number}") for namespace in ("", "shop") for number in range(4)]
    for key in keys:
        world.installation(key)
        world.run({"a": b"1", "b": b"2"}, key=key)
        world.run({"a": b"1"}, key=key, status="failed")
    store = DumpStore(write(tmp_path / "dump", world))
    results = [document["_id"] for document in world.documents["results"]][:5]
    queries = [
        ask.schema(),
        ask.all_identities(),
        ask.installations(keys[:3]),
        ask.succeeded_results(keys[2:]),
        ask.runs(keys[2:]),
        ask.bundles([document["_id"] for document in world.documents["runs"]][:3]),
        ask.output_names(results),
        ask.output_values(results, ["a"]),
        Query(collection="results", fields=("_id",), any_of={"runId": [world.documents["runs"][0]["_id"]]}),
        Query(collection="installations", fields=("name",), any_of={"namespace": ["shop"]}),
        ask.output_names([]),
        ask.runs([]),
    ]
    for query in queries:
        found, expected = await store.find(query), await world.find(query)
        tops = {name.partition(".")[0] for name in query.fields}
        assert len(found) == len(expected)
        assert all(document.keys() <= tops for document in found)
        assert sorted(map(str, (one.get("_id", one.get("name")) for one in found))) == sorted(
            map(str, (one.get("_id", one.get("name")) for one in expected))
        )


async def test_the_same_folder_is_the_same_source_however_it_is_written(folder, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert source(link).fingerprint == source(folder).fingerprint
    assert source(folder).fingerprint != source(QUICKSTART / "dump").fingerprint


async def test_the_check_of_a_source_that_cannot_be_read_finds_it_and_does_not_raise(folder):
    (folder / "config.bson").write_bytes(b"cut")
    assert FindingLevel.ERROR in {finding.level for finding in await source(folder).check()}


async def test_the_check_finds_a_schema_that_cannot_be_read(folder, monkeypatch):
    porter = source(folder)

    async def vanish(query):
        raise SourceUnavailable("the dump vanished")

    monkeypatch.setattr(porter.store, "find", vanish)
    assert "the dump vanished" in {finding.detail for finding in await porter.check()}
