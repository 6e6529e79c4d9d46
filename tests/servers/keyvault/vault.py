"""The state of one vault and what its operations do to it. Pure: no I/O, no waiting, the clock is given.

Follows rest/api/keyvault/secrets and key-vault/general/soft-delete-overview on learn.microsoft.com. That a
delete, a recovery and a purge are answered before they are done is said there and by the SDK
(azure.keyvault.secrets, `_shared/_polling.py`): a secret leaves its collection at once and arrives in the
other one later; in between both answer 404. What such a name answers to other operations is known from
reports of the service's own answers only:

- set while deleted: ObjectIsDeletedButRecoverable (github.com/Azure/azure-powershell/issues/14800);
- set while being recovered: ObjectIsBeingRecovered (github.com/Azure/azure-sdk-for-net/issues/31581, where a
  get already succeeded: `reads_while_recovering`);
- purge while being deleted: ObjectIsBeingDeleted (github.com/hashicorp/terraform-provider-azurerm/issues/10454);
- set after a purge that is not done yet: "currently being deleted", while both gets answer 404
  (github.com/Azure/azure-sdk-for-python/issues/19263, github.com/Azure/azure-sdk-for-net/issues/26027).

Assumed, nothing being said: recover while being deleted is refused as a purge is; delete while being deleted
or recovered, and recover or purge while being recovered, are conflicts too; update follows get; lists are in
the order of names, and versions in the order of their identifiers.
"""

from __future__ import annotations

import math
import secrets
from bisect import bisect_right, insort
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.servers.keyvault.model import (
    Active,
    Changes,
    Deleted,
    Deleting,
    NewVersion,
    Phase,
    Purging,
    Recovering,
    Rules,
    Secret,
    VaultError,
    Version,
)

_DAY = 24 * 60 * 60


