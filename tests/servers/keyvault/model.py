"""What a vault holds and what it refuses with: versions, secrets, their phases, rules, errors.

No behaviour and no I/O. The names of phases are ours; what may be done in which is said in `vault`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias


class Operation(StrEnum):
    """The part of the secrets API that is served; its words are those of logs, counters and faults."""

    SET = "set"
    GET = "get"
    UPDATE = "update"
    LIST = "list"
    VERSIONS = "versions"
    DELETE = "delete"
    GET_DELETED = "get_deleted"
    LIST_DELETED = "list_deleted"
    RECOVER = "recover"
    PURGE = "purge"
    UNKNOWN = "unknown"


WRITES = frozenset(
    (Operation.SET, Operation.UPDATE, Operation.DELETE, Operation.RECOVER, Operation.PURGE),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How one vault was set up, and the sizes its service admits.

    The sizes are those of key-vault/secrets/about-secrets: 25 kB of value, 255 characters of content type,
    15 tags with names and values of 512 characters (the page said 256 until the end of 2023).
    The retention is that of key-vault/general/soft-delete-overview: 7 to 90 days, 90 unless configured.
    """

    value_bytes: int = 25 * 1024
    content_type_characters: int = 255
    tags: int = 15
    tag_characters: int = 512
    page: int = 25
    retention_days: int = 90
    purge_protection: bool = False

    @property
    def recovery_level(self) -> str:
        """DeletionRecoveryLevel of rest/api/keyvault/secrets/get-secret."""
        base = "Recoverable" if self.retention_days == 90 else "CustomizedRecoverable"
        return base if self.purge_protection else f"{base}+Purgeable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a secret, as it is now."""

    version: str
    value: str = field(repr=False)
    tags: Mapping[str, str] | None
    content_type: str | None
    enabled: bool
    not_before: int | None
    expires: int | None
    created: int
    updated: int


@dataclass(frozen=True, slots=True)
class Active:
    """In use."""


@dataclass(frozen=True, slots=True)
class Deleting:
    """A DELETE was answered; the secret is on its way to the deleted ones."""

    until: float
    deleted: int
    purge: int


@dataclass(frozen=True, slots=True)
class Deleted:
    """Among the deleted ones, from `deleted` on, until `purge` at the latest."""

    deleted: int
    purge: int


@dataclass(frozen=True, slots=True)
class Recovering:
    """A recovery was answered; the secret is on its way back."""

    until: float


@dataclass(frozen=True, slots=True)
class Purging:
    """A purge was answered; the name is not free yet."""

    until: float


Phase: TypeAlias = Active | Deleting | Deleted | Recovering | Purging


@dataclass(frozen=True, slots=True)
class Secret:
    """A name with all its versions, oldest first."""

    name: str
    """In the case in which it was first written."""
    versions: tuple[Version, ...]
    phase: Phase

    @property
    def latest(self) -> Version:
        return self.versions[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion:
    """What a set brings."""

    value: str = field(repr=False)
    tags: Mapping[str, str] | None = None
    content_type: str | None = None
    enabled: bool = True
    not_before: int | None = None
    expires: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What an update brings; what is None stays as it is."""

    tags: Mapping[str, str] | None = None
    content_type: str | None = None
    enabled: bool | None = None
    not_before: int | None = None
    expires: int | None = None


class VaultError(Exception):
    """A refusal, in the words of key-vault/general/authentication-requests-and-responses, "Error Responses"."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        inner: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.inner = inner
        self.headers = headers or {}
