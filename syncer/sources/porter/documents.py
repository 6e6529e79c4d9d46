"""Judges raw documents of Porter's database: what is used is checked first, the rest ignored.

Pure. A document that cannot be trusted becomes a reason, a `str` that names collection and
document and never quotes a value; nothing here raises for what a document holds. Outputs'
values are judged in `values`, bundles in `bundle`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeGuard

from backends.secret_value import EMPTY_DIGEST
from syncer.core.model import InstallationKey, InstallationState
from syncer.core.ulid import is_ulid
from syncer.sources.porter.store import Document
from syncer.sources.porter.times import nanoseconds

SUPPORTED_SCHEMA: Final = "1.0.2"
"""The only version of Porter's installations schema there is in Porter 1.x."""

MAX_NAME: Final = 1024
"""Characters of any name; Porter's own are far shorter."""
MAX_OUTPUTS: Final = 10_000
"""Outputs one result may list."""
MAX_LABELS: Final = 10_000

_DIGEST: Final = re.compile("sha256:([0-9a-f]{64})").fullmatch
_DIGESTS: Final = re.compile("(?:sha256:[0-9a-f]{64})+").fullmatch
_PREFIX: Final = len("sha256:")
_DIGEST_LENGTHS: Final = {_PREFIX + 64}
_UNREADABLE: Final = "(unreadable installation document "

Stamp = tuple[object, object, object]
"""id, status.resultId, status.modified: equal before and after, the installation did not change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which installation a document is, and in which life."""

    key: InstallationKey
    id: str
    """"" where the document has none that can be read."""
    stamp: str
    """Another one after every action, new label or new life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationRecord:
    """What a snapshot needs of an installation's document."""

    key: InstallationKey
    id: str
    labels: Mapping[str, str]
    state: InstallationState
    result_id: object
    """The result that the status names, where it names one."""
    last_run_failed: bool
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class ResultHead:
    """A succeeded result, by name only."""

    id: str
    run_id: str


def is_name(value: object) -> TypeGuard[str]:
    """Whether it is text that may name something: not empty, not endless, no broken UTF-8 in it.

    NB: `type(...) is str` here and beside: JavaScript in BSON is a `str` to Python, of a kind that no
    set or dictionary takes.
    """
    return type(value) is str and 0 < len(value) <= MAX_NAME and _encodable(value)


def describe(collection: str, document: Document) -> str:
    """Names a document for a reason: by its `_id`, whatever type that is."""
    found = document.get("_id")
    shown = repr(found[:64]) if isinstance(found, str) else str(found)[:64]
    if isinstance(found, dict | list | bytes):
        shown = f"of type {type(found).__name__}"
    return f"{collection} document {shown}"


def parse_schema(document: Document | None) -> str | None:
    """Why this schema document forbids reading; None if it does not."""
    found = None if document is None else document.get("installations")
    if found == SUPPORTED_SCHEMA:
        return None
    if not is_name(found):
        return "its schema version cannot be told: it is not migrated to Porter 1.x, or no Porter database"
    return f"its installations schema is {found!r}, and only {SUPPORTED_SCHEMA} is known here"


def parse_key(document: Document, name_field: str) -> InstallationKey | None:
    """The installation a document belongs to; None where the names are none."""
    namespace, name = document.get("namespace"), document.get(name_field)
    if not is_name(name) or not (namespace == "" or is_name(namespace)):
        return None
    assert isinstance(namespace, str)
    return InstallationKey(namespace, name)


def parse_identity(document: Document) -> Identity:
    """One line of the list of installations.

    A document that does not say which installation it is is listed under a name of its own
    and with the id "", so that nobody concludes from it that some installation is gone.
    """
    found = document.get("id")
    key = parse_key(document, "name")
    if key is None:
        made_up = f"{_UNREADABLE}{describe('installations', document)})"
        return Identity(key=InstallationKey("", made_up), id="", stamp=_listed_stamp(document))
    return Identity(key=key, id=found if is_name(found) else "", stamp=_listed_stamp(document))


def unreadable(key: InstallationKey) -> bool:
    """Whether the key was made up by `parse_identity`."""
    return key.namespace == "" and key.name.startswith(_UNREADABLE)


def stamp(document: Document) -> Stamp:
    status = _status(document)
    return document.get("id"), status.get("resultId"), status.get("modified")


def _listed_stamp(document: Document) -> str:
    """NB: made for every installation every few seconds."""
    marks = repr((stamp(document), document.get("labels")))
    return hashlib.blake2b(marks.encode(), digest_size=8).hexdigest()


