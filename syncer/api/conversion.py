"""Rows as messages of the API. Pure.

Text of the database that is no UTF-8 gets U+FFFD where it is broken, as in what Porter prints; times become
moments, and one that was never recorded is left unset.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from google.protobuf import struct_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from syncer.api._generated.installation.v1alpha1 import installation_pb2 as porters
from syncer.api._generated.porter.outputs.v1alpha1 import porter_bundle_pb2 as ours
from syncer.core.model import InstallationState
from syncer.core.rows import InstallationRow, OutputRow, RunRow

_NEVER: Final = "0001-01-01T00:00:00Z"
"""What Go, and so Porter, writes for a time that was never set."""
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_MOMENTS: Final = range(-62_135_596_800, 253_402_300_800)
"""Seconds that a Timestamp may have; clients cannot print others."""
_DEEPEST: Final = 16
"""Levels of custom data; clients refuse messages that are nested much deeper."""
_STATES: Final = {
    InstallationState.DEFINED: ours.INSTALLATION_STATE_DEFINED,
    InstallationState.INSTALLED: ours.INSTALLATION_STATE_INSTALLED,
    InstallationState.UNINSTALLED: ours.INSTALLATION_STATE_UNINSTALLED,
}


def installation(row: InstallationRow) -> ours.Installation:
    status = {name: text(value) for name, value in row.status.items() if value is not None}
    return ours.Installation(
        id=text(row.id),
        namespace=text(row.namespace),
        name=text(row.name),
        schema_version=text(row.schema_version),
        uninstalled=row.uninstalled,
        bundle=ours.BundleReference(**{part: text(value) for part, value in row.bundle.items()}),
        labels={text(name): text(value) for name, value in row.labels.items()},
        credential_sets=map(text, row.credential_sets),
        parameter_sets=map(text, row.parameter_sets),
        status=ours.InstallationStatus(
            run_id=status["runId"],
            action=status["action"],
            result_id=status["resultId"],
            result_status=status["resultStatus"],
            created=moment(row.status["created"]),
            modified=moment(row.status["modified"]),
            installed=moment(row.status["installed"]),
            uninstalled=moment(row.status["uninstalled"]),
            bundle_reference=status["bundleReference"],
            bundle_version=status["bundleVersion"],
            bundle_digest=status["bundleDigest"],
        ),
        state=_STATES[row.state],
        display_status=text(row.display_status),
        custom=_struct(row.custom),
    )


def run(row: RunRow) -> ours.Run:
    return ours.Run(
        id=text(row.id),
        bundle_reference=text(row.bundle),
        bundle_version=text(row.version),
        action=text(row.action),
        started=moment(row.started),
        stopped=moment(row.stopped),
        status=text(row.status),
    )


def porters_installation(row: InstallationRow) -> porters.Installation:
    """As Porter's own API has it; what that has no field for is left out."""
    status = {name: text(value) for name, value in row.status.items() if value is not None}
    return porters.Installation(
        id=text(row.id),
        schema_type="Installation",
        schema_version=text(row.schema_version),
        name=text(row.name),
        namespace=text(row.namespace),
        bundle=porters.Bundle(repository=text(row.bundle["repository"]), version=text(row.bundle["version"])),
        credential_sets=map(text, row.credential_sets),
        parameter_sets=map(text, row.parameter_sets),
        status=porters.InstallationStatus(
            run_id=status["runId"],
            action=status["action"],
            result_id=status["resultId"],
            result_status=status["resultStatus"],
            created=moment(row.status["created"]),
            modified=moment(row.status["modified"]),
            installed=moment(row.status["installed"]),
            uninstalled=moment(row.status["uninstalled"]),
            bundle_reference=status["bundleReference"],
            bundle_version=status["bundleVersion"],
            bundle_digest=status["bundleDigest"],
        ),
        calculated=porters.Calculated(
            display_installation_state=row.state.value,
            display_installation_status=text(row.display_status),
            resolved_parameters=struct_pb2.NULL_VALUE,
        ),
    )


def porters_value(row: OutputRow) -> porters.PorterValue:
    """NB: Porter's API knows text only, so bytes that are none do not survive."""
    value = None
    if row.value is not None:
        value = struct_pb2.Value(string_value=row.value.reveal().decode("utf-8", "replace"))
    return porters.PorterValue(name=text(row.name), type=text(row.type), sensitive=row.sensitive, value=value)


def text(stored: str) -> str:
    """The same, with U+FFFD for each broken piece."""
    return (
        stored if stored.isascii() else stored.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )


def moment(time: str | None) -> Timestamp | None:
    """Of a time as Porter writes it; None for one that was never set, or is none."""
    match = None if time is None or time == _NEVER else _TIME.fullmatch(time)
    if match is None:
        return None
    try:
        seconds = int(datetime.fromisoformat(match[1] + match[3]).timestamp())
    except (ValueError, OverflowError):
        return None
    if seconds not in _MOMENTS:
        return None
    return Timestamp(seconds=seconds, nanos=int((match[2] or "").ljust(9, "0")))


def _struct(custom: object) -> struct_pb2.Struct | None:
    return _fields(custom, _DEEPEST) if isinstance(custom, Mapping) else None


def _fields(mapping: Mapping[object, object], levels: int) -> struct_pb2.Struct:
    return struct_pb2.Struct(fields={text(str(name)): _value(item, levels) for name, item in mapping.items()})


def _value(item: object, levels: int) -> struct_pb2.Value:
    """NB: what is nested too deeply, or no JSON number, becomes null."""
    match item:
        case Mapping() if levels:
            return struct_pb2.Value(struct_value=_fields(item, levels - 1))
        case list() if levels:
            values = [_value(one, levels - 1) for one in item]
            return struct_pb2.Value(list_value=struct_pb2.ListValue(values=values))
        case bool():
            return struct_pb2.Value(bool_value=item)
        case int() | float() if math.isfinite(item):
            return struct_pb2.Value(number_value=item)
        case None | float() | Mapping() | list():
            return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    return struct_pb2.Value(string_value=text(str(item)))
