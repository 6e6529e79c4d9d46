"""The status of a resource, conditions aside: the outputs as they are shown, and whether they stand. Pure.

The one place where values become text that people may read, hence the one that leaves sensitive ones out.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from backends.contract import DesiredSecret
from backends.installation_outputs.description import DescribedOutput, Description
from backends.secret_value import SecretValue
from backends.texts import read_text, stored_text

Json = dict[str, Any]

MAX_VALUE: Final = 4096
"""Bytes of text that are shown of one value."""
MAX_VALUES: Final = 128 * 1024
"""Bytes of text that are shown of all values: some take six times as much in the API server's database."""

_MAX_TYPE: Final = 64
_DIGEST_LENGTH: Final = 32
_BASE64: Final = "base64"
_CONDITIONS: Final = "conditions"
_DIGEST: Final = "digest"


def shown(desired: DesiredSecret, described: Description, generation: int) -> Json:
    """The status without conditions and digest; references only to Secrets beside the resource."""
    namespace = desired.address.partition("/")[0]
    run = {"run": described.run, "result": described.result, "action": described.action}
    binding = None if described.binding is None else _beside(described.binding, namespace)
    return {
        "observedGeneration": generation,
        **{name: text for name, text in run.items() if text},
        "revision": desired.mark.revision,
        "outputs": list(_outputs(described.outputs, desired.data, namespace)),
        **({} if binding is None else {"binding": {"name": binding}}),
    }


def sealed(status: Json, conditions: list[Json]) -> Json:
    """The whole status, with a digest to notice edits by."""
    whole = status | {_CONDITIONS: conditions}
    return whole | {_DIGEST: digest(whole)}


def is_intact(status: Mapping[str, Any], revision: str, generation: object) -> bool:
    """Whether it is what was written last, of this revision, and about the spec as it is."""
    return (
        status.get("revision") == revision
        and status.get("observedGeneration") == generation
        and status.get(_DIGEST) == digest(status)
    )


def digest(status: Mapping[str, Any]) -> str:
    """Over all that is written, of conditions only which there are: they change by themselves.

    NB: no leak. What it is made of stands beside it, and nothing sensitive is among that.
    """
    content = {name: found for name, found in status.items() if name not in (_DIGEST, _CONDITIONS)}
    content[_CONDITIONS] = sorted(str(one.get("type")) for one in status.get(_CONDITIONS) or ())
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:_DIGEST_LENGTH]


def values(status: Mapping[str, Any]) -> dict[str, SecretValue] | None:
    """The bytes that are shown; None where one of them is not shown whole, or cannot be read."""
    found: dict[str, SecretValue] = {}
    for output in status.get("outputs") or ():
        if output.get("truncated"):
            return None
        if "value" in output:
            value = read_text(output["value"], is_base64=output.get("encoding") == _BASE64)
            if value is None:
                return None
            found[output["name"]] = value
    return found


def _outputs(
    described: Iterable[DescribedOutput], data: Mapping[str, SecretValue], namespace: str
) -> Iterable[Json]:
    room = MAX_VALUES
    for output in sorted(described, key=lambda one: one.name):
        entry: Json = {"name": output.name, "type": output.type[:_MAX_TYPE], "sensitive": output.sensitive}
        if not output.sensitive and output.name in data:
            entry |= _value(data[output.name], min(MAX_VALUE, room))
            room -= len(entry["value"].encode())
        if output.secret is not None and (name := _beside(output.secret.address, namespace)):
            entry["secretKeyRef"] = {"name": name, "key": output.secret.key}
        yield entry


def _value(value: SecretValue, room: int) -> Json:
    """The value as text of at most so many bytes, cut at a character."""
    stored = stored_text(value)
    if not stored.is_base64:
        text = stored.text.encode()[:room].decode(errors="ignore")
        return {"value": text} | _cut(len(text) < len(stored.text))
    # Three bytes become four letters; whatever is shown of them can be read by itself.
    content = value.reveal()[: room // 4 * 3]
    entry = {"value": base64.b64encode(content).decode("ascii"), "encoding": _BASE64}
    return entry | _cut(len(content) < len(value))


def _cut(is_cut: bool) -> Json:  # noqa: FBT001
    return {"truncated": True} if is_cut else {}


def _beside(address: str, namespace: str) -> str | None:
    """The name of a Secret in this namespace. NB: a reference cannot name another one."""
    where, _, name = address.partition("/")
    return name if where == namespace and name else None
