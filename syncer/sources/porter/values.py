"""Judges the documents found for one output, and the bytes that come out of them.

Pure. A key is let through to a secret store only if it is exactly the one Porter makes
for this output: whoever can write to the database could else have any secret of that store
published. Reasons fit behind "output X ...".
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from bson.binary import BINARY_SUBTYPE, Binary

from backends.secret_value import SecretValue
from syncer.core.model import Found, Missing, OutputRef, Unresolved
from syncer.sources.porter.documents import parse_key
from syncer.sources.porter.store import Document


@dataclass(frozen=True, slots=True)
class Sealed:
    """Its bytes are in Porter's secret store, under this key."""

    key: str


def judge(ref: OutputRef, documents: Sequence[Document]) -> Found | Missing | Unresolved | Sealed:
    """What the documents with the result id and the name of `ref` come to."""
    if not documents:
        return Missing()
    if len(documents) > 1:
        return Unresolved("has two documents")
    document = documents[0]
    if parse_key(document, "installation") != ref.installation or document.get("runId") != ref.run_id:
        return Unresolved("has a document that names another installation or run than its result does")
    key = document.get("key")
    if key is None or key == "":
        return _plain(ref, document.get("value"))
    if key != f"{ref.run_id}-{ref.name}":
        return Unresolved("has a key that does not name this output, so it is not asked for")
    return Sealed(str(key))


def verified(ref: OutputRef, content: bytes) -> Found | Unresolved:
    """The bytes, if they are those Porter recorded for this output."""
    value = SecretValue(content)
    if ref.digest is not None and not value.matches(ref.digest):
        return Unresolved("does not match the digest that Porter recorded")
    return Found(value)


def unsealed(ref: OutputRef, answer: SecretValue | str) -> Found | Unresolved:
    """What the secret store's answer for the key comes to."""
    if isinstance(answer, str):
        return Unresolved(f"cannot be resolved: {answer}")
    return verified(ref, answer.reveal())


def decode(value: object) -> bytes | None:
    """The bytes of a stored value, None if it is not of the form Porter writes."""
    if type(value) is str:
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return None
    if isinstance(value, bytes) and (not isinstance(value, Binary) or value.subtype == BINARY_SUBTYPE):
        return bytes(value)
    return None


def _plain(ref: OutputRef, value: object) -> Found | Unresolved:
    if value is None:
        return Unresolved("is lost: it has neither value nor key")
    content = decode(value)
    if content is None:
        return Unresolved("has a value that is not base64 text")
    return verified(ref, content)
