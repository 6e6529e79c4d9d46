"""Who calls, and what may be asked for: the words in which access is decided.

Values only. Who somebody is and what is allowed to whom is said by an `Access` (syncer.api.access).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who has shown who they are."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What else Kubernetes knows of its user."""

    @property
    def identity(self) -> Hashable:
        """Equal exactly for callers that are told apart by nothing."""
        return self.name, self.groups, self.uid, tuple(sorted(self.extra.items()))


class Resource(Enum):
    """What there is to read: resources of the group outputs.porter.sh, with their subresources."""

    INSTALLATIONS = "installations"
    OUTPUTS = "installations/outputs"
    SENSITIVE_OUTPUTS = "installations/sensitiveoutputs"


class Verb(Enum):
    """What can be done with it."""

    GET = "get"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Permission:
    """What is asked for. Each permission stands for itself: none implies another."""

    verb: Verb
    resource: Resource
    namespace: str | None
    """Porter's namespace, "" for the global one; None for all of them at once."""
    name: str = ""
    """Of the installation; "" for any."""