def parse_installation(key: InstallationKey, document: Document) -> InstallationRecord | str:
    """The record, or why the document cannot be trusted."""
    where = describe("installations", document)
    status, found = _status(document), document.get("id")
    labels = _labels(document.get("labels"))
    state = state_of(status)
    if not is_ulid(found):
        return f"{where}: its id is missing or no ULID"
    if labels is None:
        return f"{where}: its labels are not a map of text to text"
    if state is None:
        return f"{where}: status.installed or status.uninstalled is no time"
    return InstallationRecord(
        key=key,
        id=found,
        labels=labels,
        state=state,
        result_id=status.get("resultId"),
        last_run_failed=status.get("resultStatus") == "failed",
        stamp=stamp(document),
    )


def parse_head(document: Document) -> ResultHead | str | None:
    """The result, why it cannot be trusted, or None for one that did not succeed."""
    if document.get("status") != "succeeded":
        return None
    found, run_id = document.get("_id"), document.get("runId")
    if not is_ulid(found):
        return f"{describe('results', document)}: its id is no ULID, so its age cannot be told"
    if type(run_id) is not str:
        return f"{describe('results', document)}: its runId is no text"
    return ResultHead(found, run_id)


def parse_outputs(document: Document) -> dict[str, str | None] | str | None:
    """Output names and digests of a result, why they cannot be read, or None where Porter recorded none.

    In the last case the documents of the outputs have to be asked which there are.
    """
    outputs = _digests(document.get("outputs"))
    return f"{describe('results', document)}: {outputs}" if isinstance(outputs, str) else outputs


def _digests(outputs: object) -> dict[str, str | None] | str | None:
    """NB: the hottest loop of a pass: ordinary entries are judged all at once, others one by one."""
    if outputs is None or outputs == {}:
        return None
    if not isinstance(outputs, dict):
        return "its list of outputs is no map"
    recorded: list[str] = []
    try:
        recorded = [entry["contentDigest"] for entry in outputs.values()]
        ordinary = set(map(len, recorded)) == _DIGEST_LENGTHS and _DIGESTS("".join(recorded))
    except (TypeError, KeyError):
        ordinary = None
    names = _names(tuple(outputs)) if ordinary else None
    if names is None:
        return _digests_one_by_one(outputs)
    return {name: digest[_PREFIX:] for name, digest in zip(names, recorded, strict=True)}


def _digests_one_by_one(outputs: Mapping[str, object]) -> dict[str, str | None] | str:
    if len(outputs) > MAX_OUTPUTS:
        return f"it lists more than {MAX_OUTPUTS} outputs"
    digests: dict[str, str | None] = {}
    for name, entry in outputs.items():
        if not isinstance(entry, dict) or not is_name(name):
            return "its list of outputs has an entry that cannot be read"
        recorded = entry.get("contentDigest")
        if recorded is None:
            digests[name] = EMPTY_DIGEST
        elif type(recorded) is str and (match := _DIGEST(recorded)):
            digests[name] = match[1]
        else:
            return f"the digest of output {name!r} is not of the form sha256:<64 hex digits>"
    return digests


@lru_cache(maxsize=1024)
def _names(names: tuple[object, ...]) -> tuple[str, ...] | None:
    """The names, if they are some. NB: one object for all results that list the same; they are many."""
    good = tuple(filter(is_name, names)) if len(names) <= MAX_OUTPUTS else ()
    return good if len(good) == len(names) else None


def _status(document: Document) -> Document:
    status = document.get("status")
    return status if isinstance(status, dict) else {}


def _labels(labels: object) -> Mapping[str, str] | None:
    if labels is None:
        return {}
    if not isinstance(labels, dict) or len(labels) > MAX_LABELS:
        return None
    readable = all(type(value) is str and _encodable(value) for value in labels.values())
    return dict(labels) if readable and all(map(_encodable, labels)) else None


def state_of(status: Document) -> InstallationState | None:
    """As Porter decides it: set later wins, and at the same moment neither does."""
    installed, uninstalled = status.get("installed"), status.get("uninstalled")
    if not all(moment is None or type(moment) is str for moment in (installed, uninstalled)):
        return None
    if installed is None:
        return InstallationState.DEFINED if uninstalled is None else InstallationState.UNINSTALLED
    if uninstalled is None:
        return InstallationState.INSTALLED
    start, end = nanoseconds(installed), nanoseconds(uninstalled)
    if start is None or end is None:
        return None
    if start == end:
        return InstallationState.DEFINED
    return InstallationState.INSTALLED if start > end else InstallationState.UNINSTALLED


def _encodable(text: str) -> bool:
    """False for text with lone surrogates: bytes that were no UTF-8."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