class VaultState:
    """Names, versions and deleted secrets. Not thread-safe: its owner holds a lock."""

    def __init__(self, clock: Callable[[], float], rules: Rules) -> None:
        self.clock = clock
        self.rules = rules
        self.transition: float | None = 0
        """How long a delete, a recovery or a purge takes; None means until `finish_transitions`."""
        self.reads_while_recovering = False
        self._secrets: dict[str, Secret] = {}
        self._keys: list[str] = []

    def set(self, name: str, new: NewVersion) -> Secret:
        """set-secret: a new version, and the secret itself where there is none."""
        known = self.find(name)
        match known.phase if known else Active():
            case Active():
                return self.put(name, new)
            case Deleted():
                raise _conflict(
                    "ObjectIsDeletedButRecoverable",
                    f"Secret {name} is currently in a deleted but recoverable state, and its name cannot be "
                    "reused; in this state, the secret can only be recovered or purged.",
                )
            case Recovering():
                raise _not_yet(name, "Recovered")
            case Deleting() | Purging():
                raise _not_yet(name, "Deleted")

    def get(self, name: str, version: str | None = None) -> tuple[Secret, Version]:
        """get-secret: the latest version or this one; not of a secret that is disabled (SecretDisabled)."""
        secret, found = self._version(name, version)
        if not found.enabled:
            raise VaultError(
                403, "Forbidden", "Operation get is not allowed on a disabled secret.", "SecretDisabled"
            )
        return secret, found

    def update(self, name: str, version: str | None, changes: Changes) -> tuple[Secret, Version]:
        """update-secret: attributes that are not given stay; tags that are given replace all; no new version."""
        secret, found = self._version(name, version)
        given = {
            key: value
            for key in ("tags", "content_type", "enabled", "not_before", "expires")
            if (value := getattr(changes, key)) is not None
        }
        changed = replace(found, **given, updated=int(self.clock()))
        versions = tuple(changed if old is found else old for old in secret.versions)
        return self._keep(replace(secret, versions=versions)), changed

    def versions(self, name: str) -> tuple[Secret, list[Version]]:
        """get-secret-versions: all of them, of a secret that is not deleted."""
        secret = self._readable(name)
        return secret, sorted(secret.versions, key=lambda each: each.version)

    def listed(self, after: str, limit: int) -> tuple[list[Secret], bool]:
        """get-secrets: up to `limit` secrets whose lower-case name follows `after`; are there more?"""
        return self._page(after, limit, self._is_readable)

    def listed_deleted(self, after: str, limit: int) -> tuple[list[Secret], bool]:
        """get-deleted-secrets: the same, of those whose deletion is done."""
        return self._page(after, limit, lambda secret: isinstance(secret.phase, Deleted))

    def delete(self, name: str) -> Secret:
        """delete-secret: all versions at once, to be recovered until the retention ends."""
        secret = self.find(name)
        match secret.phase if secret else None:
            case Active():
                now = int(self.clock())
                purge = now + self.rules.retention_days * _DAY
                return self._move(name, Deleting(self._until(), now, purge))
            case Deleting():
                raise _conflict("ObjectIsBeingDeleted", "Secret is currently being deleted.")
            case Recovering():
                raise _conflict("ObjectIsBeingRecovered", "Secret is currently being recovered.")
        raise _not_found(name)

    def get_deleted(self, name: str) -> Secret:
        """get-deleted-secret: 404 until the deletion is done."""
        secret = self.find(name)
        if secret is None or not isinstance(secret.phase, Deleted):
            raise VaultError(404, "SecretNotFound", f"Deleted Secret not found: {name}")
        return secret

    def recover(self, name: str) -> Secret:
        """recover-deleted-secret: every version comes back as it was."""
        self._deleted(name)
        return self._move(name, Recovering(self._until()))

    def purge(self, name: str) -> Secret:
        """purge-deleted-secret; soft-delete-overview: not while purge protection is on (code assumed)."""
        self._deleted(name)
        if self.rules.purge_protection:
            raise VaultError(403, "Forbidden", "Operation purge is not allowed with purge protection.")
        return self._move(name, Purging(self._until()))

    def finish_transitions(self) -> None:
        """Whatever is being deleted, recovered or purged is done now."""
        for key, secret in list(self._secrets.items()):
            if isinstance(secret.phase, Deleting | Recovering | Purging):
                self._secrets[key] = replace(secret, phase=replace(secret.phase, until=-math.inf))
            self.find(key)

    def find(self, name: str) -> Secret | None:
        """The secret in whatever phase it is by now."""
        key = name.lower()
        known = self._secrets.get(key)
        settled = known and _settled(known, self.clock())
        if settled is None:
            self._forget(key)
        elif settled is not known:
            self._secrets[key] = settled
        return settled

    def put(self, name: str, new: NewVersion) -> Secret:
        """A new version whatever the phase; the name keeps the case of its first writing."""
        known, now = self.find(name), int(self.clock())
        version = Version(
            version=secrets.token_hex(16),
            value=new.value,
            tags=new.tags,
            content_type=new.content_type,
            enabled=new.enabled,
            not_before=new.not_before,
            expires=new.expires,
            created=now,
            updated=now,
        )
        earlier = known.versions if known else ()
        return self._keep(Secret(known.name if known else name, (*earlier, version), Active()))

    def everything(self) -> Iterator[Secret]:
        """All secrets in whatever phase, in the order of their names."""
        for key in list(self._keys):
            secret = self.find(key)
            if secret is not None:
                yield secret

    def readable(self, name: str) -> Secret | None:
        """The secret if a get would find it."""
        secret = self.find(name)
        return secret if secret and self._is_readable(secret) else None

    def _readable(self, name: str) -> Secret:
        secret = self.readable(name)
        if secret is None:
            raise _not_found(name)
        return secret

    def _is_readable(self, secret: Secret) -> bool:
        match secret.phase:
            case Active():
                return True
            case Recovering():
                return self.reads_while_recovering
        return False

    def _version(self, name: str, version: str | None) -> tuple[Secret, Version]:
        secret = self._readable(name)
        if version is None:
            return secret, secret.latest
        for each in secret.versions:
            if each.version == version.lower():
                return secret, each
        raise _not_found(f"{name}/{version}")

    def _deleted(self, name: str) -> Secret:
        secret = self.find(name)
        match secret.phase if secret else None:
            case Deleted() if secret:
                return secret
            case Deleting():
                raise _conflict("ObjectIsBeingDeleted", "Secret is currently being deleted.")
            case Recovering():
                raise _conflict("ObjectIsBeingRecovered", "Secret is currently being recovered.")
        raise _not_found(name)

    def _page(self, after: str, limit: int, wanted: Callable[[Secret], bool]) -> tuple[list[Secret], bool]:
        page: list[Secret] = []
        for key in self._keys[bisect_right(self._keys, after) :]:
            secret = self.find(key)
            if secret is None or not wanted(secret):
                continue
            if len(page) == limit:
                return page, True
            page.append(secret)
        return page, False

    def _move(self, name: str, phase: Phase) -> Secret:
        return self._keep(replace(self._secrets[name.lower()], phase=phase))

    def _keep(self, secret: Secret) -> Secret:
        key = secret.name.lower()
        if key not in self._secrets:
            insort(self._keys, key)
        self._secrets[key] = secret
        return secret

    def _forget(self, key: str) -> None:
        if self._secrets.pop(key, None) is not None:
            self._keys.remove(key)

    def _until(self) -> float:
        return math.inf if self.transition is None else self.clock() + self.transition


def _settled(secret: Secret, now: float) -> Secret | None:
    """The secret after the transitions whose time has come; None when it is gone for good."""
    match secret.phase:
        case Deleting(until, deleted, purge) if now >= until:
            return _settled(replace(secret, phase=Deleted(deleted, purge)), now)
        case Recovering(until) if now >= until:
            return replace(secret, phase=Active())
        case Purging(until) if now >= until:
            return None
        case Deleted(purge=purge) if now >= purge:
            return None
    return secret


def _conflict(inner: str, message: str) -> VaultError:
    return VaultError(409, "Conflict", message, inner)


def _not_yet(name: str, state: str) -> VaultError:
    message = f"Secret {name} is currently being {state.lower()} and cannot be re-created; retry later."
    return _conflict(f"ObjectIsBeing{state}", message)


def _not_found(name: str) -> VaultError:
    return VaultError(
        404, "SecretNotFound", f"A secret with (name/id) {name} was not found in this key vault."
    )
