"""What a lease says, and how Kubernetes writes that down (coordination.k8s.io/v1).

Pure. A lease somebody else made, or edited, may lack any field or hold anything in it: that is read as
"not said". Times are texts that nobody here reads: clocks of two machines are never compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backends.errors import PreconditionFailed

Json = dict[str, Any]


class LeaseTaken(PreconditionFailed):
    """The lease is not what it was when it was read: somebody else wrote it meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """Who holds a lease, and for how long."""

    holder: str
    """"" where nobody does."""
    seconds: int
    """How long it holds from each renewal on; 0 where it does not say."""
    acquired: str
    renewed: str
    transitions: int
    """How often it went from one holder to another."""


def micro_time(moment: datetime) -> str:
    """As Kubernetes writes the times of leases. `moment` is in UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def read_record(lease: Mapping[str, Any]) -> LeaseRecord:
    """What a lease says, as far as that can be understood."""
    spec = lease.get("spec")
    spec = spec if isinstance(spec, Mapping) else {}
    return LeaseRecord(
        holder=_text(spec.get("holderIdentity")),
        seconds=_count(spec.get("leaseDurationSeconds")),
        acquired=_text(spec.get("acquireTime")),
        renewed=_text(spec.get("renewTime")),
        transitions=_count(spec.get("leaseTransitions")),
    )


def new_lease(name: str, record: LeaseRecord) -> Json:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name},
        "spec": _spec(record),
    }


def changed_lease(lease: Mapping[str, Any], record: LeaseRecord) -> Json:
    """The lease with another record; whatever else is in it stays."""
    spec = lease.get("spec")
    return {**lease, "spec": {**(spec if isinstance(spec, Mapping) else {}), **_spec(record)}}


def _spec(record: LeaseRecord) -> Json:
    return {
        # NB: the API server takes no empty text here.
        "holderIdentity": record.holder or None,
        "leaseDurationSeconds": record.seconds,
        "acquireTime": record.acquired,
        "renewTime": record.renewed,
        "leaseTransitions": record.transitions,
    }


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
