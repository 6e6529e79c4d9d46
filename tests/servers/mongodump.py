"""Reads and writes a database as `mongodump` lays it out: `<collection>.bson` and `<collection>.metadata.json`.

Documents stay the bytes they are, so every BSON type survives. Compressed and archived dumps are not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import bson
from bson import json_util
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

_BATCH = 500  # documents: within the server's message size at 30 kB each


def restore(folder: Path, database: Database[dict[str, Any]]) -> None:
    """Restores every collection of the dump with its indexes into a database that lacks them."""
    for metadata_file in sorted(folder.glob("*.metadata.json")):
        name = metadata_file.name.removesuffix(".metadata.json")
        metadata = json_util.loads(metadata_file.read_text())
        database.create_collection(name)
        indexes = [_index(index) for index in metadata["indexes"] if index["name"] != "_id_"]
        if indexes:
            database.command("createIndexes", name, indexes=indexes)
        collection = database.get_collection(name, codec_options=bson.CodecOptions(RawBSONDocument))
        for batch in _batches(_documents(folder / f"{name}.bson")):
            collection.insert_many(batch)


def write(
    folder: Path, collection: str, documents: Iterable[Mapping[str, Any]], *indexes: Mapping[str, Any]
) -> None:
    """Writes one collection of a dump; each index is `{"key": {...}, "name": ..., "unique": ...}`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{collection}.bson").write_bytes(b"".join(map(bson.encode, documents)))
    by_id = {"key": {"_id": 1}, "name": "_id_", "v": 2}
    metadata = {"options": {}, "indexes": [by_id, *indexes], "collectionName": collection}
    (folder / f"{collection}.metadata.json").write_text(json_util.dumps(metadata))


def _index(index: Mapping[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in index.items() if field not in ("v", "ns")}


def _documents(path: Path) -> Iterator[RawBSONDocument]:
    with path.open("rb") as file:
        yield from bson.decode_file_iter(file, bson.CodecOptions(RawBSONDocument))


def _batches(documents: Iterator[RawBSONDocument]) -> Iterator[list[RawBSONDocument]]:
    while batch := list(islice(documents, _BATCH)):
        yield batch
