"""One vault as a test holds it: its address, its log and faults, and the hands of somebody else on its secrets.

Every method may be called from any thread. What is done here is not checked, throttled or logged as a request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from tests.servers.keyvault.clock import Clock
from tests.servers.keyvault.endpoint import Endpoint
from tests.servers.keyvault.faults import Faults
from tests.servers.keyvault.journal import Request
from tests.servers.keyvault.model import Active, Changes, Deleted, NewVersion, Secret, Version
from tests.servers.keyvault.service import VaultService
from tests.servers.keyvault.throttle import WINDOW, Limits
from tests.servers.keyvault.tokens import Identity


class Vault:
    """One vault: its address, and the hands of somebody else on what it holds."""

    def __init__(self, service: VaultService, endpoint: Endpoint, clock: Clock) -> None:
        self.clock = clock
        self._service = service
        self._state = service.state
        self._endpoint = endpoint

    def __repr__(self) -> str:
        return f"Vault({self.url!r})"

    @property
    def url(self) -> str:
        return self._endpoint.url

    @property
    def faults(self) -> Faults:
        """What happens to which requests; see `tests.servers.keyvault.faults`."""
        return self._service.faults

    @property
    def writes(self) -> int:
        """How often the API set, updated, deleted, recovered or purged something."""
        return self._service.journal.writes

    def requests(self) -> tuple[Request, ...]:
        """The log of the API: 401 included, what is planted here is not."""
        return self._service.journal.requests()

    def counts(self) -> Counter[str]:
        """How often each operation was asked for with a good token."""
        return self._service.journal.counts()

    def busiest(self, operation: str = "set", seconds: float = WINDOW) -> int:
        """The largest number of such requests within any `seconds` of the vault's clock."""
        return self._service.journal.busiest(operation, seconds)

    def forget_requests(self) -> None:
        """Log and counters begin anew."""
        self._service.journal.clear()

    def set_limits(self, limits: Limits | None) -> None:
        """The service's throttling from now on; None is none."""
        with self._service.lock:
            self._service.throttle.limits = limits

    def set_transition(self, seconds: float | None, *, reads_while_recovering: bool = False) -> None:
        """How long deletes, recoveries and purges take from now on; None: until `finish_transitions`."""
        with self._service.lock:
            self._state.transition = seconds
            self._state.reads_while_recovering = reads_while_recovering

    def finish_transitions(self) -> None:
        """What is being deleted, recovered or purged is done."""
        with self._service.lock:
            self._state.finish_transitions()

    def permit(self, identity: Identity, permissions: Collection[str], *, rbac: bool = False) -> None:
        """What the identity may do in this vault from now on; `rbac` chooses the words of a refusal."""
        with self._service.lock:
            self._service.permitted[identity.client_id] = frozenset(permissions)
            self._service.rbac = rbac

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Inside the block connections to this vault are refused."""
        with self._endpoint.refusing():
            yield

    def put(
        self,
        name: str,
        value: str,
        *,
        tags: Mapping[str, str] | None = None,
        content_type: str | None = None,
        enabled: bool = True,
        not_before: int | None = None,
        expires: int | None = None,
    ) -> Version:
        """Somebody else writes a new version, of a deleted name too, and of any size."""
        new = NewVersion(
            value=value,
            tags=tags,
            content_type=content_type,
            enabled=enabled,
            not_before=not_before,
            expires=expires,
        )
        with self._service.lock:
            return self._state.put(name, new).latest

    def read(self, name: str) -> Version | None:
        """The latest version, enabled or not; None where there is none or it is deleted."""
        secret = self._find(name)
        return secret.latest if secret and isinstance(secret.phase, Active) else None

    def versions(self, name: str) -> tuple[Version, ...]:
        """All versions, oldest first; of a deleted secret too."""
        secret = self._find(name)
        return secret.versions if secret else ()

    def deleted(self, name: str) -> Version | None:
        """The latest version of a secret whose deletion is done."""
        secret = self._find(name)
        return secret.latest if secret and isinstance(secret.phase, Deleted) else None

    def names(self) -> list[str]:
        """The names in use."""
        return self._names(Active)

    def deleted_names(self) -> list[str]:
        """The names of secrets whose deletion is done."""
        return self._names(Deleted)

    def set_tags(self, name: str, tags: Mapping[str, str]) -> None:
        """Somebody else's PATCH of the latest version's tags."""
        self.update(name, Changes(tags=tags))

    def update(self, name: str, changes: Changes) -> None:
        """Somebody else's PATCH of the latest version."""
        with self._service.lock:
            self._state.update(name, None, changes)

    def soft_delete(self, name: str) -> None:
        """Somebody else deletes it; it takes as long as any other deletion."""
        with self._service.lock:
            self._state.delete(name)

    def recover(self, name: str) -> None:
        """Somebody else recovers it."""
        with self._service.lock:
            self._state.recover(name)

    def purge(self, name: str) -> None:
        """Somebody else purges it."""
        with self._service.lock:
            self._state.purge(name)

    def close(self) -> None:
        """Ends its service and releases what its faults hold."""
        self.faults.clear()
        self._endpoint.close()

    def _find(self, name: str) -> Secret | None:
        with self._service.lock:
            return self._state.find(name)

    def _names(self, phase: type[Active | Deleted]) -> list[str]:
        with self._service.lock:
            return [each.name for each in self._state.everything() if isinstance(each.phase, phase)]
