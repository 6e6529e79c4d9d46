"""Hands of the administrator, or of anybody with a token, in a test server: reads, writes, mounts, tokens.

Blocking, on requests: it arranges and inspects, while the product talks through its own client. It
retries nothing and follows no redirects.
"""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import requests

Json = dict[str, Any]

_TIMEOUT = 30  # seconds
_PATIENCE = 10  # seconds
_MERGE = "application/merge-patch+json"


class BaoError(Exception):
    """The server refused; `status` is the HTTP status, `errors` its own words."""

    def __init__(self, status: int, errors: tuple[str, ...]) -> None:
        super().__init__(f"{status}: {', '.join(errors)}")
        self.status = status
        self.errors = errors


@dataclass(frozen=True, slots=True)
class BaoAnswer:
    """What came back, whatever its status; `body` is empty where there was none, and may hold secrets."""

    status: int
    headers: Mapping[str, str]
    body: Json = field(repr=False)

    @property
    def data(self) -> Json:
        """What was asked for."""
        found: Json = self.body.get("data") or {}
        return found

    @property
    def errors(self) -> tuple[str, ...]:
        """The server's complaints; a 404 without any means that there is nothing."""
        return tuple(self.body.get("errors") or ())


class BaoApi(ABC):
    """What tests do to a server, made of single requests. A path begins after /v1/ and is not quoted."""

    @abstractmethod
    def send(
        self, method: str, path: str, body: Mapping[str, object] | None = None, **query: str
    ) -> BaoAnswer:
        """One request, whatever becomes of it."""

    def request(
        self, method: str, path: str, body: Mapping[str, object] | None = None, **query: str
    ) -> BaoAnswer:
        """One request; raises BaoError for any status from 300 on."""
        answer = self.send(method, path, body, **query)
        if answer.status >= 300:
            raise BaoError(answer.status, answer.errors)
        return answer

    def write(self, path: str, data: Mapping[str, object]) -> Json:
        """Creates or replaces; returns the data of the answer."""
        return self.request("POST", path, data).data

    def patch(self, path: str, data: Mapping[str, object]) -> Json:
        """Merges into what is there; None removes a field."""
        return self.request("PATCH", path, data).data

    def read(self, path: str) -> Json | None:
        """The data, or None where there is none (a deleted version of a secret counts as none)."""
        try:
            return self.request("GET", path).data
        except BaoError as error:
            if error.status == 404:
                return None
            raise

    def delete(self, path: str) -> None:
        """Deletes; it is fine where there is nothing."""
        self.request("DELETE", path)

    def list(self, path: str) -> list[str]:
        """The names below a path, in order; none where there is nothing."""
        try:
            found: list[str] = self.request("LIST", path).data["keys"]
        except BaoError as error:
            if error.status == 404:
                return []
            raise
        return found

    def mount(self, version: Literal[1, 2] = 2, **config: object) -> str:
        """A fresh KV engine; `config` is that of version 2: cas_required, max_versions, delete_version_after."""
        path = f"kv-{secrets.token_hex(4)}"
        self.write(f"sys/mounts/{path}", {"type": "kv", "options": {"version": str(version)}})
        if version == 2:
            self._until_upgraded(path)
        if config:
            self.write(f"{path}/config", config)
        return path

    def _until_upgraded(self, path: str) -> None:
        # NB: an engine of version 2 begins as one of version 1, and refuses everything for a moment.
        deadline = time.monotonic() + _PATIENCE
        while self.send("GET", f"{path}/config").status == 400 and time.monotonic() < deadline:
            time.sleep(0.01)

    def unmount(self, path: str) -> None:
        """Removes an engine with all its secrets."""
        self.delete(f"sys/mounts/{path}")

    def namespace(self) -> str:
        """The name of a fresh namespace."""
        name = f"ns-{secrets.token_hex(4)}"
        self.write(f"sys/namespaces/{name}", {})
        return name

    def policy(self, name: str, text: str) -> None:
        """Creates or replaces a policy."""
        self.write(f"sys/policies/acl/{name}", {"policy": text})

    def fresh_policy(self, text: str) -> str:
        """The name of a policy of its own."""
        name = f"test-{secrets.token_hex(4)}"
        self.policy(name, text)
        return name

    def token(
        self,
        policy_text: str,
        *,
        ttl: str = "1h",
        renewable: bool = True,
        type: Literal["service", "batch"] = "service",  # noqa: A002 - the server's word
        period: str | None = None,
        explicit_max_ttl: str | None = None,
        default_policy: bool = True,
    ) -> str:
        """A token with this policy, and with the default one unless told otherwise."""
        limits = {"period": period, "explicit_max_ttl": explicit_max_ttl}
        body = {
            "policies": [self.fresh_policy(policy_text)],
            "no_default_policy": not default_policy,
            "ttl": ttl,
            "renewable": renewable and type == "service",  # a batch token never is
            "type": type,
            **{name: limit for name, limit in limits.items() if limit is not None},
        }
        token: str = self.request("POST", "auth/token/create-orphan", body).body["auth"]["client_token"]
        return token

    def revoke(self, token: str) -> None:
        """Ends a service token at once; a batch token cannot be revoked."""
        self.write("auth/token/revoke", {"token": token})


@dataclass(frozen=True, slots=True)
class BaoClient(BaoApi):
    """Somebody with a token, in a namespace or none."""

    url: str
    token_value: str = field(repr=False)
    session: requests.Session = field(repr=False)
    """Connections, shared between clients; the server closes them when it ends."""

    in_namespace: str | None = None

    def acting_as(self, token: str) -> BaoClient:
        """The same with another token."""
        return replace(self, token_value=token)

    def inside(self, namespace: str | None) -> BaoClient:
        """The same in a namespace, where paths and policies are its own."""
        return replace(self, in_namespace=namespace)

    def send(
        self, method: str, path: str, body: Mapping[str, object] | None = None, **query: str
    ) -> BaoAnswer:
        headers = {"X-Vault-Token": self.token_value} if self.token_value else {}
        if self.in_namespace is not None:
            headers["X-Vault-Namespace"] = self.in_namespace
        if method == "PATCH":
            headers["Content-Type"] = _MERGE
        found = self.session.request(
            method,
            f"{self.url}/v1/{quote(path)}",
            headers=headers,
            json=body,
            params=query,
            timeout=_TIMEOUT,
            allow_redirects=False,
        )
        return BaoAnswer(found.status_code, found.headers, _decoded(found))


def session_with(ca_file: Path) -> requests.Session:
    """Connections that trust this authority and nothing of the environment."""
    session = requests.Session()
    session.trust_env = False
    session.verify = str(ca_file)
    return session


def _decoded(answer: requests.Response) -> Json:
    try:
        decoded = answer.json()
    except ValueError:
        return {"errors": [answer.text.strip()]} if answer.text.strip() else {}
    return decoded if isinstance(decoded, dict) else {"value": decoded}
