"""One place in a real OpenBao, and the hands of somebody else there, for the tests of what only Vault does."""

from __future__ import annotations

import secrets
import traceback
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from backends.contract import DesiredSecret, Mark, ObservedSecret, Owner
from backends.errors import SinkError
from backends.secret_value import SecretValue
from backends.testing import CANARY
from backends.vault.marks import own_versions
from backends.vault.options import VaultSinkOptions
from backends.vault.sink import VaultSink
from tests.contract.vault_world import options_for, options_with
from tests.servers.openbao import BaoServer

OWNER = Owner(instance="test", source="source")
MARK = "outputs.porter.sh/"


@dataclass
class Place:
    """A mount and a path in it; what is asked here, root asks."""

    bao: BaoServer
    mount: str
    path: str = field(default_factory=lambda: f"porter/{secrets.token_hex(5)}")
    version: int = 2

    def options(self, token: str | None = None, **changes: object) -> VaultSinkOptions:
        if token is not None:
            return options_with(self.bao, token, self.mount, self.path, **changes)
        return options_for(self.bao, self.mount, self.path, version=self.version, **changes)

    @asynccontextmanager
    async def sink(
        self, token: str | None = None, *, page_size: int = 500, **changes: object
    ) -> AsyncIterator[VaultSink]:
        async with VaultSink(self.options(token, **changes), page_size=page_size) as opened:
            yield opened

    def address(self, name: str = "orders") -> str:
        return f"{self.path}/{name}"

    def write(self, fields: Mapping[str, str], name: str = "orders") -> None:
        """A version that somebody else writes."""
        self.bao.write(f"{self.mount}/data/{self.address(name)}", {"data": fields})

    def describe(self, custom: Mapping[str, str], name: str = "orders") -> None:
        self.bao.write(f"{self.mount}/metadata/{self.address(name)}", {"custom_metadata": custom})

    def metadata(self, name: str = "orders") -> dict[str, Any] | None:
        return self.bao.read(f"{self.mount}/metadata/{self.address(name)}")

    def custom(self, name: str = "orders") -> dict[str, str]:
        found = self.metadata(name)
        assert found is not None
        return found["custom_metadata"] or {}

    def marked(self, name: str = "orders") -> bool:
        return any(entry.startswith(MARK) for entry in self.custom(name))

    def proven(self, name: str = "orders") -> frozenset[int]:
        """The versions our mark names."""
        return own_versions(self.custom(name))

    def fields(self, name: str = "orders", version: int = 0) -> dict[str, str] | None:
        answer = self.bao.send("GET", f"{self.mount}/data/{self.address(name)}", version=str(version))
        return answer.data.get("data")

    def bury(self, verb: str, *versions: int, name: str = "orders") -> None:
        """`delete`, `undelete` or `destroy` of versions."""
        self.bao.write(f"{self.mount}/{verb}/{self.address(name)}", {"versions": [*versions]})

    def snapshot(self, name: str = "orders") -> object:
        return self.metadata(name), self.fields(name)

    def unmarked(self) -> list[str]:
        """Secrets at this place that carry no mark of ours."""
        names = self.bao.list(f"{self.mount}/metadata/{self.path}")
        return [name for name in names if not name.endswith("/") and not self.marked(name)]


def desired(
    place: Place, name: str = "orders", data: Mapping[str, bytes] | None = None, **mark: str
) -> DesiredSecret:
    written = Mark(
        instance=OWNER.instance,
        source=OWNER.source,
        rule="default",
        target="0",
        address=place.address(name),
        namespace="",
        installation=name,
        installation_id="01INSTALLATION",
        run_id="01RUN",
        result_id="01RESULT",
        revision="revision",
        content_id="content",
    )
    values = {
        key: SecretValue(content) for key, content in ({"password": CANARY} if data is None else data).items()
    }
    return DesiredSecret(mark=replace(written, **mark), data=values)


async def look(sink: VaultSink, place: Place, name: str = "orders") -> ObservedSecret:
    return (await sink.observe(OWNER, [place.address(name)]))[place.address(name)]


async def listed(sink: VaultSink) -> dict[str, ObservedSecret]:
    return {secret.address: secret async for secret in sink.inventory(OWNER)}


@contextmanager
def refused(*kinds: type[SinkError]) -> Iterator[pytest.ExceptionInfo[SinkError]]:
    """Just one of these errors is raised, and neither it nor what led to it shows a value."""
    with pytest.raises(kinds) as caught:
        yield caught
    assert caught.type in kinds, caught.value
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert CANARY.decode() not in shown
    assert "theirs-canary" not in shown
